package node

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// rig drives one core and remembers what it asked for.
type rig struct {
	t     *testing.T
	core  *Core
	now   spec.Time
	disk  map[spec.AllocationID]Record
	head  Header
	sent  []spec.Report
	wake  spec.Time
	since []Effect // of the last step
}

func newRig(t *testing.T) *rig {
	r := &rig{t: t, core: New(Config{Node: spec.Node{ID: "n1"}}), now: spec.Time(1e18), disk: map[spec.AllocationID]Record{}}
	r.step(Restored{}, Inventory{})
	return r
}

func (r *rig) step(events ...Event) string {
	r.since = r.core.Step(r.now, events...)
	var words []string
	saved := false
	for i, e := range r.since {
		switch e := e.(type) {
		case Save:
			if i != 0 {
				r.t.Errorf("a Save comes after %T", r.since[i-1])
			}
			saved = true
			if e.Header != nil {
				r.head = *e.Header
			}
			for _, rec := range e.Put {
				r.disk[rec.Decided.ID] = rec
			}
			for _, id := range e.Drop {
				delete(r.disk, id)
			}
		case Prepare:
			words = append(words, "prepare "+string(e.Allocation.ID))
		case Start:
			if !saved || !begun(r.disk[e.Run.ID], e.Run) {
				r.t.Errorf("%s is started before it is saved that it is", e.Run)
			}
			words = append(words, "start "+short(e.Run))
		case Park:
			words = append(words, "park "+short(e.Run)+" behind "+short(e.Present))
		case Command:
			words = append(words, "command "+short(e.Run)+" "+strings.Join(e.Command, " "))
		case Signal:
			words = append(words, e.Signal+" "+short(e.Run))
		case Kill:
			words = append(words, "kill "+short(e.Run))
		case Remove:
			words = append(words, "remove "+short(e.Run))
		case Probe:
			words = append(words, "probe "+short(e.Run)+" "+e.Check.Name)
		case Unprobe:
			words = append(words, "unprobe "+short(e.Run)+" "+e.Check)
		case Clean:
			words = append(words, "clean "+string(e.ID))
		case Send:
			r.sent = append(r.sent, e.Report)
		case Wake:
			r.wake = e.At
		}
	}
	return strings.Join(words, ", ")
}

func begun(rec Record, run Run) bool {
	for i := range rec.App.Tasks {
		if rec.App.Tasks[i].Name == run.Task {
			return rec.Tasks[i].Begun && rec.Tasks[i].Attempt == run.Attempt
		}
	}
	return false
}

func short(r Run) string { return fmt.Sprintf("%s/%s.%d", r.ID, r.Task, r.Attempt) }

// want compares what a step did.
func (r *rig) want(got, want string) {
	r.t.Helper()
	if got != want {
		r.t.Errorf("did %q, want %q", got, want)
	}
}

func (r *rig) status(id spec.AllocationID) spec.AllocationStatus {
	for _, v := range r.core.Allocations() {
		if v.ID == id {
			return v.AllocationStatus
		}
	}
	return spec.AllocationStatus{}
}

func (r *rig) state(id spec.AllocationID, want spec.State, reason string) {
	r.t.Helper()
	if s := r.status(id); s.State != want || !strings.Contains(s.Reason, reason) {
		r.t.Errorf("%s is %s (%s), want %s (%s)", id, s.State, s.Reason, want, reason)
	}
}

func task(name spec.TaskName) spec.Task {
	return spec.Task{Name: name, Lifecycle: spec.LifecycleMain, Stop: spec.Stop{Signal: "SIGTERM", Timeout: 10 * spec.Second}}
}

func service(tasks ...spec.Task) *spec.App {
	return &spec.App{Name: "web", Kind: spec.KindService, Count: 1, Tasks: tasks,
		Restart: spec.Restart{Attempts: 3, Interval: 10 * spec.Minute, Delay: spec.Second, MaxDelay: spec.Minute}}
}

func decided(app *spec.App, slot int, g spec.Generation) spec.Allocation {
	s := spec.Slot{App: app.Name, Index: slot}
	return spec.Allocation{ID: spec.NewAllocationID(s, g), Slot: s, Node: "n1", Generation: g, Version: app.Hash(),
		Runtime: app.RuntimeHash(), Want: spec.WantRun}
}

