package control

import (
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// RoleView is what a party to fair sharing has.
type RoleView struct {
	Role     spec.RoleName   `json:"role"`
	Weight   int             `json:"weight"`
	Dominant string          `json:"dominant"` // the resource of which it has the largest share; "" without any
	Share    spec.Milli      `json:"share"`    // of that, of all ready nodes, in thousandths
	Used     spec.Resources  `json:"used"`     // by its apps and those of the roles below it
	Quota    *spec.Resources `json:"quota,omitempty"`
	// Guarantee is what nobody else can take while the role does not use it.
	Guarantee   *spec.Resources `json:"guarantee,omitempty"`
	Allocations int             `json:"allocations"` // of its apps and those of the roles below it
}

// Roles returns what each role has, sorted by name; the default role is always among them.
func (c *Core) Roles() []RoleView {
	views := []RoleView{{Role: spec.DefaultRole, Weight: spec.DefaultWeight}}
	if d := c.following(); d != nil {
		for _, r := range d.cluster.Roles {
			if r.Name == spec.DefaultRole {
				views = views[:0]
			}
		}
		for _, r := range d.cluster.Roles {
			views = append(views, RoleView{Role: r.Name, Weight: r.Weight, Quota: r.Quota, Guarantee: r.Guarantee})
		}
	}
	slices.SortFunc(views, func(a, b RoleView) int { return strings.Compare(string(a.Role), string(b.Role)) })
	for i := range c.current {
		v := &c.current[i]
		app := c.state.Versions[v.Version]
		if app == nil || v.State.Terminal() {
			continue
		}
		needs := app.Needs()
		for k := range views {
			if r := views[k].Role; app.Role == r || strings.HasPrefix(string(app.Role), string(r)+"/") || (app.Role == "" && r == spec.DefaultRole) {
				views[k].Used = views[k].Used.Plus(needs)
				views[k].Allocations++
			}
		}
	}
	total := c.capacity()
	for k := range views {
		views[k].dominate(total)
	}
	return views
}

// capacity is what all nodes in touch have together.
func (c *Core) capacity() spec.Resources {
	var total spec.Resources
	for _, id := range c.nodeOrder {
		if r := c.state.Nodes[id]; r != nil && c.reachable(id) {
			total = total.Plus(r.Node.Capacity)
		}
	}
	return total
}

// dominate finds the resource of which the role has the largest share.
func (v *RoleView) dominate(total spec.Resources) {
	look := func(name string, used, all int64) {
		if all <= 0 || used <= 0 {
			return
		}
		// Shares are thousandths; amounts are at most 2^50, so a float is exact enough and the same everywhere.
		if share := spec.Milli(float64(used) / float64(all) * 1000); share > v.Share || v.Dominant == "" {
			v.Dominant, v.Share = name, share
		}
	}
	look("cpu", int64(v.Used.CPU), int64(total.CPU))
	look("memory", int64(v.Used.Memory), int64(total.Memory))
	look("disk", int64(v.Used.Disk), int64(total.Disk))
	for _, name := range v.Used.Names() {
		look(name, int64(v.Used.Named[name]), int64(total.Named[name]))
	}
}
