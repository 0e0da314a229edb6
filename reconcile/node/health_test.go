package node

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// ailing is an app whose task has a check of each meaning.
func ailing() *spec.App {
	main := task("main")
	main.Checks = []spec.Check{
		{Name: "alive", Type: spec.CheckTCP, Failures: 3, Restart: true},
		{Name: "ready", Type: spec.CheckTCP, Failures: 2, Gate: true},
		{Name: "shown", Type: spec.CheckTCP, Failures: 2},
		{Name: "up", Type: spec.CheckTCP, Failures: 1, Start: true, Within: spec.Minute},
	}
	return service(main)
}

func (r *rig) checked(id spec.AllocationID, attempt int, check string, row int) string {
	return r.step(Checked{Run: run(id, "main", attempt), Check: check, Passing: row == 0, Row: row, Output: map[bool]string{true: "refused\nmore"}[row > 0]})
}

func TestAStartCheckHoldsTheOthersBack(t *testing.T) {
	r := newRig(t)
	app := ailing()
	a := decided(app, 0, 1)
	id := a.ID
	r.step(assigned(1, app, a))
	r.step(Prepared{ID: id})
	r.want(r.started(id, "main", 0), "probe web-0-1/main.0 up")
	r.want(r.checked(id, 0, "up", 1), "")
	r.want(r.checked(id, 0, "alive", 3), "") // nobody asked
	r.want(r.after(59*spec.Second), "")
	r.want(r.checked(id, 0, "up", 0), "unprobe web-0-1/main.0 up, probe web-0-1/main.0 alive, probe web-0-1/main.0 ready, probe web-0-1/main.0 shown")
	if r.status(id).Healthy {
		t.Error("it is healthy before its gate has answered")
	}
	r.checked(id, 0, "ready", 0)
	if !r.status(id).Healthy {
		t.Error("it is not healthy though its gate passes")
	}
	r.want(r.after(spec.Hour), "")
	// Another agent does not begin anew.
	r.want(r.reborn(Container{Run: run(id, "main", 0), Running: true, Pid: 100, Started: r.now.Add(-spec.Hour)}),
		"probe web-0-1/main.0 alive, probe web-0-1/main.0 ready, probe web-0-1/main.0 shown")
}

func TestWhatFollowsFromAnAnswer(t *testing.T) {
	for _, c := range []struct {
		name, check string
		row         int
		healthy     bool
		does        string
		reason      string // of the task, once it has ended
	}{
		{"one that is shown", "shown", 2, true, "", ""},
		{"a gate", "ready", 2, false, "", ""},
		{"one that restarts, not often enough", "alive", 2, true, "", ""},
		{"one that restarts", "alive", 3, false, "SIGTERM web-0-1/main.0", `check "alive" failed 3 times in a row: refused; started again after`},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			a := r.running(ailing())
			for _, check := range []string{"up", "alive", "ready", "shown"} {
				r.checked(a.ID, 0, check, 0)
			}
			r.want(r.checked(a.ID, 0, c.check, c.row), c.does)
			s := r.status(a.ID)
			if s.Healthy != c.healthy || s.State != spec.StateRunning {
				t.Errorf("it is %s, healthy %v", s.State, s.Healthy)
			}
			for _, result := range s.Tasks[0].Checks {
				if result.Check == c.check && (result.Row != c.row || result.Passing || result.Output != "refused") {
					t.Errorf("told as %+v", result)
				}
			}
			if c.reason == "" {
				return
			}
			r.exited(a.ID, "main", 0, 0)
			if got := r.status(a.ID); !strings.HasPrefix(got.Tasks[0].Reason, c.reason) || got.Restarts != 1 {
				t.Errorf("%d restarts: %s", got.Restarts, got.Tasks[0].Reason)
			}
		})
	}
}

// TestWhatNeverStartsFails: the time to start is counted from each start, and the restarts by the policy.
func TestWhatNeverStartsFails(t *testing.T) {
	r := newRig(t)
	app := ailing()
	app.Restart.Attempts = 1
	a := r.running(app)
	r.checked(a.ID, 0, "up", 1)
	r.want(r.after(spec.Minute), "SIGTERM web-0-1/main.0")
	r.want(r.exited(a.ID, "main", 0, 143), "remove web-0-1/main.0, unprobe web-0-1/main.0 up")
	r.want(r.after(2*spec.Second), "start web-0-1/main.1")
	r.want(r.started(a.ID, "main", 1), "probe web-0-1/main.1 up")
	r.want(r.after(59*spec.Second), "")
	r.want(r.after(spec.Second), "SIGTERM web-0-1/main.1")
	r.exited(a.ID, "main", 1, 143)
	r.state(a.ID, spec.StateFailed, `task "main": check "up" did not pass within 1m, after one restart within 10m`)
}

