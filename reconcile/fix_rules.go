package reconcile

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

const (
	// maxMoreNodes bounds how many nodes a fix asks for.
	maxMoreNodes = 10
	// maxKinds bounds how many kinds of node are tried.
	maxKinds = 4
	// maxValues bounds how many other values of an attribute are tried for a constraint.
	maxValues = 8
)

// quota finds by how much quotas would have to be raised: of every role above the app that has too little, each by as
// little as does.
func (f *fixer) quota() {
	type limit struct {
		p    *party
		d    int
		step int64
		most int // so many steps up suffice for all that is missing; fewer may, where an old allocation goes
	}
	var limits []limit
	for p := f.w.roles.byApp[f.x]; p != nil; p = p.parent {
		for d := range p.quota {
			over := p.used[d] + f.want.need[d]*int64(f.missing) - p.quota[d]
			if p.quota[d] < 0 || f.want.need[d] == 0 || over <= 0 {
				continue
			}
			l := limit{p: p, d: d, step: 10}
			if f.w.fleet.InBytes(d) {
				l.step = int64(spec.MiB)
			}
			l.most = int((over + l.step - 1) / l.step)
			limits = append(limits, l)
		}
	}
	if len(limits) == 0 {
		return
	}
	steps := make([]int, len(limits))
	raised := func() (edits []spec.Edit) {
		for i, l := range limits {
			if steps[i] > 0 {
				edits = append(edits, spec.Edit{
					Kind: spec.EditQuota, Role: spec.RoleName(l.p.name), Resource: f.w.fleet.Dimensions()[l.d],
					Number: l.p.quota[l.d]/l.step*l.step + int64(steps[i])*l.step, Step: l.step,
				})
			}
		}
		return edits
	}
	for i := range limits {
		steps[i] = limits[i].most + 1
	}
	// Where one quota is raised by less, another may do with less too: until nothing changes any more.
	for lower := true; lower; {
		lower = false
		for i := range limits {
			most := steps[i]
			n, ok := f.t.least(0, most, min(most, limits[i].most), func(n int) bool { steps[i] = n; return f.works(raised()...) })
			if !ok {
				return
			}
			steps[i] = n
			lower = lower || n < most && len(limits) > 1
		}
	}
	var texts []string
	size, k := 0, 0
	edits := raised()
	for i, l := range limits {
		if steps[i] > 0 {
			texts = append(texts, fmt.Sprintf(fixQuota, l.p.name, edits[k].Resource, f.written(l.d, edits[k].Number)))
			size += int((edits[k].Number-l.p.quota[l.d])*1000/max(1, l.p.quota[l.d])) + sizeQuota
			k++
		}
	}
	if k > 0 {
		f.say(size, strings.Join(texts, " and "), edits...)
	}
}

// constraint finds out whether a rule would do if it were a little wider, or else if it were not there.
func (f *fixer) constraint(i int) {
	if i >= len(f.x.desired.app.Constraints) {
		return
	}
	c := f.x.desired.app.Constraints[i]
	edit := func(to *spec.Constraint) spec.Edit {
		return spec.Edit{Kind: spec.EditConstraint, App: f.x.name, Index: i, Constraint: to}
	}
	if f.loosen(c, edit) {
		return
	}
	if f.works(edit(nil)) {
		f.say(sizeRemove, fmt.Sprintf(fixConstraint, c), edit(nil))
	}
}

func (f *fixer) loosen(c spec.Constraint, edit func(*spec.Constraint) spec.Edit) bool {
	say := func(size int, to spec.Constraint, step int64) {
		e := edit(&to)
		e.Step = step
		f.say(size, fmt.Sprintf(fixLoosen, to, c), e)
	}
	switch c.Operator {
	case spec.OpMaxPer, spec.OpDistinct:
		now := max(1, c.Number)
		wider := func(more int) spec.Constraint {
			return spec.Constraint{Attribute: c.Attribute, Operator: spec.OpMaxPer, Number: now + more, Pos: c.Pos}
		}
		more, ok := f.t.least(1, f.missing, 1, func(n int) bool { to := wider(n); return f.works(edit(&to)) })
		if ok {
			say(sizeLoosen+more*100/now, wider(more), 1)
		}
		return ok
	case spec.OpGreater, spec.OpGreaterEqual, spec.OpLess, spec.OpLessEqual:
		list := f.bounds(c)
		n, ok := f.t.least(1, len(list), 1, func(n int) bool { return f.works(edit(&list[n-1])) })
		if ok {
			say(sizeLoosen, list[n-1], 0)
		}
		return ok
	case spec.OpEqual, spec.OpIn:
		for _, to := range f.values(c) {
			if f.works(edit(&to)) {
				say(sizeLoosen, to, 0)
				return true
			}
		}
	}
	return false
}

// elsewhere lists the values of an attribute that nodes which take allocations have and the constraint refuses, most
// nodes first.
func (f *fixer) elsewhere(c spec.Constraint) []string {
	nodes := map[string]int{}
	var list []string
	for _, v := range f.w.fleet.Refused(c) {
		if nodes[v]++; nodes[v] == 1 {
			list = append(list, v)
		}
	}
	slices.SortStableFunc(list, func(a, b string) int { return cmp.Or(cmp.Compare(nodes[b], nodes[a]), cmp.Compare(a, b)) })
	return list
}

