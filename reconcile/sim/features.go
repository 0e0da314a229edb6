package sim

import (
	"fmt"

	"github.com/stowage/stowage/spec"
)

// features are what a made-up scenario may have beside plain apps and faults. Each scenario has some of them: with all at
// once most slots would have no place, and one mistake would hide another (Groce et al., Swarm Testing, ISSTA 2012).
var features = []string{
	"roles", "gangs", "runs", "rules", "spreads", "pools", "devices", "cores", "bursts", "reservations", "domains", "budget",
	"rebalance", "kinds", "systems", "joins", "losses", "removals", "tight",
}

// draw says which features the scenario has.
func (g *generator) draw() {
	g.has = map[string]bool{}
	for _, f := range features {
		g.has[f] = g.random.below(3) == 0
	}
}

// chance reports whether a scenario has the feature, and one of n of what may have it does.
func (g *generator) chance(feature string, n int) bool {
	return g.has[feature] && g.random.below(n) == 0
}

// machines makes the nodes: two racks, the second perhaps with things that have names, and perhaps a pool.
func (g *generator) machines() {
	half := g.shape.Nodes / 2
	named := ""
	if g.has["devices"] {
		named += " gpu:a=2 gpu:b=1"
	}
	if g.has["cores"] {
		named += " cores=0-1/2-3"
	}
	g.nodes("n", 1, half, "rack=a cpu=4 memory=8GiB"+g.kindOf("a"))
	g.nodes("n", half+1, g.shape.Nodes, "rack=b cpu=4 memory=8GiB"+named+g.kindOf("b"))
	if g.has["pools"] {
		g.nodes("p", 1, 2, "rack=c cpu=4 memory=8GiB pool=special"+g.kindOf("c"))
	}
}

// nodes makes machines of one kind.
func (g *generator) nodes(name string, from, to int, what string) {
	group := fmt.Sprintf("%s[%d-%d]", name, from, to)
	g.groups = append(g.groups, group)
	for i := from; i <= to; i++ {
		g.names = append(g.names, fmt.Sprintf("%s%d", name, i))
	}
	g.say("nodes %s %s", group, what)
}

// join brings one more machine.
func (g *generator) join() {
	if g.has["joins"] {
		n := len(g.names) + 1
		rack := []string{"a", "b", "c"}[g.random.below(3)]
		g.nodes("j", n, n, fmt.Sprintf("rack=%s cpu=%d memory=%dGiB", rack, 1+g.random.below(6), 1+g.random.below(8))+g.kindOf(rack))
	}
}

// settings are those of the cluster.
func (g *generator) settings(c *spec.Cluster) {
	if g.has["removals"] {
		c.Sync.MaxPrune = spec.Percent{Value: 100}
	}
	if g.has["budget"] {
		c.Disruption.MaxUnavailable = spec.Percent{Value: []int{0, 30, 60}[g.random.below(3)]}
		if g.random.below(2) == 0 {
			c.Disruption.MaxTotal = &spec.Percent{Value: 10 + g.random.below(30)}
		}
	}
	if g.has["domains"] {
		c.FailureDomains = []string{"rack"}
	}
	if g.has["bursts"] {
		c.Overcommit.Memory = 100 + g.random.below(100)
	}
	if g.has["pools"] {
		c.Pools = []spec.Pool{{Name: "special"}}
	}
}

// dress gives a service some of what the scenario has.
func (g *generator) dress(app *spec.App, before []*spec.App) {
	task := &app.Tasks[0]
	if g.chance("tight", 2) {
		task.CPU = spec.MilliCPU(500 * (1 + g.random.below(5)))
		task.Memory = spec.Bytes(1+g.random.below(3)) * spec.GiB
	}
	if g.chance("devices", 2) {
		task.Devices = []spec.DeviceAsk{{Kind: "gpu", Count: 1 + g.random.below(2)}}
		if g.random.below(3) == 0 {
			task.Devices[0].Constraints = []spec.Constraint{{Attribute: spec.DeviceModel, Operator: spec.OpEqual, Value: "a"}}
		}
	} else if g.chance("cores", 2) {
		task.Cores = 1 + g.random.below(2)
		task.CPU = spec.MilliCPU(task.Cores) * 1000
	}
	if g.chance("bursts", 2) {
		task.MemoryMax = task.Memory + spec.Bytes(1+g.random.below(8))*512*spec.MiB
	}
	if g.chance("spreads", 2) {
		app.Spreads = []spec.Spread{{Attribute: "rack", Weight: 1 + g.random.below(100)}, {Attribute: "node.id", Weight: 50}}
		if g.random.below(3) == 0 {
			app.Spreads[0].Targets = map[string]int{"a": 20 + g.random.below(60)}
		}
	}
	if g.chance("pools", 3) {
		app.Pool = "special"
	}
	if g.chance("rules", 2) {
		g.rule(app, before)
	}
	if g.chance("rebalance", 4) {
		app.Pinned = true
	}
	if g.chance("gangs", 2) {
		g.gang(app)
	}
}

