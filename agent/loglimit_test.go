package agent

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// The limit takes the logs of what ended first, then the oldest rotated files of what runs, and never what is being written to.
func TestLogsAreHeldWithinTheirLimit(t *testing.T) {
	f := folders{t.TempDir()}
	began := time.Now().Add(-time.Hour)
	var records []node.Record
	put := func(id spec.AllocationID, state spec.State, name string, size, minute int) {
		t.Helper()
		if err := os.MkdirAll(f.logs(id), 0o755); err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(f.logs(id), name)
		if err := os.WriteFile(path, []byte(strings.Repeat("x", size)), 0o600); err != nil {
			t.Fatal(err)
		}
		at := began.Add(time.Duration(minute) * time.Minute)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
		for i := range records {
			if records[i].Decided.ID == id {
				return
			}
		}
		r := node.Record{App: &spec.App{Tasks: []spec.Task{{Logs: spec.Logs{MaxSize: 100, MaxFiles: 3}}}}}
		r.Decided.ID, r.Status.State = id, state
		records = append(records, r)
	}
	fill := func() {
		records = nil
		put("new-0-1", spec.StateRunning, "t.stdout.1", 100, 5)
		put("new-0-1", spec.StateRunning, "t.stdout.0", 100, 40)
		put("late-0-2", spec.StateFailed, "t.stdout.0", 100, 20)
		put("early-0-3", spec.StateComplete, "t.stdout.0", 90, 10)
		put("early-0-3", spec.StateComplete, "t.stdout.0.times", 10, 10)
		put("early-0-3", spec.StateComplete, "t.stderr.0", 100, 9)
		put("old-0-4", spec.StateRunning, "t.stdout.1", 100, 2)
		put("old-0-4", spec.StateRunning, "t.stdout.0", 100, 3)
	}
	there := func() (all []string) {
		for i := range records {
			for _, one := range f.logsOf(records[i].Decided.ID) {
				all = append(all, string(records[i].Decided.ID)+"/"+filepath.Base(one.path))
			}
		}
		return all
	}
	for _, c := range []struct {
		limit, freed, left spec.Bytes
		want               string
	}{
		{700, 0, 700, "new-0-1/t.stdout.0 new-0-1/t.stdout.1 late-0-2/t.stdout.0 early-0-3/t.stderr.0 early-0-3/t.stdout.0 old-0-4/t.stdout.0 old-0-4/t.stdout.1"},
		{699, 200, 500, "new-0-1/t.stdout.0 new-0-1/t.stdout.1 late-0-2/t.stdout.0 old-0-4/t.stdout.0 old-0-4/t.stdout.1"},
		{450, 300, 400, "new-0-1/t.stdout.0 new-0-1/t.stdout.1 old-0-4/t.stdout.0 old-0-4/t.stdout.1"},
		{350, 400, 300, "new-0-1/t.stdout.0 new-0-1/t.stdout.1 old-0-4/t.stdout.0"},
		{0, 500, 200, "new-0-1/t.stdout.0 old-0-4/t.stdout.0"},
	} {
		fill()
		freed, left := f.trimLogs(records, c.limit)
		if got := strings.Join(there(), " "); freed != c.freed || left != c.left || got != c.want {
			t.Errorf("limit %d: freed %d, left %d, there is %s", c.limit, freed, left, got)
		}
	}
	if names, _ := filepath.Glob(filepath.Join(f.logs("early-0-3"), "*")); len(names) > 0 {
		t.Errorf("left of what was removed: %v", names)
	}
	if most := mostLogs(records); most != 4*2*300 {
		t.Errorf("these may grow to %v", most)
	}
	if fmt.Sprint(f.logsOf("nobody-0-9")) != "[]" {
		t.Error("there are logs of nobody")
	}
}

// A file that gets another's name between being listed and being removed, as logs rotate meanwhile, stays with its marks.
func TestALogThatRotatesWhileItIsTrimmedStays(t *testing.T) {
	f := folders{t.TempDir()}
	const id = "web-0-1"
	if err := os.MkdirAll(f.logs(id), 0o755); err != nil {
		t.Fatal(err)
	}
	name := func(n int) string { return filepath.Join(f.logs(id), fmt.Sprint("t.stdout.", n)) }
	for n := range 3 {
		for _, path := range []string{name(n), name(n) + ".times"} {
			if err := os.WriteFile(path, []byte(fmt.Sprint(n)), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	listed := f.logsOf(id)
	for n := 2; n > 0; n-- { // as the executor does
		for _, end := range []string{"", ".times"} {
			if err := os.Rename(name(n-1)+end, name(n)+end); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i := range listed {
		if err := listed[i].remove(); (err == nil) != listed[i].newest { // the newest has no successor yet
			t.Errorf("%s: %v", listed[i].path, err)
		}
	}
	for n := 1; n <= 2; n++ {
		for _, end := range []string{"", ".times"} {
			if got, err := os.ReadFile(name(n) + end); string(got) != fmt.Sprint(n-1) {
				t.Errorf("%s: %q, %v", name(n)+end, got, err)
			}
		}
	}
	for _, one := range f.logsOf(id) {
		if err := one.remove(); err != nil {
			t.Errorf("%s, which did not move: %v", one.path, err)
		}
	}
	if left, _ := os.ReadDir(f.logs(id)); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// That nothing more can be removed is said when it begins, not each time somebody looks.
func TestLogsOverTheirLimitAreToldOnce(t *testing.T) {
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	over := false
	for i, c := range []struct {
		freed, left spec.Bytes
		said        string
	}{
		{0, 10, ""}, {0, 200, "take more"}, {0, 210, ""}, {0, 220, ""}, {50, 170, "the oldest are gone"}, {0, 170, ""},
		{90, 80, "the oldest are gone"}, {0, 80, ""}, {0, 101, "take more"},
	} {
		out.Reset()
		over = tellTrimmed(log, 100, c.freed, c.left, over)
		if got := out.String(); (got != "") != (c.said != "") || !strings.Contains(got, c.said) {
			t.Errorf("the %dth time it said %q, not %q", i, got, c.said)
		}
	}
}
