package node

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// of makes a task with a lifecycle.
func of(name spec.TaskName, l spec.Lifecycle) spec.Task {
	t := task(name)
	t.Lifecycle = l
	return t
}

// whole is an app with a task of every lifecycle, in an order that says nothing about when they run.
func whole() *spec.App {
	main := task("main")
	main.Stop.Delay, main.Stop.Command, main.Stop.CommandTimeout = 3*spec.Second, []string{"drain"}, 5*spec.Second
	return service(of("clean", spec.LifecyclePoststop), main, of("side", spec.LifecycleSidecar), of("tell", spec.LifecyclePoststart),
		of("first", spec.LifecyclePrestart), of("second", spec.LifecyclePrestart))
}

// started answers the start of a task.
func (r *rig) started(id spec.AllocationID, name spec.TaskName, attempt int) string {
	return r.step(Started{Run: run(id, name, attempt), Pid: 100, At: r.now})
}

func (r *rig) exited(id spec.AllocationID, name spec.TaskName, attempt, code int) string {
	return r.step(Exited{Run: run(id, name, attempt), Exit: spec.Exit{Code: code}, At: r.now})
}

func (r *rig) after(d spec.Duration) string {
	r.now = r.now.Add(d)
	return r.step(Tick{})
}

func TestAWholeLife(t *testing.T) {
	r := newRig(t)
	app := whole()
	a := decided(app, 0, 1)
	id := a.ID
	r.step(assigned(1, app, a))
	r.want(r.step(Prepared{ID: id}), "start web-0-1/first.0")
	r.want(r.started(id, "first", 0), "")
	r.want(r.exited(id, "first", 0, 0), "remove web-0-1/first.0, start web-0-1/second.0")
	r.started(id, "second", 0)
	// One that fails is tried again, and nothing else starts before it has done its work.
	r.want(r.exited(id, "second", 0, 1), "remove web-0-1/second.0")
	r.state(id, spec.StateStarting, "")
	r.want(r.after(2*spec.Second), "start web-0-1/second.1")
	r.started(id, "second", 1)
	r.want(r.exited(id, "second", 1, 0), "remove web-0-1/second.1, start web-0-1/side.0")
	r.want(r.started(id, "side", 0), "start web-0-1/main.0")
	r.want(r.started(id, "main", 0), "start web-0-1/tell.0")
	r.started(id, "tell", 0)
	if s := r.status(id); !s.Healthy || s.State != spec.StateRunning {
		t.Errorf("it is %s, healthy %v", s.State, s.Healthy)
	}
	r.want(r.exited(id, "tell", 0, 0), "remove web-0-1/tell.0")
	// A main task that is started anew starts none of the others.
	r.want(r.exited(id, "main", 0, 1), "remove web-0-1/main.0")
	r.want(r.after(2*spec.Second), "start web-0-1/main.1")
	r.want(r.started(id, "main", 1), "")
	a.Want = spec.WantStop
	r.want(r.step(assigned(2, app, a)), "")
	if s := r.status(id); s.Healthy || s.State != spec.StateStopping {
		t.Errorf("while its stop is delayed it is %s, healthy %v", s.State, s.Healthy)
	}
	r.want(r.after(3*spec.Second), "command web-0-1/main.1 drain")
	r.want(r.step(Commanded{Run: run(id, "main", 1), Err: "exit code 2"}), "SIGTERM web-0-1/main.1")
	r.want(r.exited(id, "main", 1, 143), "remove web-0-1/main.1, start web-0-1/clean.0")
	r.started(id, "clean", 0)
	r.want(r.exited(id, "clean", 0, 3), "remove web-0-1/clean.0, SIGTERM web-0-1/side.0")
	r.want(r.exited(id, "side", 0, 0), "remove web-0-1/side.0")
	r.state(id, spec.StateComplete, "stopped")
	if c := r.status(id).Tasks[0]; c.State != spec.StateFailed || c.Reason != "exit code 3" {
		t.Errorf("the poststop task is %s: %s", c.State, c.Reason)
	}
}