// rule gives an app one rule over its own allocations, or over another app, which has no rules of this kind over later
// ones: so there are no circles.
func (g *generator) rule(app *spec.App, before []*spec.App) {
	c := spec.Constraint{Attribute: []string{"rack", "node.id"}[g.random.below(2)]}
	switch g.random.below(7) {
	case 0:
		c.Operator, c.Attribute = spec.OpDistinct, "node.id"
	case 1:
		c.Operator, c.Number = spec.OpMaxPer, 1+g.random.below(3)
	case 2:
		c.Operator = spec.OpGroupBy
	case 3:
		c.Operator, c.Attribute = spec.OpSame, "rack"
	default:
		if len(before) == 0 {
			return
		}
		c.App = before[g.random.below(len(before))].Name
		c.Operator = []spec.Operator{spec.OpNear, spec.OpApart}[g.random.below(2)]
	}
	app.Constraints = append(app.Constraints, c)
}

// gang makes an app one of which all starts or nothing.
func (g *generator) gang(app *spec.App) {
	app.Gang = true
	app.Update.Strategy, app.Update.Canary = spec.StrategyRecreate, 0
	app.Update.MinHealthy, app.Update.Surge = 0, 0
	if app.Kind == spec.KindService && g.random.below(2) == 0 {
		app.Update.Strategy = spec.StrategyBlueGreen
	}
}

// more are apps that the scenario has beside services.
func (g *generator) more() []*spec.App {
	var apps []*spec.App
	if g.has["systems"] {
		app := newApp("system-b", spec.KindSystem, 0)
		app.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpEqual, Value: "b"}}
		app.Tasks[0].CPU = spec.MilliCPU(100 * (1 + g.random.below(20)))
		g.strategy(app)
		apps = append(apps, app)
	}
	if g.has["runs"] {
		apps = append(apps, g.pipeline()...)
	}
	return apps
}

// pipeline is work by the clock or on demand, and work that follows from it.
func (g *generator) pipeline() []*spec.App {
	first, then := newApp("work", spec.KindBatch, 1+g.random.below(2)), newApp("work-after", spec.KindBatch, 1)
	first.Schedule = &spec.Schedule{
		Overlap: []spec.Overlap{spec.OverlapForbid, spec.OverlapAllow, spec.OverlapReplace}[g.random.below(3)],
		CatchUp: spec.DefaultCatchUp, Deadline: spec.Duration(1+g.random.below(10)) * spec.Minute, Enabled: true,
	}
	if g.random.below(3) > 0 {
		first.Schedule.Cron = []string{"*/2 * * * *", "*/5 * * * *", "* * * * *"}[g.random.below(3)]
	}
	first.Parameters = []spec.Parameter{{Name: "mode", Default: "delta"}}
	then.DependsOn = []spec.Dependency{{App: first.Name}}
	return []*spec.App{first, then}
}

// within keeps what a role has to what the one above it has: more the language refuses.
func within(above, below *spec.Resources) {
	if above == nil || below == nil {
		return
	}
	if above.CPU > 0 {
		below.CPU = min(below.CPU, above.CPU)
	}
	if above.Memory > 0 {
		below.Memory = min(below.Memory, above.Memory)
	}
}

// parties gives the apps roles and priorities, and the roles what they may and must have.
func (g *generator) parties(c *spec.Cluster) {
	c.Roles = []spec.Role{{Name: "one", Weight: 1}, {Name: "one/part", Weight: 1}, {Name: "two", Weight: 2}}
	for i := range c.Roles {
		r := &c.Roles[i]
		switch g.random.below(5) {
		case 0:
			r.Quota = &spec.Resources{CPU: spec.MilliCPU(1000 * (1 + g.random.below(6)))}
		case 1:
			r.Guarantee = &spec.Resources{CPU: spec.MilliCPU(1000 * (1 + g.random.below(4)))}
		case 2:
			r.Quota = &spec.Resources{Memory: spec.Bytes(1+g.random.below(6)) * spec.GiB}
		}
	}
	within(c.Roles[0].Quota, c.Roles[1].Quota)
	within(c.Roles[0].Guarantee, c.Roles[1].Guarantee)
	c.Preemption = g.random.below(2) == 0
	for _, app := range c.Apps {
		app.Role = c.Roles[g.random.below(len(c.Roles))].Name
		app.Priority = []int{20, 50, 50, 80}[g.random.below(4)]
	}
	if g.has["reservations"] {
		c.Reservations = []spec.Reservation{{Name: "kept", Role: c.Roles[g.random.below(len(c.Roles))].Name, Resources: spec.Resources{CPU: spec.MilliCPU(500 * (1 + g.random.below(4)))}}}
		if g.random.below(2) == 0 {
			c.Reservations[0].Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpEqual, Value: "a"}}
		}
	}
}
