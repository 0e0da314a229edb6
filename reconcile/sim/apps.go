package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// commit makes a revision of the present cluster.
func (g *generator) commit() {
	c := *g.cluster
	c.Apps = slices.Clone(c.Apps)
	slices.SortFunc(c.Apps, func(a, b *spec.App) int { return cmp.Compare(a.Name, b.Name) })
	name := g.name()
	g.good = append(g.good, name)
	g.scenario.revisions[name] = revision(name, &c, nil)
	g.say("commit %s", name)
}

func (g *generator) name() string {
	g.commits++
	return fmt.Sprintf("v%d", g.commits)
}

// bad commits what cannot be read.
func (g *generator) bad() {
	name := g.name()
	g.scenario.revisions[name] = revision(name, nil, []spec.Diagnostic{{Severity: spec.SeverityError, Summary: "Unclosed block",
		Pos: spec.Pos{File: "cluster.hcl", Line: 1, Column: 1}}})
	g.say("commit? %s", name)
}

// change commits something else.
func (g *generator) change() {
	i := g.random.below(len(g.cluster.Apps))
	c := *g.cluster
	c.Apps = slices.Clone(c.Apps)
	app := *c.Apps[i]
	app.Tasks = slices.Clone(app.Tasks)
	switch g.random.below(7) {
	case 0:
		app.Count = g.random.below(g.shape.Count + 1)
		if app.Scaling != nil {
			app.Count = app.Scaling.Clamp(app.Count)
		}
	case 1:
		app.Tasks[0].Stop.Timeout = spec.Duration(1+g.random.below(20)) * spec.Second
	case 2:
		if app.Tasks[0].Cores == 0 {
			app.Tasks[0].CPU = spec.MilliCPU(100 * (1 + g.random.below(15)))
		}
	case 3:
		g.remake(&app)
	case 4:
		if g.has["roles"] && len(c.Roles) > 0 {
			g.parties(&c)
			app.Role, app.Priority = c.Apps[i].Role, c.Apps[i].Priority
		}
	default:
		if app.Tasks[0].Image != "" {
			app.Tasks[0].Image = image(g.commits)
		}
		app.Tasks[0].Command = []string{"true", fmt.Sprint(g.commits)}
	}
	if app.Kind == spec.KindSystem {
		app.Count = 0
	}
	c.Apps[i] = &app
	if app.Name == "batch" && !slices.ContainsFunc(c.Apps, func(a *spec.App) bool { return speaksOf(a, app.Name) }) && g.has["removals"] {
		c.Apps = slices.Delete(c.Apps, i, i+1)
	}
	g.cluster = &c
	g.commit()
}

// remake gives a service another kind or strategy.
func (g *generator) remake(app *spec.App) {
	if app.Kind == spec.KindBatch || app.Gang {
		return
	}
	if g.has["kinds"] && len(app.Constraints) == 0 && app.Pool == "" && app.Scaling == nil {
		if app.Kind == spec.KindService {
			app.Kind, app.Count = spec.KindSystem, 0
		} else {
			app.Kind, app.Count = spec.KindService, 1+g.random.below(g.shape.Count)
		}
		return
	}
	windows := app.Update.Windows
	app.Update = newApp(app.Name, app.Kind, app.Count).Update
	app.Update.Windows = windows
	g.strategy(app)
}

// often is a window that is open for a minute and a half of each four.
const often spec.WindowName = "often"

// keepTo has some apps keep to a window, and the cluster rebalance itself, in one of three scenarios each.
func (g *generator) keepTo(c *spec.Cluster) {
	if g.timing.below(3) == 0 {
		c.Windows = []spec.Window{{Name: often, Cron: "*/4 * * * *", Duration: 90 * spec.Second}}
		for _, app := range c.Apps {
			if g.timing.below(2) == 0 {
				app.Update.Windows = []spec.WindowName{often}
			}
		}
	}
	if g.timing.below(3) == 0 {
		c.Rebalance = &spec.Rebalance{Every: spec.Minute, MinGain: 1000, MaxMoves: 5, Parallel: 1 + g.timing.below(3)}
		if len(c.Windows) > 0 && g.timing.below(2) == 0 {
			c.Rebalance.Windows = []spec.WindowName{often}
		}
	}
}

// window is what a drain may wait for.
func (g *generator) window() string {
	if len(g.cluster.Windows) == 0 || g.timing.below(2) == 0 {
		return ""
	}
	return " window=" + string(often)
}

// first makes the apps of the first commit.
func (g *generator) first() *spec.Cluster {
	c := &spec.Cluster{Name: "random", Policy: spec.PolicyRef{Name: []string{"binpack", "spread"}[g.random.below(2)]}}
	c.Sync = spec.Sync{Approval: spec.ApprovalAuto, Prune: true, MaxPrune: spec.Percent{Value: spec.DefaultMaxPrune}}
	c.Disruption = spec.Disruption{MaxUnavailable: spec.Percent{Value: spec.DefaultMaxUnavailable}}
	g.settings(c)
	for i := range g.shape.Apps {
		c.Apps = append(c.Apps, g.service(i, c.Apps))
	}
	batch := newApp("batch", spec.KindBatch, 1+g.random.below(g.shape.Count))
	if g.chance("gangs", 2) {
		g.gang(batch)
	}
	system := newApp("system", spec.KindSystem, 0)
	if g.chance("pools", 2) {
		system.Pool = spec.AllPools
	}
	c.Apps = append(append(c.Apps, batch, system), g.more()...)
	if g.has["roles"] {
		g.parties(c)
	}
	return c
}

