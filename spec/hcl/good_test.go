package hcl_test

import (
	"bytes"
	"encoding/json"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec/hcl"
)

// TestGood loads each repository under testdata/good (the folder live in it, if there is one) and compares what it
// describes.
func TestGood(t *testing.T) {
	files, err := filepath.Glob("testdata/good/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			fsys, _ := repository(t, file)
			o := hcl.Options{Schemas: schemas}
			if _, err := fs.Stat(fsys, "live"); err == nil {
				o.Path = "live"
			}
			c, diags := hcl.Load(fsys, o)
			if len(diags) > 0 {
				var b bytes.Buffer
				hcl.Render(&b, diags, false)
				t.Fatal(b.String())
			}
			got, err := json.MarshalIndent(c, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".txtar")+".json", append(got, '\n'))
		})
	}
}
