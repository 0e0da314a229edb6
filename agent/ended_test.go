package agent

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/reconcile/node"
)

// TestTheLastLineOfAnOutput: it is of this run, of stderr before stdout, and bounded however long lines are.
func TestTheLastLineOfAnOutput(t *testing.T) {
	began := time.Now()
	for name, c := range map[string]struct {
		stdout, stderr string
		old            bool // stderr was last written to before the run
		early          bool // the run ended within the tick of the clock in which it began
		exit           executor.Exit
		want           string
	}{
		"of stderr":                    {"out\n", "one\ntwo\n", false, false, executor.Exit{Code: 1}, "two"},
		"of stdout, as stderr is old":  {"out\n", "one\n", true, false, executor.Exit{Code: 1}, "out"},
		"of stdout, as stderr is void": {"out", " \n\n", false, false, executor.Exit{Code: 1}, "out"},
		"the last that says something": {"", "two\r\n\n \n", false, false, executor.Exit{Code: 1}, "two"},
		"the end of a long one":        {"", strings.Repeat("x", 10*maxTail) + "y\n", false, false, executor.Exit{Code: 1}, strings.Repeat("x", maxTail-2) + "y"},
		"what is no text":              {"", "a\xffb\n", false, false, executor.Exit{Code: 1}, "a?b"},
		"of a quick end":               {"out\n", "one\n", false, true, executor.Exit{Code: 1}, "one"},
		"none of a success":            {"", "warning\n", false, false, executor.Exit{}, ""},
		"none where there is none":     {"", "", false, false, executor.Exit{Code: 1}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := folders{t.TempDir()}
			dir := f.logs("web-0-1")
			if err := os.MkdirAll(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			for file, text := range map[string]string{"main.stdout.0": c.stdout, "main.stderr.0": c.stderr} {
				if err := os.WriteFile(filepath.Join(dir, file), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
				written := began.Add(time.Second)
				if c.old && file == "main.stderr.0" {
					written = began.Add(-time.Second)
				}
				if c.early {
					written = began.Add(-4 * time.Millisecond) // a tick of CONFIG_HZ=250
				}
				if err := os.Chtimes(filepath.Join(dir, file), written, written); err != nil {
					t.Fatal(err)
				}
			}
			got := f.output(node.Run{ID: "web-0-1", Task: "main"}, &executor.Container{Created: began, Exit: &c.exit})
			if got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
	if got := (folders{t.TempDir()}).output(node.Run{ID: "web-0-1", Task: "main"}, &executor.Container{Created: began, Exit: &executor.Exit{Code: 1}}); got != "" {
		t.Errorf("without a folder: %q", got)
	}
}

// A run that was parked beside the one before says nothing by what that one wrote meanwhile.
func TestAParkedRunHasNoLastLineOfTheOneBefore(t *testing.T) {
	f, began := folders{t.TempDir()}, time.Now().Add(-time.Hour)
	dir := f.logs("web-0-1")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "main.stderr.0")
	if err := os.WriteFile(file, []byte("of the run before\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, began, began.Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	for released, want := range map[time.Duration]string{2 * time.Minute: "", 0: "of the run before"} { // any order: each by itself
		c := &executor.Container{Created: began, Started: began.Add(released), Exit: &executor.Exit{Code: 1}}
		if got := f.output(node.Run{ID: "web-0-1", Task: "main"}, c); got != want {
			t.Errorf("released after %s: %q, want %q", released, got, want)
		}
	}
}
