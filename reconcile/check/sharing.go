package check

import (
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// usage is what each role, with those below it, has before and after the steps that are taken now; "" has everything.
type usage struct {
	before, after map[spec.RoleName]spec.Resources
	grows         map[spec.RoleName]spec.Resources // by the role's own apps: what starts less what ends
}

// sharing looks at what roles have: never over a quota, and never what is guaranteed to or reserved for others.
func (c *checker) sharing() {
	c.gangs()
	limited := slices.ContainsFunc(c.in.Desired.Roles, func(r spec.Role) bool { return r.Quota != nil || r.Guarantee != nil })
	if !limited && len(c.in.Desired.Reservations) == 0 {
		return
	}
	u := c.usage()
	for i := range c.in.Desired.Roles {
		r := &c.in.Desired.Roles[i]
		if r.Quota == nil {
			continue
		}
		for _, name := range resourceNames(*r.Quota) {
			limit, before, after := amount(*r.Quota, name), amount(u.before[r.Name], name), amount(u.after[r.Name], name)
			if (limit > 0 || r.Quota.Named[name] == 0 && !slices.Contains(fixed, name)) && after > limit && after > before {
				c.report("quota", string(r.Name), "%s: %d after the plan, %d before, %d are allowed", name, after, before, limit)
			}
		}
	}
	c.guarantees(u)
	c.reservations()
}

var fixed = []string{"cpu", "memory", "disk"}

func resourceNames(r spec.Resources) []string { return append(slices.Clone(fixed), r.Names()...) }

func amount(r spec.Resources, name string) int64 {
	switch name {
	case "cpu":
		return int64(r.CPU)
	case "memory":
		return int64(r.Memory)
	case "disk":
		return int64(r.Disk)
	}
	return int64(r.Named[name])
}

// roleOf tells who pays for an app, as the commit has it, and for one of a run that goes on; "" for what left the
// repository or has ended: nobody, and yet it is there.
func (c *checker) roleOf(app spec.AppName) spec.RoleName { return c.roles[app] }

func (c *checker) readRoles(r reconcile.Report) {
	c.roles = make(map[spec.AppName]spec.RoleName, len(c.in.Desired.Apps))
	for _, a := range c.in.Desired.Apps {
		c.roles[a.Name] = withDefault(a.Role)
	}
	list := c.in.Runs
	if r.Runs != nil {
		list, _ = r.Runs.Apply(c.in.Runs, c.in.Agendas)
	}
	for i := range list {
		if a := c.apps[list[i].Version]; a != nil && !list[i].State.Ended() {
			c.roles[list[i].Name] = withDefault(a.Role)
		}
	}
}

func withDefault(r spec.RoleName) spec.RoleName {
	if r == "" {
		return spec.DefaultRole
	}
	return r
}

// pathOf lists a role and those above it, and last "" for everybody.
func pathOf(r spec.RoleName) []spec.RoleName {
	var path []spec.RoleName
	for r != "" {
		path = append(path, r)
		i := strings.LastIndexByte(string(r), '/')
		r = r[:max(0, i)]
	}
	return append(path, "")
}

// usage counts allocations that are to run, one for each slot whose successor starts.
func (c *checker) usage() *usage {
	u := &usage{map[spec.RoleName]spec.Resources{}, map[spec.RoleName]spec.Resources{}, map[spec.RoleName]spec.Resources{}}
	followed := map[spec.AllocationID]bool{}
	c.each(func(_ *spec.AppPlan, ch *spec.Change) {
		if !ch.Now || ch.Kind == spec.ChangeUpdate {
			return
		}
		followed[ch.Old] = true
		if starts(ch) {
			role := c.roleOf(ch.App)
			for _, r := range pathOf(role) {
				u.after[r] = u.after[r].Plus(c.need(ch.Version))
			}
			u.grows[role] = u.grows[role].Plus(c.need(ch.Version))
		}
	})
	for i := range c.in.Current {
		a := &c.in.Current[i]
		if a.State.Terminal() || a.Want == spec.WantStop {
			continue
		}
		role, goes := c.roleOf(a.App), followed[a.ID] || c.stops[a.ID]
		for _, r := range pathOf(role) {
			u.before[r] = u.before[r].Plus(c.need(a.Version))
			if !goes {
				u.after[r] = u.after[r].Plus(c.need(a.Version))
			}
		}
		if goes {
			u.grows[role] = u.grows[role].Minus(c.need(a.Version))
		}
	}
	return u
}

// guarantees looks for a role that came to have what is kept for another.
func (c *checker) guarantees(u *usage) {
	var total spec.Resources
	for i := range c.in.Nodes {
		if n := &c.in.Nodes[i]; n.State == spec.NodeReady && !c.drained(n.ID) {
			total = total.Plus(n.Capacity)
		}
	}
	for i := range c.in.Desired.Roles {
		g := &c.in.Desired.Roles[i]
		if g.Guarantee == nil {
			continue
		}
		for _, name := range resourceNames(*g.Guarantee) {
			has := max(amount(u.before[g.Name], name), amount(u.after[g.Name], name))
			kept := amount(*g.Guarantee, name) - has
			free := amount(total, name) - amount(u.after[""], name)
			if kept <= 0 || free >= kept {
				continue
			}
			for _, a := range c.plan.Apps {
				role := c.roleOf(a.App)
				if !slices.Contains(pathOf(role), g.Name) && amount(u.grows[role], name) > 0 && !c.entitled(role, name, u) {
					c.report("guarantee", string(role), "%s: %d are left, %d are kept for role %s", name, free, kept, g.Name)
					break
				}
			}
		}
	}
}

// entitled reports whether the role, or one above it, has no more than its own guarantee.
func (c *checker) entitled(role spec.RoleName, name string, u *usage) bool {
	return slices.ContainsFunc(c.in.Desired.Roles, func(r spec.Role) bool {
		return r.Guarantee != nil && slices.Contains(pathOf(role), r.Name) && amount(u.after[r.Name], name) <= amount(*r.Guarantee, name)
	})
}

// gangs looks for gangs of which a part starts. While two versions are about, each is a gang of its own.
func (c *checker) gangs() {
	for i := range c.plan.Apps {
		a := &c.plan.Apps[i]
		if app := c.apps[a.Version]; a.Blocked == nil || app == nil || !app.Gang || c.mixed(a) {
			continue
		}
		for k := range a.Changes {
			if ch := &a.Changes[k]; starts(ch) && ch.Now {
				c.report("gang", string(a.App), "%s starts, and %d slots do not", ch.Slot, len(a.Blocked.Slots))
				break
			}
		}
	}
}

// mixed reports whether allocations of other versions than the plan's run or start.
func (c *checker) mixed(a *spec.AppPlan) bool {
	if slices.ContainsFunc(a.Changes, func(ch spec.Change) bool { return starts(&ch) && (ch.Canary || ch.Version != a.Version) }) {
		return true
	}
	return slices.ContainsFunc(c.in.Current, func(x spec.AllocationView) bool {
		return x.App == a.App && !x.State.Terminal() && x.Version != a.Version
	})
}