func assigned(g spec.Generation, app *spec.App, all ...spec.Allocation) Assigned {
	return Assigned{spec.Assignment{FormatVersion: 1, Node: "n1", Generation: g, Allocations: all,
		Versions: map[spec.Hash]*spec.App{app.Hash(): app}}}
}

func run(id spec.AllocationID, name spec.TaskName, attempt int) Run { return Run{id, name, attempt} }

// running brings an allocation of one main task to run.
func (r *rig) running(app *spec.App) spec.Allocation {
	a := decided(app, 0, 1)
	r.want(r.step(assigned(1, app, a)), "prepare web-0-1")
	r.want(r.step(Prepared{ID: a.ID}), "start web-0-1/main.0")
	r.step(Started{Run: run(a.ID, "main", 0), Pid: 100, At: r.now})
	r.state(a.ID, spec.StateRunning, "")
	return a
}

func TestSidecarsStartFirstAndStopLast(t *testing.T) {
	r := newRig(t)
	side := task("side")
	side.Lifecycle = spec.LifecycleSidecar
	app := service(task("main"), side)
	a := decided(app, 0, 1)
	r.step(assigned(1, app, a))
	r.want(r.step(Prepared{ID: a.ID}), "start web-0-1/side.0")
	r.want(r.step(Started{Run: run(a.ID, "side", 0), Pid: 7, At: r.now}), "start web-0-1/main.0")
	r.step(Started{Run: run(a.ID, "main", 0), Pid: 8, At: r.now})
	r.state(a.ID, spec.StateRunning, "")
	if !r.status(a.ID).Healthy {
		t.Error("without checks that gate, running is healthy")
	}
	a.Want, a.StopReason = spec.WantStop, "the count is lower"
	r.want(r.step(assigned(2, app, a)), "SIGTERM web-0-1/main.0")
	r.state(a.ID, spec.StateStopping, "the count is lower")
	r.want(r.step(Exited{Run: run(a.ID, "main", 0), Exit: spec.Exit{Code: 143, Signal: "SIGTERM"}, At: r.now}), "remove web-0-1/main.0, SIGTERM web-0-1/side.0")
	r.want(r.step(Exited{Run: run(a.ID, "side", 0), At: r.now}), "remove web-0-1/side.0")
	r.state(a.ID, spec.StateComplete, "the count is lower")
}

func TestGraceThenKillThenKillAgain(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	a := r.running(app)
	a.Want = spec.WantStop
	r.want(r.step(assigned(2, app, a)), "SIGTERM web-0-1/main.0")
	r.now = r.now.Add(9 * spec.Second)
	r.want(r.step(Tick{}), "")
	r.now = r.now.Add(spec.Second)
	r.want(r.step(Tick{}), "kill web-0-1/main.0")
	r.now = r.now.Add(KillAgain)
	r.want(r.step(Tick{}), "kill web-0-1/main.0")
	r.step(Exited{Run: run(a.ID, "main", 0), Exit: spec.Exit{Code: 137, Signal: "SIGKILL"}, At: r.now})
	r.state(a.ID, spec.StateComplete, "stopped")
	if got := r.status(a.ID).Tasks[0].Reason; got != "killed after 20s of grace: killed by SIGKILL" {
		t.Errorf("the task's reason is %q", got)
	}
}

func TestRestartsGrowUntilFailed(t *testing.T) {
	r := newRig(t)
	a := r.running(service(task("main")))
	exit := spec.Exit{Code: 137, Signal: "SIGKILL", OOM: true, MemoryLimit: 64 * spec.MiB}
	for attempt := range 3 {
		r.want(r.step(Exited{Run: run(a.ID, "main", attempt), Exit: exit, At: r.now}), "remove "+short(run(a.ID, "main", attempt)))
		wait := r.wake.Sub(r.now)
		base := spec.Second
		for range attempt {
			base += base / 2
		}
		if wait < base*9/10-spec.Millisecond || wait > base*11/10 {
			t.Errorf("restart %d waits %s, want about %s", attempt, wait, base)
		}
		r.state(a.ID, spec.StateRunning, "")
		if r.status(a.ID).Healthy {
			t.Error("healthy while its task waits for a restart")
		}
		r.now = r.wake
		r.want(r.step(Tick{}), "start "+short(run(a.ID, "main", attempt+1)))
		r.step(Started{Run: run(a.ID, "main", attempt+1), Pid: 101 + attempt, At: r.now})
	}
	r.step(Exited{Run: run(a.ID, "main", 3), Exit: exit, At: r.now})
	r.state(a.ID, spec.StateFailed, `task "main": killed for memory at 64MiB, after 3 restarts within 10m`)
	if got := r.status(a.ID).Restarts; got != 3 {
		t.Errorf("counted %d restarts", got)
	}
}

