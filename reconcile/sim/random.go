package sim

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Shape bounds a random scenario.
type Shape struct {
	Nodes int           // at least 4
	Apps  int           // besides one system app and one batch app
	Count int           // of each app, at most
	Steps int           // things that happen
	Pause spec.Duration // between them, at most
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
	g := &generator{shape: shape, random: random{seed ^ 0x5eed}, timing: random{seed ^ 0x71de}, life: random{seed ^ 0x11f5}, wide: random{seed ^ 0x71de5}, scenario: &scenario{revisions: map[string]*spec.Revision{}}, broken: map[spec.AppName]bool{}, slow: map[spec.AppName]bool{}}
	g.generate()
	return g.scenario
}

type generator struct {
	shape    Shape
	random   random
	timing   random // of what has to do with windows
	life     random // of when tasks run, and how they end
	wide     random // of varieties
	scenario *scenario
	cluster  *spec.Cluster
	commits  int
	good     []string              // commits that can be read
	broken   map[spec.AppName]bool // apps of which something was said
	slow     map[spec.AppName]bool // apps of which it was said how long their work takes
	slots    []string              // of which something was said
	has      map[string]bool       // features
	groups   []string              // of nodes that are alike: n[1-3]
	names    []string              // of all nodes
}

func (g *generator) say(format string, args ...any) { g.scenario.say(format, args...) }

func (g *generator) generate() {
	g.draw()
	g.drawVarieties()
	g.begin()
	g.machines()
	g.cluster = g.first()
	g.keepTo(g.cluster)
	g.vary(g.cluster)
	g.commit()
	g.consent()
	if g.random.below(2) == 0 {
		g.say("settle")
	}
	for range g.shape.Steps {
		g.happen()
		g.say("advance %s", (g.random.between(0, g.shape.Pause) / spec.Millisecond * spec.Millisecond).String())
	}
	g.repair()
}

// repair ends every fault, and wants everything to come to rest.
func (g *generator) repair() {
	all := strings.Join(g.groups, " ")
	g.say("repository back")
	g.say("disk-free master")
	for _, verb := range []string{"thaw", "disk-free", "heal", "return"} {
		g.say("%s %s", verb, all)
	}
	for _, slot := range g.slots {
		g.say("healthy %s", slot)
	}
	for _, app := range sortedKeys(g.broken) {
		g.say("pull %s ok", app)
		g.say("exec %s ok", app)
		g.say("start %s 1s", app)
	}
	for _, app := range sortedKeys(g.slow) {
		g.say("run %s %s", app, defaultRun) // what takes longer than its schedule's period never comes to rest
	}
	g.hasten()
	g.say("settle")
	g.agree()
	g.hasten()
	for _, n := range g.names {
		g.say("undrain? %s", n)
	}
	g.say("settle")
	g.promote()
	g.say("expect at-rest")
}

// hasten ends the wait for windows, if there are any.
func (g *generator) hasten() {
	if len(g.cluster.Windows) > 0 {
		g.say("hasten?")
	}
}

// agree lets the plan take effect that waits, if one does. What was seen of it may be stale; the leader may fall over the
// answer and leave it to the next one, which refuses until its nodes have reported; and then what was seen is stale again.
// The fourth answer is never refused.
func (g *generator) agree() {
	if g.asks() {
		for range 4 {
			g.say("approve?")
			g.say("settle")
		}
	}
}

// promote lets canaries take over that wait for a person.
func (g *generator) promote() {
	waits := false
	for _, app := range g.cluster.Apps {
		if !app.Update.AutoPromote {
			waits = true
			g.say("promote? %s", app.Name)
		}
	}
	if waits {
		g.say("settle")
	}
}

// happen is one thing that happens: to a node, to tasks, to the masters, or by people.
func (g *generator) happen() {
	switch r := g.random.below(20); {
	case r < 8:
		g.node()
	case r < 11:
		g.tasks()
	case r < 14:
		g.masters()
	default:
		g.people()
	}
}

func (g *generator) pick(kinds ...func()) { kinds[g.random.below(len(kinds))]() }

