package agent

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/spec"
)

// A task that writes more than it asked for is ended, and why is told; with each attempt, as its folder stays, and after a restart of the agent.
func TestATaskIsHeldToItsDisk(t *testing.T) {
	needRoot(t)
	m, dir := newFakeMaster(t), dataDir(t)
	stop := run(t, m, dir)
	a := app("sh", "-c", "sleep 0.1; head -c 3000000 /dev/zero >> /var/lib/file; exec sleep 1000")
	a.Tasks[0].Disk = 2 * spec.MiB
	a.Restart.Attempts = 1
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	m.status("web-0-1", "it is ended and starts again", func(s *spec.AllocationStatus) bool { return s.Restarts == 1 })
	stop()
	defer run(t, m, dir)()
	s := m.status("web-0-1", "it fails", func(s *spec.AllocationStatus) bool { return s.State == spec.StateFailed })
	if e := s.Tasks[0].Exit; e == nil || e.DiskLimit != 2*spec.MiB || e.DiskUsed < 2_900_000 || !strings.Contains(s.Reason+e.String(), "of 2MiB used") {
		t.Errorf("exit %+v, reason %q", s.Tasks[0].Exit, s.Reason)
	}
}

// A task within its limit is left alone, however much others write.
func TestATaskWithinItsDiskGoesOn(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	run(t, m, dataDir(t))
	a := app("sh", "-c", "head -c 1000000 /dev/zero > /var/lib/file; exec sleep 1000")
	a.Tasks[0].Disk = 2 * spec.MiB
	greedy := a.Tasks[0]
	greedy.Name, greedy.Command = "greedy", []string{"sh", "-c", "sleep 0.1; head -c 9000000 /dev/zero > /var/lib/file; exec sleep 1000"}
	a.Tasks = append(a.Tasks, greedy)
	a.Restart.Attempts = 1
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	s := m.status("web-0-1", "it fails", func(s *spec.AllocationStatus) bool { return s.State == spec.StateFailed })
	for _, task := range s.Tasks {
		if ended := task.Exit != nil && task.Exit.DiskLimit > 0; ended != (task.Name == "greedy") {
			t.Errorf("task %s ended with %v", task.Name, task.Exit)
		}
	}
}

// Only a task that cannot move its files to another project is left to the kernel's quotas.
func TestWhomQuotasHold(t *testing.T) {
	for _, test := range []struct {
		name string
		spec.Isolation
		want bool
	}{
		{"by default", spec.Isolation{}, true}, {"a capability of another kind", spec.Isolation{CapAdd: []string{"NET_RAW"}}, true},
		{"without the filter", spec.Isolation{Seccomp: spec.SeccompNone}, false}, {"another filter", spec.Isolation{Seccomp: "own.json", Profile: &spec.SeccompProfile{}}, false},
		{"beyond quotas", spec.Isolation{CapAdd: []string{"SYS_RESOURCE"}}, false}, {"sets quotas", spec.Isolation{CapAdd: []string{"SYS_ADMIN"}}, false},
		{"sets attributes", spec.Isolation{CapAdd: []string{"LINUX_IMMUTABLE"}}, false}, {"all", spec.Isolation{CapAdd: []string{spec.AllCapabilities}}, false},
		{"privileged", spec.Isolation{Privileged: true}, false},
	} {
		if got := bound(&test.Isolation); got != test.want {
			t.Errorf("%s: %v", test.name, got)
		}
	}
}

// A node that refuses weak isolation says so, whatever it is told to run.
func TestANodeRefusesWeakIsolation(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	runOn(t, m, dataDir(t), facts.Options{NoWeak: true})
	a := app("sleep", "1000")
	a.Tasks[0].Isolation.CapAdd = []string{"NET_RAW"}
	a.Restart.Attempts = 0
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	s := m.status("web-0-1", "it fails", func(s *spec.AllocationStatus) bool { return s.State == spec.StateFailed })
	if !strings.Contains(s.Reason, "cap_add NET_RAW") || !strings.Contains(s.Reason, "--no-weak-isolation") {
		t.Errorf("reason %q", s.Reason)
	}
}
