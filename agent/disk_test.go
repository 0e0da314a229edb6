package agent

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// A task that writes more than it asked for is ended, and why is told; then it begins with an empty layer, also if the agent was restarted meanwhile, and
// with the one that it has if there is room in it.
func TestATaskIsHeldToItsDisk(t *testing.T) {
	needRoot(t)
	m, dir := newFakeMaster(t), dataDir(t)
	stop := run(t, m, dir)
	a := app("sh", "-c", "ls /var/lib/file && exit 7; echo >> /var/lib/file; while sleep 0.05; do [ ! -e /go ] || head -c 3000000 /dev/zero >> /var/lib/file; done")
	a.Tasks[0].Disk = 2 * spec.MiB
	a.Restart.Attempts = 2
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	begin := func() {
		m.status("web-0-1", "it runs", func(s *spec.AllocationStatus) bool { return s.Tasks[0].State == spec.StateRunning })
		if err := os.WriteFile(filepath.Join(dir, "allocations/web-0-1/server/root/go"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	ended := func(s *spec.AllocationStatus) {
		t.Helper()
		if e := s.Tasks[0].Exit; e == nil || e.DiskLimit != 2*spec.MiB || e.DiskUsed <= e.DiskLimit || !strings.Contains(e.String(), "of 2MiB used") {
			t.Errorf("exit %+v, reason %q", s.Tasks[0].Exit, s.Reason)
		}
	}
	begin()
	ended(m.status("web-0-1", "it is ended and starts again", func(s *spec.AllocationStatus) bool { return s.Restarts == 1 && s.Tasks[0].State == spec.StateRunning }))
	stop()
	defer run(t, m, dir)()
	begin()
	ended(m.status("web-0-1", "it is ended and starts again", func(s *spec.AllocationStatus) bool { return s.Restarts == 2 && s.Tasks[0].State == spec.StateRunning }))
}

// A task that makes more files than its disk may hold is ended for them, and begins with none; a layer that has room stays.
func TestATaskIsHeldToItsFiles(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	run(t, m, dataDir(t))
	a := app("sh", "-c", "cd /var/lib; [ ! -e 1 ] || exit 7; if [ -e ../before ]; then exit 8; fi; touch ../before; seq 2000 | xargs touch; exec sleep 1000")
	a.Tasks[0].Disk = 2 * spec.MiB
	a.Restart.Attempts = 1
	keeps := a.Tasks[0]
	keeps.Name, keeps.Command = "keeps", []string{"sh", "-c", "test -e /before && exec sleep 1000; touch /before; exit 3"}
	a.Tasks = append(a.Tasks, keeps)
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	s := m.status("web-0-1", "it fails", func(s *spec.AllocationStatus) bool { return s.State == spec.StateFailed })
	if e := s.Tasks[0].Exit; s.Tasks[0].Restarts != 1 || e == nil || e.FilesLimit != 1024 || e.String() != "ended for its files: more than the 1024 that a disk of 2MiB may hold" {
		t.Errorf("main: %+v, exit %+v", s.Tasks[0], e)
	}
	if s.Tasks[1].Restarts != 1 {
		t.Errorf("keeps: %+v, exit %+v", s.Tasks[1], s.Tasks[1].Exit)
	}
}

// Where the kernel keeps the limit nobody ends a task for its disk: it fails by itself, and begins with an empty layer all the same.
func TestATaskThatFillsItsQuotaBeginsEmpty(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	run(t, m, dataDirIn(t, quotaFileSystem(t)))
	a := app("sh", "-c", "[ ! -e /before ] || exit 7; touch /before; head -c 3000000 /dev/zero > /file; exit 3")
	a.Tasks[0].Disk = 2 * spec.MiB
	a.Restart.Attempts = -1
	roomy := a.Tasks[0]
	roomy.Name, roomy.Disk = "roomy", 20*spec.MiB
	a.Tasks = append(a.Tasks, roomy)
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	m.status("web-0-1", "one begins empty, the other with what it had", func(s *spec.AllocationStatus) bool {
		one, other := &s.Tasks[0], &s.Tasks[1]
		if one.Exit != nil && one.Exit.Code != 3 {
			t.Errorf("it ended with %s: it began with what was there", one.Exit)
		}
		return t.Failed() || one.Restarts > 1 && one.Exit != nil && other.Exit != nil && other.Exit.Code == 7
	})
}

// quotaFileSystem mounts an ext4 with project quotas for the time of a test. It skips where the kernel has none.
func quotaFileSystem(t *testing.T) string {
	t.Helper()
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 256<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "project,quota", image).CombinedOutput(); err != nil {
		t.Skipf("make a file system: %v: %s", err, out)
	}
	dir, err := os.MkdirTemp("", "stwq")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Remove(dir); err != nil {
			t.Error(err)
		}
	})
	if out, err := exec.Command("mount", "-o", "loop,prjquota", image, dir).CombinedOutput(); err != nil {
		t.Skipf("the kernel has no project quotas: %v: %s", err, strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() {
		await(t, "the executor that was shut down has ended", func() bool { return unix.Unmount(dir, 0) == nil })
	})
	return dir
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
