package sim_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

func load(fsys fs.FS) (*spec.Cluster, []spec.Diagnostic) { return hcl.Load(fsys, hcl.Options{}) }

// TestScenarios plays every scenario twice: what it expects holds, and both runs are the same.
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d scenarios (%v), want at least 15", len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for seed := range uint64(3) {
				var out strings.Builder
				first := sim.Run(data, sim.Options{Seed: seed, Load: load, Out: func(line string) { out.WriteString(line + "\n") }})
				if first.Err != nil {
					t.Fatalf("seed %d: %v\n%s", seed, first.Err, out.String())
				}
				again := sim.Run(data, sim.Options{Seed: seed, Load: load, JSON: true})
				if first.Trace != again.Trace || first.Events != again.Events {
					t.Errorf("seed %d: two runs differ: %s after %d events, %s after %d", seed, first.Trace, first.Events, again.Trace, again.Events)
				}
			}
		})
	}
}
