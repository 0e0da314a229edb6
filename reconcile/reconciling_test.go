package reconcile_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// turn is something that happens in the cluster, and the whole plan that follows from it. Slots are told by kind of
// change: "replace" starts the new one first, "exchange" stops the old one first; what stands after "later" waits.
type turn struct {
	happens func(*lab)
	want    string
}

// history is one line of the table of reconciling: an app that runs as the spec says, then turns. Slot 0 of it is on the
// first node, slot 1 on the second, and so on; with more slots than nodes it goes round.
type history struct {
	name  string
	nodes int
	count int
	as    func(*spec.App) // nil: as service() makes it
	turns []turn
}

func (h history) run(t *testing.T) {
	l := newLab(t, h.nodes)
	l.in.Desired.Policy.Name = "spread"
	if h.count >= 0 {
		web := service("web", h.count)
		if h.as != nil {
			h.as(web)
		}
		l.commit(web)
		l.settle()
	}
	for i, turn := range h.turns {
		if turn.happens != nil {
			turn.happens(l)
		}
		p := l.step()
		if got := changes(p); got != turn.want {
			t.Fatalf("turn %d\ngot  %s\nwant %s\n%s", i+1, got, turn.want, show(p))
		}
		l.obey()
	}
}

// obey lets the nodes stop what is to stop; what is to start is starting, and healthy only when a turn says so.
func (l *lab) obey() {
	for i := range l.in.Current {
		if a := &l.in.Current[i]; a.Want == spec.WantStop {
			l.follow(a)
		}
	}
}

// changes writes the changes of a plan down: those of now by kind and slots, then those that wait.
func changes(p spec.Plan) string {
	var parts [2][]string
	for later := range 2 {
		slots := map[string][]int{}
		for _, a := range p.Apps {
			for _, c := range a.Changes {
				kind := string(c.Kind)
				switch {
				case c.Canary:
					kind = "canary"
				case c.Kind == spec.ChangeReplace && !c.KeepOld:
					kind = "exchange"
				}
				if c.Now == (later == 0) {
					slots[kind] = append(slots[kind], c.Index)
				}
			}
			if b := a.Blocked; b != nil && later == 0 {
				slots["blocked"] = append(slots["blocked"], b.Slots...)
			}
		}
		for _, kind := range []string{"start", "canary", "update", "replace", "exchange", "move", "stop", "blocked"} {
			if s := slots[kind]; len(s) > 0 {
				slices.Sort(s)
				parts[later] = append(parts[later], kind+" "+ranges(s))
			}
		}
	}
	text := strings.Join(parts[0], ", ")
	if len(parts[1]) > 0 {
		text += "; later " + strings.Join(parts[1], ", ")
	}
	return strings.TrimPrefix(text, "; ")
}

// ranges writes sorted numbers as 0-3 5.
func ranges(list []int) string {
	var out []string
	for i := 0; i < len(list); {
		k := i
		for k+1 < len(list) && list[k+1] == list[k]+1 {
			k++
		}
		if k == i {
			out = append(out, fmt.Sprint(list[i]))
		} else {
			out = append(out, fmt.Sprintf("%d-%d", list[i], list[k]))
		}
		i = k + 1
	}
	return strings.Join(out, " ")
}

// What can happen in a turn.

func all(events ...func(*lab)) func(*lab) {
	return func(l *lab) {
		for _, e := range events {
			e(l)
		}
	}
}

// asked commits the app changed; without edits nothing is left of it.
func asked(edits ...func(*spec.App)) func(*lab) {
	return func(l *lab) {
		a := service("web", 0)
		if len(l.in.Desired.Apps) > 0 {
			a = l.in.Desired.Apps[0]
		}
		l.commit(edit(a, func(a *spec.App) {
			for _, f := range edits {
				f(a)
			}
		}))
	}
}

// up makes what starts in the slots healthy, and lets so much time pass that it counts; without slots, everywhere.
func up(slots ...int) func(*lab) {
	return func(l *lab) {
		for _, a := range l.live("web") {
			if len(slots) == 0 || slices.Contains(slots, a.Index) {
				l.follow(a)
			}
		}
		l.advance(11 * spec.Second)
	}
}

