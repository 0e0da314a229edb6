package hcl_test

import (
	"bytes"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// seeds adds the files of the quickstart, of the fixtures and small ones of the hostile files.
func seeds(f *testing.F) {
	for _, pattern := range []string{"../../examples/quickstart/*.hcl", "../../examples/quickstart/*/*.hcl"} {
		files, _ := filepath.Glob(pattern)
		for _, file := range files {
			src, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(src)
		}
	}
	fixtures, _ := filepath.Glob("testdata/errors/*.txtar")
	for _, file := range fixtures {
		a, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, one := range a.Files {
			f.Add(one.Data)
		}
	}
	for _, h := range hostile {
		if len(h.text) < 10_000 {
			f.Add([]byte(h.text))
		}
	}
}

// small is a budget that is used up in milliseconds.
var small = hcl.WithBudget(hcl.Options{Schemas: schemas}, 2<<20, 30_000)

// FuzzLoad loads any file beside a good one: a cluster or an error, the same each time, and nothing that cannot be shown.
func FuzzLoad(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		fsys := fstest.MapFS{
			"a.hcl": {Data: src},
			"b.hcl": {Data: []byte("variable \"n\" { default = 3 }\nlocals { tag = \"1.27\" }\nrole \"eng\" {}\n")},
			"t.txt": {Data: []byte("${x}\n")},
		}
		c, diags := hcl.Load(fsys, small)
		if (c == nil) != spec.HasErrors(diags) {
			t.Fatalf("cluster is nil: %v, diagnostics: %v", c == nil, diags)
		}
		for _, d := range diags {
			checkDiagnostic(t, d)
		}
		if err := hcl.Render(io.Discard, diags, true); err != nil {
			t.Fatal(err)
		}
		first, err := json.Marshal([]any{c, diags})
		if err != nil {
			t.Fatal(err)
		}
		c, diags = hcl.Load(fsys, small)
		second, err := json.Marshal([]any{c, diags})
		if err != nil || !bytes.Equal(first, second) {
			t.Fatalf("a second load tells something else: %v\n%s\n%s", err, first, second)
		}
		if c == nil {
			return
		}
		for _, a := range c.Apps {
			if spec.CheckName(string(a.Name)) != nil || len(a.Tasks) == 0 || a.Count < 0 || a.Count > spec.MaxCount {
				t.Errorf("app %+v", a)
			}
		}
	})
}

// FuzzFormat formats any file: what comes out means the same and is not changed again.
func FuzzFormat(f *testing.F) {
	seeds(f)
	f.Fuzz(func(t *testing.T, src []byte) {
		once, diags := hcl.Format("a.hcl", src)
		if (once == nil) != spec.HasErrors(diags) && len(src) > 0 {
			t.Fatalf("%q, %v", once, diags)
		}
		if len(diags) > 0 {
			return
		}
		twice, diags := hcl.Format("a.hcl", once)
		if len(diags) > 0 || !bytes.Equal(once, twice) {
			t.Fatalf("formatted: %q\nformatted again: %q, %v", once, twice, diags)
		}
		before, _ := hcl.Load(fstest.MapFS{"a.hcl": {Data: src}}, small)
		after, _ := hcl.Load(fstest.MapFS{"a.hcl": {Data: once}}, small)
		if (before == nil) != (after == nil) {
			t.Fatalf("formatting changed what %q means: %q", src, once)
		}
		for i := range min(clusterApps(before), clusterApps(after)) {
			if before.Apps[i].Hash() != after.Apps[i].Hash() {
				t.Fatalf("formatting changed app %s: %q", before.Apps[i].Name, once)
			}
		}
	})
}

func clusterApps(c *spec.Cluster) int {
	if c == nil {
		return 0
	}
	return len(c.Apps)
}
