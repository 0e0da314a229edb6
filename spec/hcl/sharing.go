package hcl

import (
	"fmt"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

var roleTable = &table[spec.Role]{
	doc:      "A party to fair sharing. Names nest with \"/\": a role's share is divided among those below it.",
	defaults: func() spec.Role { return spec.Role{Weight: spec.DefaultWeight} },
	args: []argument[spec.Role]{
		arg("weight", whole(1, 1_000_000), func(r *spec.Role) *int { return &r.Weight }, "The share, in proportion to the roles beside it"),
	},
	blocks: []nested[spec.Role]{
		{
			name: "quota", doc: "A hard limit on what the role's apps and those of the roles below it take together.", table: quotaTable,
			decode: func(d *decoder, b *block, r *spec.Role) { r.Quota = decodeAmounts(d, b, quotaTable) },
		},
		{
			name: "guarantee", doc: "What nobody else can take while the role and those below it have not used it.", table: guaranteeTable,
			decode: func(d *decoder, b *block, r *spec.Role) { r.Guarantee = decodeAmounts(d, b, guaranteeTable) },
		},
	},
}

// portion is a spec.Resources as roles and reservations write it: without the limits that hold for a task.
type portion struct {
	cpu          spec.MilliCPU
	memory, disk spec.Bytes
	named        map[string]spec.Milli
}

func (a portion) resources() spec.Resources {
	return spec.Resources{CPU: a.cpu, Memory: a.memory, Disk: a.disk, Named: a.named}
}

var (
	quotaTable     = amountsTable("A hard limit. What is not written is not limited.")
	guaranteeTable = amountsTable("Kept for the role. Of what is not written nothing is kept.")
)

func amountsTable(doc string) *table[portion] {
	return &table[portion]{
		doc: doc, defaults: func() portion { return portion{} },
		args:   amountArguments(func(a *portion) *portion { return a }),
		others: otherAmounts(func(a *portion) *portion { return a }),
	}
}

func amountArguments[T any](at func(*T) *portion) []argument[T] {
	return []argument[T]{
		arg("cpu", manyCores, func(t *T) *spec.MilliCPU { return &at(t).cpu }, "Cores"),
		arg("memory", size, func(t *T) *spec.Bytes { return &at(t).memory }, "Memory"),
		arg("disk", size, func(t *T) *spec.Bytes { return &at(t).disk }, "Disk"),
	}
}

func otherAmounts[T any](at func(*T) *portion) *open[T] {
	return &open[T]{
		doc: "amounts of named resources, such as gpu = 4",
		set: func(t *T, name string, v cty.Value) error {
			m, err := amount(v)
			if err != nil {
				if common := commonResources[name]; common != "" {
					err = wrong(sentence(err.Error()) + fmt.Sprintf(" Did you mean %q?", common))
				}
				return err
			}
			if err := resourceName(name); err != nil {
				return err
			}
			if at(t).named == nil {
				at(t).named = map[string]spec.Milli{}
			}
			at(t).named[name] = m
			return nil
		},
	}
}

func decodeAmounts(d *decoder, b *block, t *table[portion]) *spec.Resources {
	a := t.fresh()
	t.decode(d, b, &a)
	r := a.resources()
	d.loader.amounts = append(d.loader.amounts, b)
	return &r
}

// commonResources are what the resources of every node are called elsewhere.
var commonResources = map[string]string{
	"cpus": "cpu", "core": "cpu", "vcpu": "cpu", "vcpus": "cpu",
	"ram": "memory", "mem": "memory", "rss": "memory", "storage": "disk", "hdd": "disk", "ssd": "disk",
}

// checkAsked warns of named resources in quotas, guarantees and reservations that no task of the commit asks for and no
// class of nodes has: whoever limits or keeps them may have meant another. Apps of framework drivers are not known here.
func (l *loader) checkAsked() {
	if len(l.amounts) == 0 || len(l.frames) > 0 || spec.HasErrors(l.list) {
		return
	}
	asked := map[string]bool{"cpu": true, "memory": true, "disk": true}
	for _, app := range l.apps { // any order: collected as a set
		for _, n := range app.value.Needs().Names() {
			asked[n] = true
		}
	}
	for _, class := range l.classes { // any order: collected as a set
		for _, n := range class.value.Capacity.Names() {
			asked[n] = true
		}
	}
	for _, b := range l.amounts {
		for _, n := range sortedKeys(b.Body.Attributes) {
			if asked[n] || n == "role" {
				continue
			}
			hint, r := didYouMean(n, sortedKeys(asked)), b.Body.Attributes[n].NameRange
			if common := commonResources[n]; common != "" {
				hint = fmt.Sprintf(" Did you mean %q?", common)
			}
			l.add(spec.Diagnostic{
				Severity: spec.SeverityWarning, Summary: "Resource that nobody asks for", Pos: position(r), End: end(r), Context: b.env.context,
				Detail: fmt.Sprintf("No task asks for %q and no node_class has it, so this is without effect.%s", n, hint),
			})
		}
	}
}

// reservation is a spec.Reservation as it is written.
type reservation struct {
	portion
	role        spec.RoleName
	constraints []spec.Constraint
}

var reservationTable = &table[reservation]{
	doc: "Keeps an amount on every node that its constraints accept for a role and those below it: to others so much less is free there, as far as the role does not use it.",
	args: append([]argument[reservation]{
		arg("role", text[spec.RoleName](), func(r *reservation) *spec.RoleName { return &r.role }, "The role it is kept for").must(),
	}, amountArguments(func(r *reservation) *portion { return &r.portion })...),
	others: otherAmounts(func(r *reservation) *portion { return &r.portion }),
	blocks: []nested[reservation]{
		several("constraint", "", constraintTable, func(d *decoder, b *block, r *reservation, c spec.Constraint) {
			c.Pos = position(b.TypeRange)
			for _, o := range groupOperators {
				if c.Operator == o {
					d.at(b.placeOf("operator"), b.env.context, "Wrong value for operator", fmt.Sprintf("%q counts the allocations of one app, and a reservation has none. Compare an attribute of the node.", o))
				}
			}
			r.constraints = append(r.constraints, c)
		}, "A rule that a node must meet to have the reservation; without any, every node has it."),
	},
	check: func(d *decoder, b *block, r *reservation) {
		if r.cpu == 0 && r.memory == 0 && r.disk == 0 && len(r.named) == 0 && b.sound("cpu", "memory", "disk") {
			d.at(b.place(), b.env.context, "Empty reservation", "The reservation keeps nothing. Say how much, such as cpu = 2, or remove it.")
		}
	},
}

func (l *loader) decodeReservation(b *block) {
	r := reservation{}
	l.checkName(b, "reservation", spec.CheckLabel)
	reservationTable.decode(&l.decoder, b, &r)
	v := spec.Reservation{Name: b.label(0), Role: r.role, Resources: r.resources(), Constraints: r.constraints, Pos: position(b.TypeRange)}
	if len(l.reservations) >= spec.MaxReservations {
		l.at(b.place(), b.env.context, "Too many reservations", fmt.Sprintf("The commit makes more than %d reservations. Make fewer.", spec.MaxReservations))
		return
	}
	l.amounts = append(l.amounts, b)
	if declare(l, l.reservations, "reservation", v.Name, &v, b) {
		l.later = append(l.later, func() { l.checkRole(b, v.Role) })
	}
}

// checkRole checks that the role of an app or a reservation is declared.
func (l *loader) checkRole(b *block, role spec.RoleName) {
	if l.roles[role] != nil || role == spec.DefaultRole || !b.has("role") || l.broken {
		return
	}
	hint := didYouMean(string(role), toStrings(sortedKeys(l.roles)))
	if hint == "" {
		hint = fmt.Sprintf(" Declare it: role %q {}.", shorten(string(role), 60))
	}
	l.at(b.placeOf("role"), b.env.context, "Unknown role", fmt.Sprintf("There is no role named %q.%s", shorten(string(role), 60), hint), l.valuesIn(exprOf(b, "role"), b.env)...)
}

// checkRoles checks that what roles may have and what is promised to them agree from each role to those above it.
func (l *loader) checkRoles() {
	promised := map[spec.RoleName]spec.Resources{} // of those directly below
	for _, name := range sortedKeys(l.roles) {
		r := l.roles[name]
		for up := r.above(l); up != nil && l.checkBelow(r, up); {
			up = up.above(l)
		}
		if g := r.value.Guarantee; g != nil {
			if up := r.above(l); up != nil {
				promised[up.value.Name] = promised[up.value.Name].Plus(*g)
			}
			if q := r.value.Quota; q != nil {
				if over := firstOver(*g, *q); over != "" {
					l.at(r.placeOf("guarantee", over), blockTitle(r.block), "Guarantee beyond the quota", fmt.Sprintf("The role is guaranteed %s of %s, and its quota allows %s. Lower the one or raise the other.", shown(*g, over), over, shown(*q, over)))
				}
			}
		}
	}
	for _, name := range sortedKeys(promised) {
		r := l.roles[name]
		for _, limit := range []struct {
			word   string
			amount *spec.Resources
		}{{"guarantee", r.value.Guarantee}, {"quota", r.value.Quota}} {
			if limit.amount == nil {
				continue
			}
			if over := firstOver(promised[name], *limit.amount); over != "" {
				l.at(r.placeOf(limit.word, over), blockTitle(r.block), "Guarantees beyond the role above", fmt.Sprintf("The roles below %q are guaranteed %s of %s together, and its %s is %s. Lower theirs or raise this.", name, shown(promised[name], over), over, limit.word, shown(*limit.amount, over)))
				break
			}
		}
	}
}

// checkBelow checks a role's quota and guarantee against the quota of a role above it, and reports whether they are within.
func (l *loader) checkBelow(r, up *declared[spec.Role]) bool {
	limit := up.value.Quota
	if limit == nil {
		return true
	}
	good := true
	for _, own := range []struct {
		word   string
		amount *spec.Resources
	}{{"quota", r.value.Quota}, {"guarantee", r.value.Guarantee}} {
		if own.amount == nil {
			continue
		}
		if over := firstOver(*own.amount, *limit); over != "" {
			l.at(r.placeOf(own.word, over), blockTitle(r.block), strings.ToUpper(own.word[:1])+own.word[1:]+" beyond the role above", fmt.Sprintf(
				"The %s is %s of %s, but the quota of role %q (%s) allows %s in all. Lower the one or raise the other.",
				own.word, shown(*own.amount, over), over, up.value.Name, where(up.value.Pos), shown(*limit, over)))
			good = false
		}
	}
	return good
}

// above returns the nearest declared role above this one, or nil.
func (r *declared[T]) above(l *loader) *declared[spec.Role] {
	name := r.block.label(0)
	for i := strings.LastIndexByte(name, '/'); i >= 0; i = strings.LastIndexByte(name[:i], '/') {
		if up := l.roles[spec.RoleName(name[:i])]; up != nil {
			return up
		}
	}
	return nil
}

// placeOf is where a role's block says how much of a resource, or the block itself.
func (r *declared[T]) placeOf(inner, argument string) hcl.Range {
	if b := r.block.inner(inner); b != nil {
		return b.placeOf(argument)
	}
	return r.block.place()
}

// firstOver names the first resource of which the amount is over what the limit names; "" when there is none.
func firstOver(amount, limit spec.Resources) string {
	switch {
	case limit.CPU > 0 && amount.CPU > limit.CPU:
		return "cpu"
	case limit.Memory > 0 && amount.Memory > limit.Memory:
		return "memory"
	case limit.Disk > 0 && amount.Disk > limit.Disk:
		return "disk"
	}
	for _, n := range limit.Names() {
		if amount.Named[n] > limit.Named[n] {
			return n
		}
	}
	return ""
}

func shown(r spec.Resources, name string) string {
	switch name {
	case "cpu":
		return r.CPU.String()
	case "memory":
		return r.Memory.String()
	case "disk":
		return r.Disk.String()
	}
	return r.Named[name].String()
}
