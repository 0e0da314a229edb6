package pipeline

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

var update = flag.Bool("update", false, "write the files of this folder into night.txt anew")

// TestNight plays night.txt, whose repository is that of this folder.
func TestNight(t *testing.T) {
	text, err := os.ReadFile("night.txt")
	if err != nil {
		t.Fatal(err)
	}
	story := txtar.Parse(text)
	story.Files = nil
	for _, name := range []string{"cluster.hcl", "etl.hcl"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		story.Files = append(story.Files, txtar.File{Name: "pipeline/" + name, Data: text})
	}
	current := txtar.Format(story)
	if *update {
		if err := os.WriteFile("night.txt", current, 0o644); err != nil {
			t.Fatal(err)
		}
	} else if !bytes.Equal(text, current) {
		t.Error("night.txt holds other files than this folder: go test ./examples/pipeline -update writes them anew")
	}
	load := func(fsys fs.FS) (*spec.Cluster, []spec.Diagnostic) { return hcl.Load(fsys, hcl.Options{}) }
	var out strings.Builder
	r := sim.Run(current, sim.Options{Seed: 1, Load: load, Out: func(line string) { out.WriteString(line + "\n") }})
	if r.Err != nil {
		t.Errorf("%v\n%s", r.Err, out.String())
	}
}