// TestAStartCheckThatComesLater: a task that has started by the rules that it was started with has started.
func TestAStartCheckThatComesLater(t *testing.T) {
	r := newRig(t)
	a := r.running(service(task("main")))
	r.after(spec.Hour)
	next := ailing()
	b := a
	b.Version = next.Hash()
	r.want(r.step(assigned(2, next, b)), "probe web-0-1/main.0 alive, probe web-0-1/main.0 ready, probe web-0-1/main.0 shown")
}

// What a task says when it is asked, and what is said of an image or a start, goes to people's terminals.
func TestNothingThatATerminalObeysIsTold(t *testing.T) {
	r := newRig(t)
	app := ailing()
	a := r.running(app)
	r.step(Checked{Run: run(a.ID, "main", 0), Check: "up", Passing: false, Output: "HTTP status 500: \x1b[31mgone\x1b[0m", Row: 1})
	checks := r.status(a.ID).Tasks[0].Checks
	if len(checks) != 1 || checks[0].Output != "HTTP status 500: \uFFFD[31mgone\uFFFD[0m" {
		t.Errorf("%+v", checks)
	}
	r = newRig(t)
	app = service(task("main"))
	a = decided(app, 0, 1)
	r.step(assigned(1, app, a))
	r.step(Prepared{ID: a.ID, Err: "image \x1bc"})
	if got := r.status(a.ID).Reason; !strings.HasPrefix(got, "could not be prepared: image \uFFFDc; tried again") {
		t.Errorf("%q", got)
	}
	r = newRig(t)
	app = service(task("main"))
	a = decided(app, 0, 1)
	r.step(assigned(1, app, a))
	r.step(Prepared{ID: a.ID})
	r.step(Started{Run: run(a.ID, "main", 0), Err: "exec \x1bc"})
	if got := r.status(a.ID).Tasks[0].Reason; !strings.HasPrefix(got, "could not be started: exec \uFFFDc") {
		t.Errorf("%q", got)
	}
}

func TestTheLastLineIsTold(t *testing.T) {
	for _, c := range []struct {
		name, output string
		code         int
		stop         bool
		want         string
	}{
		{"of a failure", "one\ntwo: no such file\n\n", 1, false, "two: no such file"},
		{"of one that is long", strings.Repeat("é", 200), 1, false, strings.Repeat("é", 100)},
		{"without what a terminal obeys", "one\nlost \x1b]0;title\a\x1b[2J\u009b1m\ttab \xff end\r\n", 1, false, "lost \uFFFD]0;title\uFFFD\uFFFD[2J\uFFFD1m tab \uFFFD end"},
		{"bounded as it is shown", strings.Repeat("\x1b", 4000), 1, false, strings.Repeat("\uFFFD", 66)},
		{"not of an end that was asked for", "bye\n", 143, true, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			app := service(task("main"))
			a := r.running(app)
			if c.stop {
				a.Want = spec.WantStop
				r.step(assigned(2, app, a))
			}
			r.step(Exited{Run: run(a.ID, "main", 0), Exit: spec.Exit{Code: c.code}, At: r.now, Output: c.output})
			if got := r.status(a.ID).Tasks[0].Output; got != c.want {
				t.Errorf("told %q, want %q", got, c.want)
			}
		})
	}
}

// What a run before said explains nothing of a stop that is asked for while the next one is waited for.
func TestTheLastLineIsNotOfARunBefore(t *testing.T) {
	r := newRig(t)
	app := service(task("main"))
	a := r.running(app)
	r.step(Exited{Run: run(a.ID, "main", 0), Exit: spec.Exit{Code: 1}, At: r.now, Output: "no database\n"})
	if got := r.status(a.ID).Tasks[0].Output; got != "no database" {
		t.Fatalf("told %q while it waits for its restart", got)
	}
	a.Want = spec.WantStop
	r.step(assigned(2, app, a))
	if s := r.status(a.ID); s.State != spec.StateComplete || s.Tasks[0].Output != "" || s.Said() != "" {
		t.Errorf("%+v", s)
	}
}
