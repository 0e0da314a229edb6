package agent

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestAWholeLifeOfRealTasks runs a task of every lifecycle, with a command before the signal, and reads in their output in which order they
// ran.
func TestAWholeLifeOfRealTasks(t *testing.T) {
	needRoot(t)
	m, dir := newFakeMaster(t), dataDir(t)
	run(t, m, dir)
	a := app("sh", "-c", `trap 'echo signalled; exit 0' TERM; echo begins; while :; do sleep 0.02; done`)
	a.Tasks[0].Stop = spec.Stop{Signal: "SIGTERM", Timeout: spec.Minute, Command: []string{"sh", "-c", "echo drains ${slot} >/proc/1/fd/1"}, CommandTimeout: spec.Minute}
	beside := func(name spec.TaskName, l spec.Lifecycle, script string) {
		task := a.Tasks[0]
		task.Name, task.Lifecycle, task.Command, task.Stop.Command = name, l, []string{"sh", "-c", script}, nil
		a.Tasks = append(a.Tasks, task)
	}
	beside("clean", spec.LifecyclePoststop, "echo cleans >&2; exit 7")
	beside("tell", spec.LifecyclePoststart, "echo tells")
	beside("prepare", spec.LifecyclePrestart, "echo prepares")
	stream := m.connected()
	if err := stream.Send(assignment(1, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	up := m.status("web-0-1", "it runs, and has told", func(s *spec.AllocationStatus) bool {
		return s.State == spec.StateRunning && s.Healthy && s.Tasks[2].State == spec.StateComplete
	})
	if p := up.Tasks[3]; p.State != spec.StateComplete || p.Finished > up.Tasks[0].Started || up.Tasks[2].Started < up.Tasks[0].Started || up.Tasks[1].Started != 0 {
		t.Errorf("the tasks ran in another order: %+v", up.Tasks)
	}
	if err := stream.Send(assignment(2, a, spec.WantStop)); err != nil {
		t.Fatal(err)
	}
	end := m.status("web-0-1", "it has ended", func(s *spec.AllocationStatus) bool { return s.State.Terminal() })
	if got := printed(t, dir, "server.stdout"); got != "begins\ndrains 0\nsignalled\n" {
		t.Errorf("the main task printed %q", got)
	}
	clean := end.Tasks[1]
	if end.State != spec.StateComplete || clean.State != spec.StateFailed || clean.Reason != "exit code 7" || clean.Output != "cleans" || clean.Started < end.Tasks[0].Finished {
		t.Errorf("it ended as %s, and its poststop task as %+v", end.State, clean)
	}
}

func printed(t *testing.T, dir, stream string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "allocations", "web-0-1", "logs", stream+".0"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestEndsAreToldAsWhatTheyAre fails tasks in every way that a person may come across.
func TestEndsAreToldAsWhatTheyAre(t *testing.T) {
	needRoot(t)
	for name, c := range map[string]struct {
		change func(*spec.App)
		reason string
		output string
	}{
		"an exit code": {func(a *spec.App) {
			a.Tasks[0].Command = []string{"sh", "-c", "echo begins; echo 'config.yml: no such file' >&2; exit 3"}
		}, "exit code 3", "config.yml: no such file"},
		"an exit code, with words on stdout": {func(a *spec.App) { a.Tasks[0].Command = []string{"sh", "-c", "echo nothing to do; exit 4"} }, "exit code 4", "nothing to do"},
		"memory": {func(a *spec.App) {
			a.Tasks[0].Memory, a.Tasks[0].Command = 16*spec.MiB, []string{"sh", "-c", "echo filling up; exec tail /dev/zero"}
		}, "killed for memory at 16MiB", "filling up"},
		"max_run": {func(a *spec.App) {
			a.Tasks[0].MaxRun, a.Tasks[0].Command = 100*spec.Millisecond, []string{"sleep", "1000"}
		}, "ran for 100ms, which is its max_run", ""},
		"a check": {func(a *spec.App) {
			a.Tasks[0].Command = []string{"sleep", "1000"}
			a.Tasks[0].Checks = []spec.Check{{Name: "alive", Type: spec.CheckExec, Command: []string{"sh", "-c", "echo the queue is stuck; false"}, Interval: 100 * spec.Millisecond, Timeout: spec.Minute, Failures: 2, Restart: true}}
		}, `check "alive" failed 2 times in a row: exit code 1: the queue is stuck`, ""},
		"a start check": {func(a *spec.App) {
			a.Tasks[0].Command = []string{"sleep", "1000"}
			a.Tasks[0].Checks = []spec.Check{{Name: "up", Type: spec.CheckExec, Command: []string{"sh", "-c", "echo still migrating; false"}, Interval: 100 * spec.Millisecond, Timeout: spec.Minute, Failures: 1, Start: true, Within: 3 * spec.Second}}
		}, `check "up" did not pass within 3s: exit code 1: still migrating`, ""},
		"no such command": {func(a *spec.App) { a.Tasks[0].Command = []string{"nosuchprogram"} }, "could not be started: nosuchprogram: command not found", ""},
		"no permission":   {func(a *spec.App) { a.Tasks[0].Command = []string{"/etc/passwd"} }, "could not be started: /etc/passwd: ", ""},
		"no such image": {func(a *spec.App) {
			a.Tasks[0].Rootfs, a.Tasks[0].Image, a.Tasks[0].Command = "", "oci:images/nosuch", []string{"true"}
		}, "could not be prepared: image of task server: ", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, dir := newFakeMaster(t), dataDir(t)
			run(t, m, dir)
			a := app("true")
			a.Restart.Attempts = 0
			c.change(a)
			if err := m.connected().Send(assignment(1, a, spec.WantRun)); err != nil {
				t.Fatal(err)
			}
			s := m.status("web-0-1", "it fails", func(s *spec.AllocationStatus) bool { return s.State.Terminal() })
			if s.State != spec.StateFailed || !strings.Contains(s.Reason, c.reason) || s.Tasks[0].Output != c.output {
				t.Errorf("it is %s: %s; and the task printed %q; want %q, and %q", s.State, s.Reason, s.Tasks[0].Output, c.reason, c.output)
			}
		})
	}
}

// TestTrafficMovesAwayFirst: while the delay of a stop lasts the task works on, and is told as not healthy.
func TestTrafficMovesAwayFirst(t *testing.T) {
	needRoot(t)
	m, dir := newFakeMaster(t), dataDir(t)
	run(t, m, dir)
	a := app("sleep", "1000")
	a.Tasks[0].Stop = spec.Stop{Signal: "SIGTERM", Timeout: spec.Minute, Delay: spec.Second}
	stream := m.connected()
	if err := stream.Send(assignment(1, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	m.status("web-0-1", "it is healthy", func(s *spec.AllocationStatus) bool { return s.Healthy })
	if err := stream.Send(assignment(2, a, spec.WantStop)); err != nil {
		t.Fatal(err)
	}
	leaving := m.status("web-0-1", "it leaves", func(s *spec.AllocationStatus) bool { return s.State == spec.StateStopping })
	if leaving.Healthy || leaving.Tasks[0].Pid == 0 {
		t.Errorf("while it leaves it is told as %+v", leaving)
	}
	ended := m.status("web-0-1", "it has ended", func(s *spec.AllocationStatus) bool { return s.State.Terminal() })
	if stayed := ended.Tasks[0].Finished.Sub(leaving.Since); stayed < spec.Second {
		t.Errorf("it was stopped after %s of a second's delay", stayed)
	}
}

// TestChecksGateStartAndRestart: a real server whose answers are changed, and an agent that is killed meanwhile.
func TestChecksGateStartAndRestart(t *testing.T) {
	needRoot(t)
	var ready, alive atomic.Bool
	alive.Store(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/ready" && !ready.Load() || r.URL.Path == "/alive" && !alive.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintln(w, r.URL.Path, r.Header.Get("X-Slot"))
	})}
	go func() { _ = server.Serve(listener) }()
	t.Cleanup(func() { server.Close() })
	m, dir := newFakeMaster(t), dataDir(t)
	stop := run(t, m, dir)
	a := app("sleep", "1000")
	check := func(name, path string) spec.Check {
		return spec.Check{Name: name, Type: spec.CheckHTTP, Port: "http", Path: path, Headers: map[string]string{"X-Slot": "${slot}"}, Body: path + " 0",
			Interval: 100 * spec.Millisecond, Timeout: spec.Minute, Failures: 2}
	}
	up, gate, live := check("up", "/up"), check("ready", "/ready"), check("alive", "/alive")
	up.Start, up.Within, gate.Gate, live.Restart = true, spec.Minute, true, true
	a.Tasks[0].Checks = []spec.Check{live, gate, up}
	order := assignment(1, a, spec.WantRun)
	order.Assignment.Allocations[0].Ports[0].Number = listener.Addr().(*net.TCPAddr).Port
	if err := m.connected().Send(order); err != nil {
		t.Fatal(err)
	}
	first := m.status("web-0-1", "it has started and is not ready", func(s *spec.AllocationStatus) bool {
		return len(s.Tasks[0].Checks) == 3 && !s.Healthy
	})
	ready.Store(true)
	m.status("web-0-1", "it is healthy", func(s *spec.AllocationStatus) bool { return s.Healthy })
	stop()
	run(t, m, dir)
	m.connected()
	again := m.status("web-0-1", "another agent finds it healthy", func(s *spec.AllocationStatus) bool { return s.Healthy })
	ready.Store(false)
	m.status("web-0-1", "it is not healthy and not restarted", func(s *spec.AllocationStatus) bool { return !s.Healthy && s.Restarts == 0 })
	ready.Store(true)
	m.status("web-0-1", "it is healthy again", func(s *spec.AllocationStatus) bool { return s.Healthy })
	if again.Tasks[0].Pid != first.Tasks[0].Pid || again.Restarts != 0 {
		t.Errorf("pid %d became %d", first.Tasks[0].Pid, again.Tasks[0].Pid)
	}
	alive.Store(false)
	ill := m.status("web-0-1", "it is restarted", func(s *spec.AllocationStatus) bool { return s.Restarts > 0 })
	alive.Store(true)
	if got := ill.Tasks[0].Reason; !strings.HasPrefix(got, `check "alive" failed 2 times in a row: HTTP status 503 Service Unavailable: /alive 0; started again after`) {
		t.Errorf("it was restarted because of %q", got)
	}
	m.status("web-0-1", "it is healthy once more", func(s *spec.AllocationStatus) bool { return s.Healthy && s.Tasks[0].Pid != first.Tasks[0].Pid })
}