func TestOnlyNewerGenerationsAndOnlyWantStopStops(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	a := r.running(app)
	stop := a
	stop.Want = spec.WantStop
	r.want(r.step(assigned(1, app, stop)), "")
	r.want(r.step(assigned(5, app)), "") // does not mention it: left alone
	r.state(a.ID, spec.StateRunning, "")
	r.want(r.step(assigned(4, app, stop)), "")
	r.want(r.step(assigned(6, app, stop)), "SIGTERM web-0-1/main.0")
	r.want(r.step(assigned(7, app, a)), "") // it never goes back
	r.state(a.ID, spec.StateStopping, "")
}

func TestWaitsForTheRoomItTakesOver(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	a := r.running(app)
	a.Want = spec.WantStop
	b := decided(app, 0, 2)
	b.After = []spec.AllocationID{a.ID}
	r.want(r.step(assigned(2, app, a, b)), "SIGTERM web-0-1/main.0")
	r.state(b.ID, spec.StatePlaced, "waits for web-0-1")
	r.want(r.step(Exited{Run: run(a.ID, "main", 0), At: r.now}), "remove web-0-1/main.0, prepare web-0-2")
}

func TestBatchCompletes(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	app.Kind = spec.KindBatch
	a := r.running(app)
	r.step(Exited{Run: run(a.ID, "main", 0), At: r.now})
	r.state(a.ID, spec.StateComplete, reasonWorkDone)
}

// TestAgentRestart has the agent killed after every step of a life, and come back with its disk.
func TestAgentRestart(t *testing.T) {
	app := service(task("main"))
	r := newRig(t)
	a := r.running(app)
	back := func(containers ...Container) string {
		var m Memory
		m.Header = r.head
		for _, rec := range r.disk {
			m.Records = append(m.Records, rec)
		}
		r.core = New(Config{Node: spec.Node{ID: "n1"}})
		r.wake = 0
		r.want(r.step(Restored{Memory: m}), "")
		return r.step(Inventory{containers})
	}
	first := run(a.ID, "main", 0)
	r.want(back(Container{Run: first, Running: true, Pid: 100, Started: r.now}), "")
	r.state(a.ID, spec.StateRunning, "")
	if r.core.Generation() != 1 || r.status(a.ID).Restarts != 0 {
		t.Error("the restart changed something")
	}
	// It ended meanwhile, and the executor kept the code.
	r.want(back(Container{Run: first, Exit: &spec.Exit{Code: 3}, Ended: r.now}), "remove web-0-1/main.0, prepare web-0-1")
	if got := r.status(a.ID).Tasks[0].Reason; !strings.HasPrefix(got, "exit code 3; started again after") {
		t.Errorf("the reason is %q", got)
	}
	r.want(r.step(Prepared{ID: a.ID}), "")
	r.now = r.wake
	r.want(r.step(Tick{}), "start web-0-1/main.1")
	// The agent dies before the Start was done: it is asked for again, as the same run.
	back()
	r.want(r.step(Prepared{ID: a.ID}), "start web-0-1/main.1")
	r.step(Started{Run: run(a.ID, "main", 1), Pid: 200, At: r.now})
	// All is gone, nobody knows how it ended.
	r.want(back(), "remove web-0-1/main.1, prepare web-0-1")
	if e := r.status(a.ID).Tasks[0].Exit; e == nil || !e.Unknown {
		t.Error("an exit that nobody saw is not told as unknown")
	}
	// A stray run of an earlier attempt is killed, one of nobody is left alone.
	r.want(back(Container{Run: first, Running: true, Pid: 1}, Container{Run: run("x-0-9", "main", 0), Running: true, Pid: 2}), "kill web-0-1/main.0, prepare web-0-1")
}