// node is what happens to a node.
func (g *generator) node() {
	n := g.names[g.random.below(len(g.names))]
	g.pick(
		func() { g.say("crash %s", n) },
		func() { g.say("crash %s wipe", n) },
		func() { g.say("return %s", n) },
		func() { g.say("return %s", n) },
		func() { g.say("partition %s", n) },
		func() { g.say("partition %s mute", n) },
		func() { g.say("partition %s deaf", n) },
		func() { g.say("lag %s %dms", n, g.random.below(8000)) },
		func() { g.say("repeat %s", n) },
		func() { g.say("heal %s", n) },
		func() { g.say("heal %s", n) },
		func() { g.say("agent-restart %s", n) },
		func() { g.say("reset %s", n) },
		func() { g.say("freeze %s", n) },
		func() { g.say("thaw %s", n) },
		func() { g.say("disk-full %s", n) },
		func() { g.say("disk-free %s", n) },
		func() { g.say("skew %s %s", n, g.skew()) },
		func() { // the power of a rack, and back all at once
			rack := g.groups[g.random.below(len(g.groups))]
			g.say("crash %s", rack)
			g.say("advance %ds", 1+g.random.below(90))
			g.say("return %s", rack)
		},
	)
}

func (g *generator) skew() string {
	return []string{"", "-"}[g.random.below(2)] + fmt.Sprintf("%ds", g.random.below(3600))
}

// app picks one of the newest commit's apps.
func (g *generator) app() *spec.App { return g.cluster.Apps[g.random.below(len(g.cluster.Apps))] }

// tasks is how tasks behave from now on.
func (g *generator) tasks() {
	app := g.app()
	said := func(format string, args ...any) func() {
		return func() {
			g.broken[app.Name] = true
			g.say(format, args...)
		}
	}
	g.pick(
		func() { g.slot("exit %s 1", app) },
		func() { g.slot("exit %s 1 20s", app) },
		func() { g.slot("unhealthy %s", app) },
		func() { g.slot("healthy %s", app) },
		said("start %s never", app.Name),
		said("start %s %ds", app.Name, 1+g.random.below(5)),
		said("pull %s fails", app.Name),
		said("pull %s %ds", app.Name, 1+g.random.below(60)),
		said("exec %s fails", app.Name),
		said("exec %s ok", app.Name),
		said("pull %s ok", app.Name),
		func() {
			g.slow[app.Name] = true
			g.say("run %s %ds", app.Name, 1+g.random.below(300))
		},
		func() { g.say("stubborn %s", app.Name) },
	)
}

func (g *generator) slot(format string, app *spec.App) {
	s := spec.Slot{App: app.Name, Index: g.random.below(max(1, app.Count))}.String()
	g.slots = append(g.slots, s)
	g.say(format, s)
}

// masters is what happens to the masters and their repository.
func (g *generator) masters() {
	g.pick(
		func() { g.say("leader-change") },
		func() { g.say("leader-change recorded") },
		func() { g.say("leader-change unrecorded") },
		func() { g.say("leader-freeze %ds", 1+g.random.below(60)) },
		func() { g.say("skew master %s", g.skew()) },
		func() {
			g.say("disk-full master")
			g.say("advance %ds", 1+g.random.below(30))
			g.say("disk-free master")
		},
		func() { g.say("repository gone") },
		func() { g.say("repository back") },
		func() {
			if g.chance("losses", 3) {
				g.say("lose-journal")
			}
		},
	)
}

// people is what people do.
func (g *generator) people() {
	n := g.names[g.random.below(len(g.names))]
	g.pick(
		g.change, g.change, g.change, g.change, g.bad,
		func() { g.say("rewind %s", g.good[g.random.below(len(g.good))]) },
		func() { g.say("restart? %s", g.app().Name) },
		func() { g.say("drain? %s%s", n, g.window()) },
		func() { g.say("drain? %s deadline=%ds", n, 10+g.random.below(300)) },
		func() { g.say("undrain? %s", n) },
		func() { g.say("remove? %s", n) },
		func() { g.say("rollback? %s", g.good[g.random.below(len(g.good))]) },
		func() { g.say("resume?") },
		func() { g.say("promote? %s", g.app().Name) },
		g.join, g.further, g.further,
		func() {
			if g.has["rebalance"] {
				g.say("rebalance? %s", []string{"max=2", "parallel=1", "parallel=4", "cancel"}[g.random.below(4)])
			}
		},
		func() {
			if g.has["runs"] {
				g.say([]string{"dispatch? %s", "dispatch? %s mode=full", "cancel? %s"}[g.random.below(3)], g.runsOf())
			}
		},
	)
}
