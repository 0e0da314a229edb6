package hcl_test

import (
	"bytes"
	"encoding/json"
	"os"
	"testing"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// load loads a folder and fails the test on any diagnostic.
func load(t testing.TB, dir string) *spec.Cluster {
	t.Helper()
	c, diags := hcl.Load(os.DirFS(dir), hcl.Options{})
	if len(diags) > 0 {
		var b bytes.Buffer
		hcl.Render(&b, diags, false)
		t.Fatalf("unexpected diagnostics:\n%s", b.String())
	}
	return c
}

func TestQuickstart(t *testing.T) {
	c := load(t, "../../examples/quickstart")
	got, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	golden(t, "testdata/quickstart.json", append(got, '\n'))
}