func TestUpdateInPlaceChangesChecksOnly(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	app.Tasks[0].Checks = []spec.Check{{Name: "up", Type: spec.CheckTCP, Gate: true, Failures: 3}}
	a := r.running(app)
	if r.status(a.ID).Healthy {
		t.Error("healthy before the check has passed")
	}
	r.step(Checked{Run: run(a.ID, "main", 0), Check: "up", Passing: true})
	if s := r.status(a.ID); !s.Healthy || s.HealthySince != r.now {
		t.Error("not healthy though the check passes")
	}
	next := service(task("main"))
	next.Tasks[0].Checks = []spec.Check{{Name: "well", Type: spec.CheckTCP}}
	b := a
	b.Version = next.Hash()
	r.want(r.step(assigned(2, next, b)), "unprobe web-0-1/main.0 up, probe web-0-1/main.0 well")
	r.state(a.ID, spec.StateRunning, "")
	other := service(task("main"))
	other.Tasks[0].Command = []string{"other"}
	c := a
	c.Version, c.Runtime = other.Hash(), other.RuntimeHash()
	r.want(r.step(assigned(3, other, c)), "")
	if got := r.core.Allocations()[0].Version; got != b.Version {
		t.Error("a version that needs a replacement was taken in place")
	}
}

func TestReports(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	a := r.running(app)
	if len(r.sent) != 0 {
		t.Fatal("something was sent without a link")
	}
	r.step(Connected{})
	full := r.sent[0]
	if !full.Full || full.Node == nil || len(full.Allocations) != 1 || full.Allocations[0].Decided == nil || full.Allocations[0].Spec == nil || full.Generation != 1 {
		t.Errorf("the full report is %+v", full)
	}
	r.step(Tick{})
	if len(r.sent) != 1 {
		t.Error("something was sent though nothing changed")
	}
	b := a
	b.Want = spec.WantStop
	r.step(assigned(2, app, b), Exited{Run: run(a.ID, "main", 0), At: r.now})
	if n := len(r.sent); n != 2 || len(r.sent[1].Allocations) != 1 || r.sent[1].Allocations[0].Status.State != spec.StateComplete {
		t.Errorf("one step sent %d reports", n-1)
	}
	r.want(r.step(assigned(3, app, b)), "") // still listed: remembered
	r.want(r.step(assigned(4, app)), "clean web-0-1")
	r.step(Cleaned{ID: a.ID, Err: "busy"})
	r.now = r.wake
	r.want(r.step(Tick{}), "clean web-0-1")
	r.step(Cleaned{ID: a.ID})
	last := r.sent[len(r.sent)-1]
	if len(last.Allocations) != 1 || !last.Allocations[0].Gone || len(r.disk) != 0 {
		t.Errorf("the last report is %+v with %d records on disk", last, len(r.disk))
	}
}

func TestOperatorRestartCountsNotAgainstThePolicy(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	app.Restart.Attempts = 0
	a := r.running(app)
	for attempt := range 5 {
		r.want(r.step(RestartTask{ID: a.ID, Reason: "a new key"}), "SIGTERM "+short(run(a.ID, "main", attempt)))
		r.want(r.step(Exited{Run: run(a.ID, "main", attempt), Exit: spec.Exit{Code: 1}, At: r.now}),
			"remove "+short(run(a.ID, "main", attempt))+", start "+short(run(a.ID, "main", attempt+1)))
		r.step(Started{Run: run(a.ID, "main", attempt+1), Pid: 5, At: r.now})
	}
	r.state(a.ID, spec.StateRunning, "")
	r.step(Exited{Run: run(a.ID, "main", 5), Exit: spec.Exit{Code: 1}, At: r.now})
	r.state(a.ID, spec.StateFailed, "exit code 1")
}

func TestExecutorLost(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	a := r.running(app)
	r.step(ExecutorLost{})
	b := a
	b.Want = spec.WantStop
	r.want(r.step(assigned(2, app, b)), "")
	r.want(r.step(Inventory{[]Container{{Run: run(a.ID, "main", 0), Running: true, Pid: 100, Started: r.now}}}), "SIGTERM web-0-1/main.0")
}

func TestRunNames(t *testing.T) {
	for _, r := range []Run{{"shop.web-3-17", "server", 0}, {"a-1-2.web-0-7", "t-0-1", 12}, {"web-0-1", "x.y", 3}} {
		if got, err := ParseRun(r.String()); err != nil || got != r {
			t.Errorf("%s is read as %v (%v)", r, got, err)
		}
	}
	for _, name := range []string{"", "web-0-1", "web-0-1..t", "web-0-1..t.-1", "web..t.0", "web-0-1...0"} {
		if r, err := ParseRun(name); err == nil {
			t.Errorf("%q is read as %v", name, r)
		}
	}
}