// ill makes the newest allocation of each slot run and not be healthy.
func ill(slots ...int) func(*lab) {
	return func(l *lab) {
		for _, s := range slots {
			for _, a := range l.live("web") {
				if a.Index == s {
					a.State, a.Healthy, a.HealthySince = spec.StateRunning, false, 0
				}
			}
		}
	}
}

// gone forgets the slots: nothing of them is recorded.
func gone(slots ...int) func(*lab) {
	return func(l *lab) {
		l.in.Current = slices.DeleteFunc(l.in.Current, func(a spec.AllocationView) bool { return slices.Contains(slots, a.Index) })
	}
}

func (l *lab) nodesOf(slots []int) []spec.NodeID {
	var on []spec.NodeID
	for _, a := range l.live("web") {
		if slices.Contains(slots, a.Index) && !slices.Contains(on, a.Node) {
			on = append(on, a.Node)
		}
	}
	return on
}

// lost makes the nodes of the slots silent for so long that they are given up.
func lost(slots ...int) func(*lab) {
	return func(l *lab) {
		for _, n := range l.nodesOf(slots) {
			l.node(n).State, l.node(n).LastSeen = spec.NodeUnknown, l.in.Now
		}
		l.advance(31 * spec.Second)
	}
}

// silent makes the nodes of the slots silent, for less long than that.
func silent(slots ...int) func(*lab) {
	return func(l *lab) {
		for _, n := range l.nodesOf(slots) {
			l.node(n).State, l.node(n).LastSeen = spec.NodeUnknown, l.in.Now
		}
		l.advance(12 * spec.Second)
	}
}

func returned(l *lab) {
	for i := range l.in.Nodes {
		l.in.Nodes[i].State, l.in.Nodes[i].LastSeen = spec.NodeReady, l.in.Now
	}
}

func drained(slots ...int) func(*lab) {
	return func(l *lab) {
		for _, n := range l.nodesOf(slots) {
			l.drain(string(n))
		}
	}
}

func undrained(l *lab) { l.in.Drains = nil }

func overdue(l *lab) {
	for i := range l.in.Drains {
		l.in.Drains[i].Deadline = l.in.Now
	}
}

// ended makes the allocations of the slots end, in the given state.
func ended(state spec.State, slots ...int) func(*lab) {
	return func(l *lab) {
		for _, a := range l.live("web") {
			if slices.Contains(slots, a.Index) {
				a.State, a.Healthy, a.Since = state, false, l.in.Now
			}
		}
	}
}

func pass(d spec.Duration) func(*lab) { return func(l *lab) { l.advance(d) } }

// How an app is changed.

func count(n int) func(*spec.App) { return func(a *spec.App) { a.Count = n } }

func checked(a *spec.App) {
	a.Tasks[0].Checks = []spec.Check{{Name: "c", Type: spec.CheckExec, Command: []string{"true"}}}
}

func recreate(a *spec.App)  { a.Update.Strategy = spec.StrategyRecreate }
func blueGreen(a *spec.App) { a.Update.Strategy = spec.StrategyBlueGreen }
func batch(a *spec.App)     { a.Kind = spec.KindBatch }

func parallel(n int) func(*spec.App) { return func(a *spec.App) { a.Update.MaxParallel = n } }

func canaries(n int) func(*spec.App) {
	return func(a *spec.App) { a.Update.Strategy, a.Update.Canary = spec.StrategyCanary, n }
}

func healthy(least, surge spec.Milli) func(*spec.App) {
	return func(a *spec.App) { a.Update.MinHealthy, a.Update.Surge = least, surge }
}

// ten has an app with ten slots running, each on a node of its own.
func ten(t *testing.T) (*lab, *spec.App) {
	l := newLab(t, 12)
	l.in.Desired.Policy.Name = "spread"
	web := service("web", 10)
	l.commit(web)
	l.settle()
	if n := len(l.where("web")); n != 10 {
		t.Fatalf("on %d nodes, want 10", n)
	}
	return l, web
}