// TestNobodyWaitsForAHangingHook: each stage of an end has its bound.
func TestNobodyWaitsForAHangingHook(t *testing.T) {
	r := newRig(t)
	app := whole()
	app.Tasks = app.Tasks[:3] // clean, main, side
	a := decided(app, 0, 1)
	id := a.ID
	r.step(assigned(1, app, a))
	r.want(r.step(Prepared{ID: id}), "start web-0-1/side.0")
	r.started(id, "side", 0)
	r.started(id, "main", 0)
	a.Want = spec.WantStop
	r.step(assigned(2, app, a))
	r.want(r.after(3*spec.Second), "command web-0-1/main.0 drain")
	r.want(r.after(4*spec.Second), "")
	r.want(r.after(1*spec.Second), "SIGTERM web-0-1/main.0")
	r.want(r.step(Commanded{Run: run(id, "main", 0)}), "") // too late to mean anything
	r.want(r.after(10*spec.Second), "kill web-0-1/main.0")
	r.want(r.exited(id, "main", 0, 137), "remove web-0-1/main.0, start web-0-1/clean.0")
	r.started(id, "clean", 0)
	r.want(r.after(spec.DefaultPoststopMaxRun), "SIGTERM web-0-1/clean.0")
	r.want(r.after(10*spec.Second), "kill web-0-1/clean.0")
	r.want(r.exited(id, "clean", 0, 137), "remove web-0-1/clean.0, SIGTERM web-0-1/side.0")
	r.exited(id, "side", 0, 0)
	r.state(id, spec.StateComplete, "stopped")
	if got := r.status(id).Tasks[0].Reason; !strings.Contains(got, "max_run") {
		t.Errorf("the poststop task ended: %s", got)
	}
	if got := r.status(id).Tasks[1].Reason; got != "killed after 10s of grace: exit code 137" {
		t.Errorf("the main task ended: %s", got)
	}
}

// TestWhatDoesNotServeIsNotWaitedFor: the delay of a stop is for those who send work to a healthy allocation.
func TestWhatDoesNotServeIsNotWaitedFor(t *testing.T) {
	r := newRig(t)
	app := whole()
	app.Tasks = app.Tasks[1:2]
	app.Tasks[0].Checks = []spec.Check{{Name: "up", Type: spec.CheckTCP, Gate: true}}
	a := r.running(app)
	a.Want = spec.WantStop
	r.want(r.step(assigned(2, app, a)), "command web-0-1/main.0 drain")
}

func TestPoststopRunsAfterAFailureAndOnlyIfSomethingRan(t *testing.T) {
	r := newRig(t)
	app := service(task("main"), of("clean", spec.LifecyclePoststop))
	app.Restart.Attempts = 0
	a := r.running(app)
	r.want(r.exited(a.ID, "main", 0, 1), "remove web-0-1/main.0, start web-0-1/clean.0")
	r.state(a.ID, spec.StateStopping, `task "main": exit code 1`)
	r.started(a.ID, "clean", 0)
	r.exited(a.ID, "clean", 0, 0)
	r.state(a.ID, spec.StateFailed, `task "main": exit code 1`)

	r = newRig(t)
	r.step(assigned(1, app, a))
	b := a
	b.Want = spec.WantStop
	r.want(r.step(assigned(2, app, b)), "")
	r.state(a.ID, spec.StateComplete, "stopped")
	if got := r.status(a.ID).Tasks[1]; got.Reason != reasonNeverStarted {
		t.Errorf("the poststop task of an allocation that never ran is told as %s: %s", got.State, got.Reason)
	}
}

// TestABatchIsCleanedUpAfter: a batch allocation is complete once its poststop task has run.
func TestABatchIsCleanedUpAfter(t *testing.T) {
	r := newRig(t)
	app := service(task("main"), of("clean", spec.LifecyclePoststop))
	app.Kind = spec.KindBatch
	a := r.running(app)
	r.want(r.exited(a.ID, "main", 0, 0), "remove web-0-1/main.0, start web-0-1/clean.0")
	r.state(a.ID, spec.StateStopping, reasonWorkDone)
	// The image of the poststop task is gone, and the agent is another.
	r.want(r.reborn(), "prepare web-0-1")
	r.want(r.step(Prepared{ID: a.ID, Err: "no such image"}), "")
	r.state(a.ID, spec.StateComplete, reasonWorkDone)
	if got := r.status(a.ID).Tasks[1]; got.State != spec.StateFailed || got.Reason != "could not be run: no such image" {
		t.Errorf("the poststop task is %s: %s", got.State, got.Reason)
	}
}

func TestMaxRun(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	app.Tasks[0].MaxRun = spec.Minute
	app.Restart.Attempts = 1
	a := r.running(app)
	r.want(r.after(59*spec.Second), "")
	r.want(r.after(1*spec.Second), "SIGTERM web-0-1/main.0")
	r.want(r.exited(a.ID, "main", 0, 0), "remove web-0-1/main.0")
	if got := r.status(a.ID).Tasks[0].Reason; !strings.HasPrefix(got, "ran for 1m, which is its max_run; started again after") {
		t.Errorf("the reason is %q", got)
	}
	r.want(r.after(2*spec.Second), "start web-0-1/main.1")
	r.started(a.ID, "main", 1)
	r.want(r.after(spec.Minute), "SIGTERM web-0-1/main.1")
	r.exited(a.ID, "main", 1, 0)
	r.state(a.ID, spec.StateFailed, `task "main": ran for 1m, which is its max_run, after one restart within 10m`)
}

