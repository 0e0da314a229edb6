package pipeline

import (
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// TestNight plays night.txt with the repository of this folder.
func TestNight(t *testing.T) {
	script, err := os.ReadFile("night.txt")
	if err != nil {
		t.Fatal(err)
	}
	story := txtar.Archive{Comment: script}
	for _, name := range []string{"cluster.hcl", "etl.hcl"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		story.Files = append(story.Files, txtar.File{Name: "pipeline/" + name, Data: text})
	}
	load := func(fsys fs.FS) (*spec.Cluster, []spec.Diagnostic) { return hcl.Load(fsys, hcl.Options{}) }
	var out strings.Builder
	r := sim.Run(txtar.Format(&story), sim.Options{Seed: 1, Load: load, Out: func(line string) { out.WriteString(line + "\n") }})
	if r.Err != nil {
		t.Errorf("%v\n%s", r.Err, out.String())
	}
}
