package sim

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// varieties are further features: what of the language is used more rarely. They are drawn apart from the others, and what
// they need by chance too, so that they may grow in number without those.
var varieties = []string{
	"approval", "moves", "classes", "scaling", "patience", "stocks", "policies", "attributes", "images", "clocks", "hands",
}

func (g *generator) drawVarieties() {
	for _, v := range varieties {
		g.has[v] = g.wide.below(3) == 0
	}
}

// varied reports whether a scenario has the variety, and one of n of what may have it does.
func (g *generator) varied(name string, n int) bool {
	return g.has[name] && g.wide.below(n) == 0
}

// one of some.
func oneOf[T any](r *random, some ...T) T { return some[r.below(len(some))] }

// begin sets the clock, where what goes by it matters: to the hours in which a zone leaves out an hour or has one twice.
func (g *generator) begin() {
	if g.has["clocks"] {
		g.say("begin %s", oneOf(&g.wide, "2026-03-29T00:50:00Z", "2026-10-25T00:50:00Z", "2028-02-28T23:55:00Z"))
	}
}

// kindOf is what the nodes of a rack have beside the plain: their class and price, what has a name and a number, and what
// rules compare.
func (g *generator) kindOf(rack string) string {
	text := ""
	if g.has["classes"] {
		text += " node.class=" + map[string]string{"a": "small", "b": "large", "c": "large"}[rack]
		if g.wide.below(3) == 0 {
			text += fmt.Sprintf(" node.price=0.%d", 1+g.wide.below(9))
		}
	}
	if g.has["stocks"] {
		text += fmt.Sprintf(" licenses=%d disk=%dGiB", g.wide.below(4), 20*(1+g.wide.below(5)))
	}
	if g.has["attributes"] {
		text += " os.release=" + map[string]string{"a": "5.10", "b": "6.1.4", "c": "6.12"}[rack]
	}
	return text
}

// vary gives the cluster what the scenario has of this.
func (g *generator) vary(c *spec.Cluster) {
	if g.has["approval"] {
		c.Sync.Approval = spec.ApprovalManual
	}
	if g.varied("removals", 3) {
		c.Sync.Prune = false
	}
	if g.has["classes"] {
		c.Currency = "EUR"
		c.NodeClasses = []spec.NodeClass{
			{Name: "large", Capacity: spec.Resources{CPU: 8000, Memory: 16 * spec.GiB}, Attributes: map[string]string{"rack": "b"}, Price: 800_000},
			{Name: "small", Capacity: spec.Resources{CPU: 2000, Memory: 4 * spec.GiB}, Attributes: map[string]string{"rack": "a"}, Price: 150_000},
		}
		if len(c.Pools) > 0 && g.wide.below(2) == 0 {
			c.NodeClasses[0].Pool = c.Pools[0].Name
		}
		if g.has["devices"] {
			c.NodeClasses[0].Devices = []spec.ClassDevice{{Kind: "gpu", Count: 2, Model: "a"}}
		}
		if g.has["stocks"] {
			c.NodeClasses[1].Capacity.Named = map[string]spec.Milli{"licenses": 2000}
		}
	}
	if g.has["policies"] && len(c.Pools) > 0 {
		c.Pools[0].Policy = &spec.PolicyRef{Name: oneOf(&g.wide, "binpack", "spread")}
	}
	if len(c.Windows) > 0 && g.varied("clocks", 2) {
		c.Disruption.Windows = []spec.WindowName{often}
		for _, app := range c.Apps {
			if app.Update.Windows == nil && g.wide.below(2) == 0 {
				app.Update.Windows = []spec.WindowName{}
			}
		}
	}
	for _, app := range c.Apps {
		g.varyApp(app)
	}
}