func TestRestartModes(t *testing.T) {
	for _, c := range []struct {
		name  string
		rule  spec.Restart
		waits []spec.Duration // a hundredth is let pass for the jitter of the first ones
		fails bool
	}{
		{"fail", spec.Restart{Attempts: 2, Interval: spec.Minute, Delay: 10 * spec.Second, MaxDelay: spec.Minute}, []spec.Duration{10 * spec.Second, 15 * spec.Second}, true},
		{"delay", spec.Restart{Attempts: 2, Interval: 10 * spec.Minute, Delay: 10 * spec.Second, MaxDelay: spec.Minute, Mode: spec.RestartDelay},
			[]spec.Duration{10 * spec.Second, 15 * spec.Second, 10*spec.Minute - 25*spec.Second}, false},
		{"no limit", spec.Restart{Attempts: -1, Interval: spec.Minute, Delay: spec.Second, MaxDelay: 2 * spec.Second}, []spec.Duration{spec.Second, 1500 * spec.Millisecond, 2 * spec.Second, 2 * spec.Second}, false},
		{"none", spec.Restart{Attempts: 0, Interval: spec.Minute, Mode: spec.RestartDelay}, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			retry, now := Retry{}, spec.Time(1e18)
			for i, want := range c.waits {
				got, ok := retry.again(c.rule, now, fmt.Sprint(i))
				if !ok || got < want*85/100 || got > want*115/100 {
					t.Fatalf("wait %d is %s, %v; want about %s", i, got, ok, want)
				}
				now = now.Add(got)
			}
			if _, ok := retry.again(c.rule, now, "x"); ok == c.fails {
				t.Errorf("one more try: %v", ok)
			}
		})
	}
}

// TestOnceMoreBeforeTheIntervalIsOver: in the mode delay there are never more restarts within the interval than attempts.
func TestOnceMoreBeforeTheIntervalIsOver(t *testing.T) {
	rule := spec.Restart{Attempts: 3, Interval: spec.Minute, Delay: spec.Second, MaxDelay: 5 * spec.Second, Mode: spec.RestartDelay}
	retry, now := Retry{}, spec.Time(1e18)
	var starts []spec.Time
	for i := range 50 {
		wait, ok := retry.again(rule, now, fmt.Sprint(i))
		if !ok {
			t.Fatal("it gave up")
		}
		now = now.Add(wait)
		starts = append(starts, now)
	}
	for i := 3; i < len(starts); i++ {
		if gap := starts[i].Sub(starts[i-3]); gap < rule.Interval {
			t.Errorf("four starts within %s", gap)
		}
	}
}

// reborn kills the agent and starts another on its disk; containers are what the executor has.
func (r *rig) reborn(containers ...Container) string {
	r.t.Helper()
	m := Memory{Header: r.head}
	for _, rec := range r.disk {
		m.Records = append(m.Records, rec)
	}
	r.core, r.wake = New(Config{Node: spec.Node{ID: "n1"}}), 0
	r.want(r.step(Restored{Memory: m}), "")
	return r.step(Inventory{containers})
}

// TestEveryCrash plays a whole life, from the assignment to the end, against an executor of its own, and kills the agent before
// one of the things that it wants done: that one and all that follow it in the step are lost. For each of them the life goes on,
// ends the same, and every task has run as often as was promised.
func TestEveryCrash(t *testing.T) {
	calm := play(t, -1)
	if want := "first second side main tell stop drain clean"; strings.Join(calm.did, " ") != want {
		t.Fatalf("without a crash it did %v, want %s", calm.did, want)
	}
	for kill := range calm.effects {
		g := play(t, kill)
		for _, name := range []string{"first", "second", "side", "main", "tell", "clean"} {
			if n := g.count(name); n != 1 {
				t.Errorf("killed before effect %d (%s): %s ran %d times in %v", kill, g.killed, name, n, g.did)
			}
		}
		if n := g.count("drain"); n < 1 || n > 2 {
			t.Errorf("killed before effect %d (%s): the command ran %d times in %v", kill, g.killed, n, g.did)
		}
		for _, pair := range [][2]string{{"first", "second"}, {"second", "side"}, {"side", "main"}, {"main", "tell"}, {"stop", "drain"}, {"drain", "clean"}} {
			if slices.Index(g.did, pair[0]) > slices.Index(g.did, pair[1]) {
				t.Errorf("killed before effect %d (%s): %s came after %s in %v", kill, g.killed, pair[0], pair[1], g.did)
			}
		}
	}
}

