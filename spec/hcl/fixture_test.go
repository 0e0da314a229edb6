package hcl_test

import (
	"bytes"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"golang.org/x/tools/txtar"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// repository reads a txtar file as a repository.
func repository(t *testing.T, file string) (fs.FS, *txtar.Archive) {
	t.Helper()
	a, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	m := fstest.MapFS{}
	for _, f := range a.Files {
		m[f.Name] = &fstest.MapFile{Data: f.Data}
	}
	return m, a
}

// schemas are those of the driver "cassandra" of the fixtures.
func schemas(p spec.Plugin) (*spec.Schema, error) {
	least, most := 1.0, 100.0
	if p.Name == "silent" {
		return nil, fmt.Errorf("it does not start")
	}
	return &spec.Schema{
		Arguments: []spec.Argument{
			{Name: "consistency", Type: spec.TypeString, OneOf: []string{"one", "quorum"}, Default: "quorum"},
			{Name: "heap", Type: spec.TypeSize},
			{Name: "nodes", Type: spec.TypeNumber, Required: true, Min: &least, Max: &most, Description: "How many nodes the ring has"},
			{Name: "repair_every", Type: spec.TypeDuration, Default: 3600.0},
			{Name: "seeds", Type: spec.TypeStringList},
			{Name: "tags", Type: spec.TypeStringMap},
			{Name: "tls", Type: spec.TypeBool},
		},
		Blocks: []spec.BlockType{
			{Name: "keyspace", Labelled: true, Schema: spec.Schema{Arguments: []spec.Argument{{Name: "replication", Type: spec.TypeNumber, Default: 3.0}}}},
			{Name: "storage", Schema: spec.Schema{Arguments: []spec.Argument{{Name: "size", Type: spec.TypeSize, Required: true}}}},
		},
	}, nil
}

// expected returns the complaints that a fixture announces: "file:line: summary" for each comment "# ERROR: summary" (of
// an error on this line; several are divided by ";"). A fixture's leading comment may announce complaints without a
// line, as "ERROR file: summary".
func expected(a *txtar.Archive) []string {
	var out []string
	for _, line := range strings.Split(string(a.Comment), "\n") {
		if rest, ok := strings.CutPrefix(line, "ERROR "); ok {
			out = append(out, rest)
		}
	}
	for _, f := range a.Files {
		for i, line := range strings.Split(string(f.Data), "\n") {
			_, text, ok := strings.Cut(line, "# ERROR: ")
			if !ok {
				continue
			}
			for _, summary := range strings.Split(text, ";") {
				out = append(out, fmt.Sprintf("%s:%d: %s", strings.TrimPrefix(f.Name, "live/"), i+1, strings.TrimSpace(summary)))
			}
		}
	}
	slices.Sort(out)
	return out
}

func summaries(diags []spec.Diagnostic) []string {
	var out []string
	for _, d := range diags {
		switch {
		case d.Pos.Line > 0:
			out = append(out, fmt.Sprintf("%s:%d: %s", d.Pos.File, d.Pos.Line, d.Summary))
		default:
			out = append(out, fmt.Sprintf("%s: %s", d.Pos.File, d.Summary))
		}
	}
	slices.Sort(out)
	return out
}

// TestFixtures loads each repository under testdata/errors, compares its complaints with those announced on the lines
// that break, and their full text with the boxes beside it.
func TestFixtures(t *testing.T) {
	files, err := filepath.Glob("testdata/errors/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no fixtures: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			fsys, archive := repository(t, file)
			o := hcl.Options{Schemas: schemas}
			if _, err := fs.Stat(fsys, "live"); err == nil {
				o.Path = "live"
			}
			cluster, diags := hcl.Load(fsys, o)
			if got, want := summaries(diags), expected(archive); !slices.Equal(got, want) {
				t.Errorf("complaints\n got:\n\t%s\nwant:\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
			}
			if (cluster == nil) != spec.HasErrors(diags) {
				t.Errorf("cluster is nil: %v, errors: %v", cluster == nil, spec.HasErrors(diags))
			}
			var boxes bytes.Buffer
			hcl.Render(&boxes, diags, false)
			golden(t, strings.TrimSuffix(file, ".txtar")+".boxes", boxes.Bytes())
			for _, d := range diags {
				checkDiagnostic(t, d)
			}
			if !slices.IsSortedFunc(diags, func(a, b spec.Diagnostic) int { return a.Pos.Compare(b.Pos) }) {
				t.Error("the complaints are not sorted by place")
			}
			again, _ := repository(t, file)
			_, second := hcl.Load(again, o)
			var boxes2 bytes.Buffer
			hcl.Render(&boxes2, second, false)
			if !bytes.Equal(boxes.Bytes(), boxes2.Bytes()) {
				t.Error("a second load tells something else")
			}
		})
	}
}

// checkDiagnostic checks what holds for every complaint.
func checkDiagnostic(t *testing.T, d spec.Diagnostic) {
	t.Helper()
	if d.Summary == "Program error" {
		t.Error(d.Detail)
	}
	if d.Summary == "" || strings.HasSuffix(d.Summary, ".") {
		t.Errorf("summary %q is no title", d.Summary)
	}
	if !strings.HasSuffix(d.Detail, ".") && !strings.HasSuffix(d.Detail, "?") {
		t.Errorf("detail %q does not end as a sentence", d.Detail)
	}
	if d.End != (spec.Pos{}) && d.End.Compare(d.Pos) < 0 {
		t.Errorf("%s ends at %v before it begins at %v", d.Summary, d.End, d.Pos)
	}
	if strings.Contains(d.Snippet, "\n") {
		t.Errorf("snippet %q holds a newline", d.Snippet)
	}
}