// service makes the i-th service.
func (g *generator) service(i int, before []*spec.App) *spec.App {
	app := newApp(spec.AppName(fmt.Sprintf("app-%03d", i)), spec.KindService, 1+g.random.below(g.shape.Count))
	app.Tasks[0].CPU = spec.MilliCPU(100 * (1 + g.random.below(8)))
	app.Update.MaxParallel = 1 + g.random.below(3)
	if g.random.below(4) == 0 {
		app.Network.Ports = []spec.PortSpec{{Name: "http", Protocol: spec.TCP}}
	}
	if g.random.below(6) == 0 {
		app.Network.Ports = []spec.PortSpec{{Name: "http", Static: 8000 + i, Protocol: spec.TCP}}
	}
	if g.random.below(3) == 0 {
		app.Spreads = []spec.Spread{{Attribute: "rack", Weight: 50}}
	}
	g.strategy(app)
	g.relate(app, before)
	g.dress(app, before)
	if g.random.below(4) == 0 {
		sidecar := app.Tasks[0]
		sidecar.Name, sidecar.Lifecycle, sidecar.CPU, sidecar.Memory = "side", spec.LifecycleSidecar, 10, 16*spec.MiB
		sidecar.Cores, sidecar.Devices, sidecar.MemoryMax = 0, nil, 0
		app.Tasks = append(app.Tasks, sidecar)
	}
	g.live(app)
	return app
}

// live gives some apps tasks that run before and after the others, and stops in stages.
func (g *generator) live(app *spec.App) {
	if g.life.below(3) != 0 {
		return
	}
	for _, l := range []spec.Lifecycle{spec.LifecyclePrestart, spec.LifecyclePoststart, spec.LifecyclePoststop} {
		if g.life.below(2) == 0 {
			continue
		}
		t := app.Tasks[0]
		t.Name, t.Lifecycle, t.CPU, t.Memory = spec.TaskName(l), l, 10, 16*spec.MiB
		if l != spec.LifecyclePoststart { // in the room that the main task has before or afterwards
			t.CPU, t.Memory = app.Tasks[0].CPU, app.Tasks[0].Memory
		}
		t.Cores, t.Devices, t.MemoryMax, t.Resources = 0, nil, 0, nil
		if l == spec.LifecyclePoststop {
			t.MaxRun = spec.DefaultPoststopMaxRun
		}
		app.Tasks = append(app.Tasks, t)
	}
	if stop := &app.Tasks[0].Stop; g.life.below(2) == 0 {
		stop.Delay = spec.Duration(1+g.life.below(5)) * spec.Second
		stop.Command, stop.CommandTimeout = []string{"true"}, spec.DefaultStopCommandTimeout
	}
}

// strategy gives an app one of the ways to be replaced.
func (g *generator) strategy(app *spec.App) {
	u := &app.Update
	switch g.random.below(10) {
	case 0:
		u.Strategy, u.Canary = spec.StrategyCanary, 1
	case 1:
		u.Strategy = spec.StrategyBlueGreen
	case 2:
		u.Strategy = spec.StrategyRecreate
	case 3:
		u.MinHealthy, u.Surge = 500, 500
	}
}

// relate binds an app to one before it.
func (g *generator) relate(app *spec.App, before []*spec.App) {
	if len(before) == 0 {
		return
	}
	other := before[g.random.below(len(before))].Name
	switch g.random.below(8) {
	case 0:
		app.DependsOn = []spec.Dependency{{App: other, Deadline: spec.DefaultDependencyDeadline}}
	case 1:
		app.Affinities = []spec.Affinity{{App: other, Weight: 80}}
	case 2:
		app.Affinities = []spec.Affinity{{App: other, Weight: -80}}
	case 3:
		app.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpMaxPer, Number: 2}}
	case 4:
		app.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpEqual, Value: "a"}}
	}
}

// newApp is an app with the defaults that the language fills in.
func newApp(name spec.AppName, kind spec.Kind, count int) *spec.App {
	return &spec.App{
		Name: name, Kind: kind, Count: count, Role: spec.DefaultRole, Priority: spec.DefaultPriority,
		Update: spec.Update{Strategy: spec.StrategyRolling, MaxParallel: spec.DefaultMaxParallel, HealthyFor: spec.DefaultHealthyFor,
			Deadline: spec.DefaultUpdateDeadline, AutoPromote: true, AutoRevert: true},
		Restart: spec.Restart{Attempts: spec.DefaultRestartAttempts, Interval: spec.DefaultRestartInterval,
			Delay: spec.DefaultRestartDelay, MaxDelay: spec.DefaultRestartMaxDelay},
		Reschedule: spec.Reschedule{After: spec.DefaultRescheduleAfter, Delay: spec.DefaultRescheduleDelay, MaxDelay: spec.DefaultRescheduleMaxDelay},
		Network:    spec.Network{Mode: spec.NetworkHost},
		Tasks: []spec.Task{{Name: "main", Lifecycle: spec.LifecycleMain, Rootfs: spec.RootfsHost, Command: []string{"true"},
			CPU: spec.DefaultCPU, Memory: spec.DefaultMemory, Pids: spec.DefaultPids,
			Stop: spec.Stop{Signal: spec.DefaultStopSignal, Timeout: spec.DefaultStopTimeout},
			Logs: spec.Logs{MaxSize: spec.DefaultLogSize, MaxFiles: spec.DefaultLogFiles}}},
	}
}