// game is a life under play.
type game struct {
	rig
	kill    int // the effect before which the agent dies; negative: none
	effects int
	killed  string
	did     []string
	there   map[Run]*Container
	events  []Event
	asked   bool
}

func (g *game) count(what string) (n int) {
	for _, d := range g.did {
		if d == what {
			n++
		}
	}
	return n
}

func play(t *testing.T, kill int) *game {
	g := &game{rig: rig{t: t, core: New(Config{Node: spec.Node{ID: "n1"}}), now: spec.Time(1e18), disk: map[spec.AllocationID]Record{}}, kill: kill, there: map[Run]*Container{}}
	app := whole()
	a := decided(app, 0, 1)
	g.events = []Event{Restored{}, Inventory{}, assigned(1, app, a)}
	for range 300 {
		if len(g.events) == 0 {
			s := g.status(a.ID)
			switch {
			case s.State.Terminal():
				if s.State != spec.StateComplete || s.Restarts != 0 {
					t.Errorf("killed before effect %d (%s): it ended as %s after %d restarts: %s", kill, g.killed, s.State, s.Restarts, s.Reason)
				}
				return g
			case s.Healthy && !g.asked && g.count("tell") > 0:
				g.asked = true
				a.Want = spec.WantStop
				g.did = append(g.did, "stop")
				g.events = append(g.events, assigned(2, app, a))
			case g.asked && g.core.Generation() < 2:
				g.events = append(g.events, assigned(2, app, a)) // the master says it again
			default:
				g.now = g.now.Add(spec.Second)
				g.events = append(g.events, Tick{})
			}
		}
		ev := g.events[0]
		g.events = g.events[1:]
		g.obey(g.core.Step(g.now, ev))
	}
	t.Fatalf("killed before effect %d (%s): no end after %v: %+v", kill, g.killed, g.did, g.status(a.ID))
	return g
}

func (g *game) obey(effects []Effect) {
	for _, e := range effects {
		if _, ok := e.(Wake); ok {
			continue
		}
		if g.effects++; g.effects-1 == g.kill {
			g.killed = fmt.Sprintf("%T", e)
			g.crash()
			return
		}
		switch e := e.(type) {
		case Save:
			if e.Header != nil {
				g.head = *e.Header
			}
			for _, rec := range e.Put {
				g.disk[rec.Decided.ID] = rec
			}
		case Prepare:
			g.events = append(g.events, Prepared{ID: e.Allocation.ID})
		case Start:
			g.begin(e)
		case Command:
			g.did = append(g.did, "drain")
			g.events = append(g.events, Commanded{Run: e.Run})
		case Signal, Kill:
			run := map[bool]func() Run{true: func() Run { return e.(Signal).Run }, false: func() Run { return e.(Kill).Run }}[isSignal(e)]()
			g.finish(run, spec.Exit{Code: 143})
		case Remove:
			delete(g.there, e.Run)
		}
	}
}

func isSignal(e Effect) bool { _, ok := e.(Signal); return ok }

// begin runs a container; what goes with the others ends at once.
func (g *game) begin(e Start) {
	k := g.there[e.Run]
	if k == nil {
		g.did = append(g.did, string(e.Run.Task))
		k = &Container{Run: e.Run, Running: true, Pid: 100, Started: g.now}
		g.there[e.Run] = k
	}
	g.events = append(g.events, Started{Run: e.Run, Pid: k.Pid, At: k.Started})
	if e.Run.Task != "main" && e.Run.Task != "side" {
		g.finish(e.Run, spec.Exit{})
	}
}

func (g *game) finish(run Run, exit spec.Exit) {
	if k := g.there[run]; k != nil && k.Running {
		k.Running, k.Pid, k.Exit, k.Ended = false, 0, &exit, g.now
		g.events = append(g.events, Exited{Run: run, Exit: exit, At: g.now})
	}
}

// crash has the agent die with all that was on the way to it, and another begin.
func (g *game) crash() {
	m := Memory{Header: g.head}
	for _, rec := range g.disk {
		m.Records = append(m.Records, rec)
	}
	var inventory Inventory
	for _, k := range g.there { // any order: the core looks them up by run
		inventory.Containers = append(inventory.Containers, *k)
	}
	g.core = New(Config{Node: spec.Node{ID: "n1"}})
	app := whole()
	g.events = []Event{Restored{Memory: m}, inventory}
	if g.core.Generation() == 0 && len(m.Records) == 0 {
		g.events = append(g.events, assigned(1, app, decided(app, 0, 1)))
	}
}