// bounds lists wider bounds for an ordered comparison, nearest first: values that some node has.
func (f *fixer) bounds(c spec.Constraint) []spec.Constraint {
	list := f.elsewhere(c)
	up := c.Operator == spec.OpGreater || c.Operator == spec.OpGreaterEqual
	slices.SortStableFunc(list, func(a, b string) int {
		if up {
			return spec.CompareVersions(b, a)
		}
		return spec.CompareVersions(a, b)
	})
	var out []spec.Constraint
	for _, v := range list[:min(len(list), maxValues)] {
		to := spec.Constraint{Attribute: c.Attribute, Operator: spec.OpLessEqual, Value: v, Pos: c.Pos}
		if up {
			to.Operator = spec.OpGreaterEqual
		}
		out = append(out, to)
	}
	return out
}

// values lists what a constraint for certain values could allow beside them.
func (f *fixer) values(c spec.Constraint) []spec.Constraint {
	have := c.Values
	if c.Operator == spec.OpEqual {
		have = []string{c.Value}
	}
	var out []spec.Constraint
	list := f.elsewhere(c)
	for _, v := range list[:min(len(list), maxKinds)] {
		out = append(out, spec.Constraint{Attribute: c.Attribute, Operator: spec.OpIn, Values: append(slices.Clone(have), v), Pos: c.Pos})
	}
	return out
}

// nodes finds of which nodes a few more would do: like one that is there, and of a class.
func (f *fixer) nodes() {
	m := f.w.matcher(f.x, f.want)
	var like, class []moreOf
	for _, k := range m.Kinds() {
		id := f.w.fleet.ID(int(k))
		like = append(like, moreOf{string(id), spec.Edit{Kind: spec.EditNodes, Like: id, Step: 1}, m.PerNode(int(k), f.missing), priceOf(f.w.in.Desired, &f.w.nodes[k])})
	}
	slices.SortStableFunc(like, func(a, b moreOf) int { return cmp.Compare(b.per, a.per) })
	for i := range f.w.in.Desired.NodeClasses {
		c := &f.w.in.Desired.NodeClasses[i]
		class = append(class, moreOf{c.Name, spec.Edit{Kind: spec.EditNodes, Class: c.Name, Step: 1}, f.perClass(c), c.Price})
	}
	first, one := f.more(like, fixNode, fixNodes)
	if second, other := f.more(class, fixClass, fixClasses); one && other && second > 0 && first > second {
		f.found[len(f.found)-1].Size = f.found[len(f.found)-2].Size - 1 // what costs less comes first
	}
}

// perClass returns how many of the missing slots a node of the class has room for.
func (f *fixer) perClass(c *spec.NodeClass) int {
	per := int64(f.missing)
	brings := c.Capacity
	if len(c.Devices) > 0 {
		n := spec.Node{Capacity: c.Capacity, Devices: devicesOf(c)}
		n.Tidy()
		brings = n.Capacity
	}
	for d, has := range f.w.fleet.Vector(brings) {
		if ask := f.want.need[d]; ask > 0 {
			per = min(per, has/ask)
		}
	}
	return int(per)
}

// moreOf is a kind of node of which more might do.
type moreOf struct {
	name  string
	edit  spec.Edit
	per   int // of the missing slots that one has room for
	price spec.Price
}

// guess is how many of the kind would do if only room counted.
func (k *moreOf) guess(missing int) int { return (missing + k.per - 1) / max(1, k.per) }

// more says of which of several kinds of node more would do for least money; where no price is known, of which fewest are
// needed.
func (f *fixer) more(kinds []moreOf, one, many string) (price spec.Price, found bool) {
	kinds = slices.DeleteFunc(kinds, func(k moreOf) bool { return k.per == 0 })
	slices.SortStableFunc(kinds, func(a, b moreOf) int { // those with a price first, the cheapest first
		if a.price == 0 || b.price == 0 {
			return cmp.Compare(b.price, a.price)
		}
		return cmp.Compare(a.price*spec.Price(a.guess(f.missing)), b.price*spec.Price(b.guess(f.missing)))
	})
	var best *moreOf
	for i := range kinds[:min(len(kinds), maxKinds)] {
		k, most := &kinds[i], maxMoreNodes
		switch {
		case best == nil:
		case best.price > 0 && k.price == 0:
			continue // nobody knows whether it costs less
		case best.price > 0:
			most = min(most, int((best.price*spec.Price(best.edit.Number)-1)/k.price))
		default:
			most = int(best.edit.Number) - 1
		}
		with := func(n int) spec.Edit { k.edit.Number = int64(n); return k.edit }
		if n, ok := f.t.least(1, most, k.guess(f.missing), func(n int) bool { return f.works(with(n)) }); ok {
			k.edit.Number = int64(n)
			best = k
		}
	}
	if best == nil {
		return 0, false
	}
	text, n := fmt.Sprintf(one, best.name), int(best.edit.Number)
	if n > 1 {
		text = fmt.Sprintf(many, n, best.name)
	}
	price = best.price * spec.Price(n)
	if price > 0 {
		text += " (" + f.w.in.Desired.PerHour(price) + ")"
	}
	f.say(sizeNode*n, text, best.edit)
	f.found[len(f.found)-1].Price = price
	return price, true
}