// varyApp gives an app some of it.
func (g *generator) varyApp(app *spec.App) {
	task := &app.Tasks[0]
	if g.varied("scaling", 2) && app.Kind == spec.KindService {
		app.Scaling = &spec.Scaling{Min: g.wide.below(app.Count + 1), Max: app.Count + 1 + g.wide.below(3)}
	}
	if g.varied("patience", 2) {
		g.patience(app)
	}
	if g.varied("stocks", 3) && app.Kind != spec.KindSystem {
		task.Resources = map[string]spec.Milli{"licenses": 1000}
	}
	if g.varied("stocks", 3) {
		task.Disk = spec.Bytes(5*(1+g.wide.below(6))) * spec.GiB
	}
	if g.varied("policies", 3) {
		app.Policy = &spec.PolicyRef{Name: oneOf(&g.wide, "binpack", "spread")}
	}
	if g.varied("attributes", 2) {
		g.attributes(app)
	}
	if g.varied("images", 2) {
		task.Rootfs, task.Image = "", image(g.commits)
	}
	if s := app.Schedule; s != nil && s.Cron != "" && g.has["clocks"] {
		s.Timezone, s.CatchUp = "Europe/Berlin", oneOf(&g.wide, spec.Minute, spec.DefaultCatchUp, spec.Hour)
		s.Enabled = g.wide.below(4) > 0
	}
	for i := range app.DependsOn {
		if g.varied("hands", 2) {
			app.DependsOn[i].OnFailure = spec.OnFailureContinue
		}
	}
}

// image is a tag that a commit may ask for.
func image(commit int) string { return fmt.Sprintf("example.com/app:%d", commit) }

// patience is how long things may take, how often they are tried, and whether people are asked.
func (g *generator) patience(app *spec.App) {
	u, r, s := &app.Update, &app.Restart, &app.Reschedule
	u.HealthyFor = oneOf(&g.wide, spec.Second, u.HealthyFor, 40*spec.Second)
	u.Deadline = max(oneOf(&g.wide, 30*spec.Second, 2*spec.Minute, u.Deadline), u.HealthyFor+30*spec.Second)
	u.AutoPromote, u.AutoRevert = g.wide.below(3) > 0, g.wide.below(3) > 0
	r.Attempts = oneOf(&g.wide, -1, 0, 1, r.Attempts)
	r.Interval = oneOf(&g.wide, spec.Minute, r.Interval)
	if r.Attempts > 0 && g.wide.below(3) == 0 {
		r.Mode = spec.RestartDelay
	}
	s.After = oneOf(&g.wide, 10*spec.Second, s.After, 3*spec.Minute)
	s.MaxDelay = oneOf(&g.wide, 5*spec.Second, s.MaxDelay)
	if app.Schedule != nil {
		s.MaxAttempts = 1 + g.wide.below(3)
	}
	if app.Kind == spec.KindBatch && g.wide.below(3) == 0 {
		app.Tasks[0].MaxRun = oneOf(&g.wide, 30*spec.Second, 10*spec.Minute)
	}
}

// attributes gives an app a rule or a wish over what nodes are.
func (g *generator) attributes(app *spec.App) {
	rules := []spec.Constraint{
		{Attribute: "os.release", Operator: spec.OpGreaterEqual, Value: "6"},
		{Attribute: "os.release", Operator: spec.OpLess, Value: "6.2"},
		{Attribute: "rack", Operator: spec.OpNotEqual, Value: "a"},
		{Attribute: "rack", Operator: spec.OpIn, Values: []string{"a", "c"}},
		{Attribute: "rack", Operator: spec.OpNotIn, Values: []string{"b"}},
		{Attribute: "node.id", Operator: spec.OpRegexp, Value: "^[nj]"},
		{Attribute: "node.id", Operator: spec.OpNotRegexp, Value: "[13]$"},
		{Attribute: "os.release", Operator: spec.OpSet},
		{Attribute: "os.flavour", Operator: spec.OpUnset},
	}
	r := oneOf(&g.wide, rules...)
	if g.wide.below(2) == 0 {
		app.Constraints = append(app.Constraints, r)
		return
	}
	app.Affinities = append(app.Affinities, spec.Affinity{Attribute: r.Attribute, Operator: r.Operator, Value: r.Value, Values: r.Values,
		Weight: oneOf(&g.wide, -60, 30, 100)})
}

// rename gives an app another name, which restarts nothing. Names are not used twice: nothing may move in a circle.
func (g *generator) rename() {
	if !g.has["moves"] {
		return
	}
	i := g.wide.below(len(g.cluster.Apps))
	from := g.cluster.Apps[i].Name
	stem, _, _ := strings.Cut(string(from), "/")
	to := spec.AppName(fmt.Sprintf("%s/m%d", stem, g.commits))
	c := *g.cluster
	c.Apps = slices.Clone(c.Apps)
	for k, a := range c.Apps {
		app := *a
		if k == i {
			app.Name = to
		}
		app.DependsOn, app.Constraints, app.Affinities = slices.Clone(a.DependsOn), slices.Clone(a.Constraints), slices.Clone(a.Affinities)
		for n := range app.DependsOn {
			called(&app.DependsOn[n].App, from, to)
		}
		for n := range app.Constraints {
			called(&app.Constraints[n].App, from, to)
		}
		for n := range app.Affinities {
			called(&app.Affinities[n].App, from, to)
		}
		c.Apps[k] = &app
	}
	c.Moved = append(slices.Clone(c.Moved), spec.Moved{From: from, To: to})
	if g.wide.below(4) == 0 {
		c.Moved = c.Moved[len(c.Moved)-1:] // what was moved before is no longer told
	}
	g.cluster = &c
	g.commit()
}

