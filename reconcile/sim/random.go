package sim

import (
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Shape bounds a random scenario.
type Shape struct {
	Nodes  int           // at least 3
	Apps   int           // besides one system app and one batch app
	Count  int           // of each app, at most
	Steps  int           // things that happen
	Pause  spec.Duration // between them, at most
	Fixed  bool          // every app has Count, and there are no commits after the first
	Gentle bool          // no faults of the masters
}

// SmallShape is that of the scenarios that look for mistakes: small, so that much happens to each thing.
var SmallShape = Shape{Nodes: 6, Apps: 4, Count: 5, Steps: 25, Pause: 40 * spec.Second}

// Random plays a scenario made up from the seed: commits, faults and people's wishes in any order, until at the end
// everything is repaired, and everything has to settle.
func Random(shape Shape, o Options) Result { return made(shape, o.Seed).play(&o) }

// RandomScenario returns what Random plays as a file, for people to read and to play by itself.
func RandomScenario(shape Shape, seed uint64) string {
	return made(shape, seed).text(fmt.Sprintf("made up from seed %d", seed))
}

// made makes up a scenario.
func made(shape Shape, seed uint64) *scenario {
	g := &generator{shape: shape, random: random{seed ^ 0x5eed}, scenario: &scenario{revisions: map[string]*spec.Revision{}}}
	g.generate()
	return g.scenario
}

type generator struct {
	shape    Shape
	random   random
	scenario *scenario
	cluster  *spec.Cluster
	commits  int
	removed  map[int]bool
	never    map[spec.AppName]bool
	slots    []string // of which something was said
	bad      int      // of slots, from here on
	away     []int    // nodes with a fault
}

// Limits of what is broken at once on a day like any other.
const (
	brokenSlots = 5
	brokenNodes = 10
)

// mend repairs what has been broken for longest, as somebody would.
func (g *generator) mend() {
	if len(g.slots)-g.bad > brokenSlots {
		g.say("healthy %s", g.slots[g.bad])
		g.bad++
	}
	if len(g.away) > brokenNodes {
		for _, verb := range []string{"thaw", "heal", "return", "undrain?"} {
			g.say("%s n%d", verb, g.away[0])
		}
		g.away = g.away[1:]
	}
}

func (g *generator) say(format string, args ...any) { g.scenario.say(format, args...) }

func (g *generator) generate() {
	g.removed, g.never = map[int]bool{}, map[spec.AppName]bool{}
	half := g.shape.Nodes / 2
	g.say("nodes n[1-%d] rack=a cpu=4 memory=8GiB", half)
	g.say("nodes n[%d-%d] rack=b cpu=4 memory=8GiB%s", half+1, g.shape.Nodes, []string{"", " gpu:a=2 gpu:b=1 cores=0-1/2-3"}[g.random.below(2)])
	g.cluster = g.first()
	g.commit()
	if g.random.below(2) == 0 {
		g.say("settle")
	}
	for range g.shape.Steps {
		g.happen()
		if g.shape.Fixed {
			g.mend()
		}
		g.say("advance %s", (g.random.between(0, g.shape.Pause) / spec.Millisecond * spec.Millisecond).String())
	}
	g.repair()
}

// repair ends every fault, and wants everything to come to rest.
func (g *generator) repair() {
	for i := 1; i <= g.shape.Nodes; i++ {
		g.say("thaw n%d", i)
		g.say("heal n%d", i)
		g.say("return n%d", i)
	}
	for _, slot := range g.slots {
		g.say("healthy %s", slot)
	}
	for _, app := range sortedKeys(g.never) {
		g.say("start %s 1s", app)
	}
	g.say("settle")
	for i := 1; i <= g.shape.Nodes; i++ {
		g.say("undrain? n%d", i)
	}
	g.say("settle")
	g.say("expect at-rest")
}

// happen is one thing that happens.
func (g *generator) happen() {
	n := 1 + g.random.below(g.shape.Nodes)
	app := g.cluster.Apps[g.random.below(len(g.cluster.Apps))]
	kinds := []func(){
		func() { g.say("crash n%d", n); g.away = append(g.away, n) },
		func() { g.say("return n%d", n) },
		func() { g.say("partition n%d", n); g.away = append(g.away, n) },
		func() { g.say("heal n%d", n) },
		func() { g.say("agent-restart n%d", n) },
		func() { g.say("reset n%d", n) },
		func() { g.say("freeze n%d", n); g.away = append(g.away, n) },
		func() { g.say("thaw n%d", n) },
		func() { g.say("drain? n%d", n); g.away = append(g.away, n) },
		func() { g.say("undrain? n%d", n) },
		func() { g.slot("exit %s 1", app) },
		func() { g.slot("unhealthy %s", app) },
		func() { g.slot("healthy %s", app) },
	}
	if !g.shape.Fixed {
		kinds = append(kinds, g.change, g.change, g.change,
			func() { g.say("restart? %s", app.Name) },
			func() { g.say("remove? n%d", n) },
			func() { g.never[app.Name] = true; g.say("start %s never", app.Name) },
			func() { delete(g.never, app.Name); g.say("start %s 2s", app.Name) })
	}
	if !g.shape.Gentle {
		kinds = append(kinds, func() { g.say("leader-change") }, func() { g.say("leader-change") },
			func() { g.say("leader-freeze %ds", 1+g.random.below(60)) })
	}
	kinds[g.random.below(len(kinds))]()
}

func (g *generator) slot(format string, app *spec.App) {
	s := spec.Slot{App: app.Name, Index: g.random.below(max(1, app.Count))}.String()
	g.slots = append(g.slots, s)
	g.say(format, s)
}

// commit makes a revision of the present cluster.
func (g *generator) commit() {
	g.commits++
	name := fmt.Sprintf("v%d", g.commits)
	c := *g.cluster
	c.Apps = slices.Clone(c.Apps)
	g.scenario.revisions[name] = revision(name, &c, nil)
	g.say("commit %s", name)
}

// change commits something else.
func (g *generator) change() {
	i := g.random.below(len(g.cluster.Apps))
	c := *g.cluster
	c.Apps = slices.Clone(c.Apps)
	app := *c.Apps[i]
	app.Tasks = slices.Clone(app.Tasks)
	switch g.random.below(5) {
	case 0:
		app.Count = g.random.below(g.shape.Count + 1)
	case 1:
		app.Tasks[0].Stop.Timeout = spec.Duration(1+g.random.below(20)) * spec.Second
	case 2:
		if app.Tasks[0].Cores == 0 {
			app.Tasks[0].CPU = spec.MilliCPU(100 * (1 + g.random.below(15)))
		}
	default:
		app.Tasks[0].Command = []string{"true", fmt.Sprint(g.commits)}
	}
	if app.Kind == spec.KindSystem {
		app.Count = 0
	}
	c.Apps[i] = &app
	g.cluster = &c
	g.commit()
}

// first makes the apps of the first commit.
func (g *generator) first() *spec.Cluster {
	c := &spec.Cluster{Name: "random", Policy: spec.PolicyRef{Name: []string{"binpack", "spread"}[g.random.below(2)]}}
	c.Sync = spec.Sync{Approval: spec.ApprovalAuto, Prune: true, MaxPrune: spec.Percent{Value: spec.DefaultMaxPrune}}
	c.Disruption = spec.Disruption{MaxUnavailable: spec.Percent{Value: spec.DefaultMaxUnavailable}}
	for i := range g.shape.Apps {
		app := newApp(spec.AppName(fmt.Sprintf("app-%03d", i)), spec.KindService, 1+g.random.below(g.shape.Count))
		if g.shape.Fixed {
			app.Count = g.shape.Count
		}
		app.Tasks[0].CPU = spec.MilliCPU(100 * (1 + g.random.below(8)))
		if g.shape.Fixed {
			app.Tasks[0].CPU = spec.MilliCPU(50 + 10*g.random.below(10))
		}
		app.Update.MaxParallel = 1 + g.random.below(3)
		if g.random.below(4) == 0 {
			app.Network.Ports = []spec.PortSpec{{Name: "http", Protocol: spec.TCP}}
		}
		if g.random.below(6) == 0 && !g.shape.Fixed {
			app.Network.Ports = []spec.PortSpec{{Name: "http", Static: 8000 + i, Protocol: spec.TCP}}
		}
		if g.random.below(3) == 0 {
			app.Spreads = []spec.Spread{{Attribute: "rack", Weight: 50}}
		}
		switch g.random.below(8) {
		case 0:
			app.Tasks[0].Devices = []spec.DeviceAsk{{Kind: "gpu", Count: 1 + g.random.below(2)}}
		case 1:
			app.Tasks[0].Cores, app.Tasks[0].CPU = 1, 1000
		}
		if g.random.below(4) == 0 {
			sidecar := app.Tasks[0]
			sidecar.Name, sidecar.Lifecycle, sidecar.CPU, sidecar.Memory = "side", spec.LifecycleSidecar, 10, 16*spec.MiB
			app.Tasks = append(app.Tasks, sidecar)
		}
		c.Apps = append(c.Apps, app)
	}
	if !g.shape.Fixed {
		batch := newApp("batch", spec.KindBatch, 1+g.random.below(g.shape.Count))
		system := newApp("system", spec.KindSystem, 0)
		c.Apps = append(c.Apps, batch, system)
	}
	return c
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