// called exchanges a name.
func called(name *spec.AppName, from, to spec.AppName) {
	if *name == from {
		*name = to
	}
}

// leave takes an app that nothing else speaks of out of the repository.
func (g *generator) leave() {
	app := g.cluster.Apps[g.wide.below(len(g.cluster.Apps))]
	if !g.has["removals"] || len(g.cluster.Apps) < 3 || slices.ContainsFunc(g.cluster.Apps, func(a *spec.App) bool { return speaksOf(a, app.Name) }) {
		return
	}
	c := *g.cluster
	c.Apps = slices.DeleteFunc(slices.Clone(c.Apps), func(a *spec.App) bool { return a == app })
	c.Moved = slices.DeleteFunc(slices.Clone(c.Moved), func(m spec.Moved) bool { return leadsTo(c.Moved, m.To) == app.Name })
	g.cluster = &c
	g.commit()
}

func speaksOf(a *spec.App, name spec.AppName) bool {
	return slices.ContainsFunc(a.DependsOn, func(d spec.Dependency) bool { return d.App == name }) ||
		slices.ContainsFunc(a.Constraints, func(c spec.Constraint) bool { return c.App == name }) ||
		slices.ContainsFunc(a.Affinities, func(f spec.Affinity) bool { return f.App == name })
}

// leadsTo is what an app is called after all moves.
func leadsTo(moved []spec.Moved, name spec.AppName) spec.AppName {
	for i := 0; i < len(moved); i++ {
		if moved[i].From == name {
			name, i = moved[i].To, -1
		}
	}
	return name
}

// consent has a person let the plan that waits take effect, if one does and nothing has moved.
func (g *generator) consent() {
	if g.asks() {
		g.say("approve?%s", oneOf(&g.wide, "", "", " exact"))
	}
}

// asks reports whether plans may wait for a person: as all do, or as too many apps would leave at once.
func (g *generator) asks() bool { return g.has["approval"] || g.has["moves"] || g.has["removals"] }

// further is what people do beside.
func (g *generator) further() {
	kinds := []func(){g.rename, g.leave, g.consent, g.consent}
	if g.has["scaling"] {
		kinds = append(kinds, g.scale, g.scale)
	}
	if g.has["classes"] {
		kinds = append(kinds, func() {
			g.say("suppose? %s", oneOf(&g.wide, "with 2xlarge", "with 1xsmall 1xlarge", "without rack/a", "without node/n2 with 3xsmall"))
		})
	}
	if g.has["hands"] {
		kinds = append(kinds,
			func() { g.say("drain? rack=%s%s", oneOf(&g.wide, "a", "b"), oneOf(&g.wide, "", " deadline=90s")) },
			func() { g.say("undrain? rack=%s", oneOf(&g.wide, "a", "b")) })
		if g.has["runs"] {
			kinds = append(kinds, func() {
				g.say("dispatch? %s token=t%d mode=%s", g.runsOf(), g.wide.below(3), oneOf(&g.wide, "delta", "full"))
			})
		}
	}
	if g.has["approval"] {
		kinds = append(kinds, func() { // from one way of approval to the other
			c := *g.cluster
			c.Sync.Approval = oneOf(&g.wide, spec.ApprovalAuto, spec.ApprovalManual)
			g.cluster = &c
			g.commit()
		})
	}
	kinds[g.wide.below(len(kinds))]()
}

// runsOf is what the app with a schedule is called now; it may have left.
func (g *generator) runsOf() spec.AppName {
	for _, a := range g.cluster.Apps {
		if a.Schedule != nil {
			return a.Name
		}
	}
	return "work"
}

// scale has somebody choose a count.
func (g *generator) scale() {
	if app := g.app(); app.Scaling != nil {
		g.say("scale? %s %d", app.Name, g.wide.below(app.Scaling.Max+2))
	}
}
