package api

import (
	"bytes"
	"encoding/json"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/reference/openapi.json")

func TestTheDescriptionIsCurrent(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "reference", "openapi.json")
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, OpenAPI(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	have, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(have, OpenAPI()) {
		t.Errorf("%s is not current (%v): run go test ./master/api -update", path, err)
	}
}

func TestEveryRouteStandsInTheDescriptionAndViceVersa(t *testing.T) {
	var doc struct {
		Paths      map[string]map[string]struct{ OperationID string }
		Components struct{ Schemas map[string]json.RawMessage }
	}
	if err := json.Unmarshal(OpenAPI(), &doc); err != nil {
		t.Fatal(err)
	}
	ids := map[string]bool{}
	for _, r := range Routes {
		if ids[r.ID] {
			t.Errorf("two routes are called %s", r.ID)
		}
		ids[r.ID] = true
		path := strings.ReplaceAll(r.Path, "...}", "}")
		if got := doc.Paths[path][strings.ToLower(r.Method)].OperationID; got != r.ID {
			t.Errorf("%s %s is described as %q, want %q", r.Method, path, got, r.ID)
		}
		if _, ok := security[r.Access]; !ok {
			t.Errorf("%s: nobody has access %q", r.ID, r.Access)
		}
	}
	n := 0
	for _, methods := range doc.Paths {
		n += len(methods)
	}
	if n != len(Routes) {
		t.Errorf("%d operations are described, there are %d routes", n, len(Routes))
	}
	for _, ref := range references(OpenAPI()) {
		if doc.Components.Schemas[ref] == nil {
			t.Errorf("the description refers to %s and does not have it", ref)
		}
	}
}

func references(doc []byte) (names []string) {
	for _, part := range strings.Split(string(doc), `"#/components/schemas/`)[1:] {
		name, _, _ := strings.Cut(part, `"`)
		names = append(names, name)
	}
	return names
}

// Two Go types must not share one name in the description.
func TestSchemaNamesAreUnique(t *testing.T) {
	d, seen := describer{schemas: object{}}, map[string]reflect.Type{}
	var visit func(reflect.Type)
	visit = func(u reflect.Type) {
		switch u.Kind() {
		case reflect.Pointer, reflect.Slice, reflect.Map, reflect.Array:
			visit(u.Elem())
		case reflect.Struct:
			name := d.name(u)
			if other, ok := seen[name]; ok {
				if other != u {
					t.Errorf("%s and %s are both called %s: add the name to specNames", other, u, name)
				}
				return
			}
			seen[name] = u
			for i := range u.NumField() {
				visit(u.Field(i).Type)
			}
		}
	}
	for _, r := range Routes {
		for _, v := range []any{r.Request, r.Response} {
			if v != nil {
				visit(reflect.TypeOf(v))
			}
		}
	}
}

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	if err := WriteFrame(&b, FrameStdout, []byte("hello")); err != nil {
		t.Fatal(err)
	}
	if err := WriteJSONFrame(&b, FrameEnd, End{Code: 3}); err != nil {
		t.Fatal(err)
	}
	whole := bytes.Clone(b.Bytes())
	if kind, p, err := ReadFrame(&b); kind != FrameStdout || string(p) != "hello" || err != nil {
		t.Errorf("read %v %q %v", kind, p, err)
	}
	if kind, p, err := ReadFrame(&b); kind != FrameEnd || string(p) != `{"code":3}` || err != nil {
		t.Errorf("read %v %q %v", kind, p, err)
	}
	if _, _, err := ReadFrame(&b); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
	if _, _, err := ReadFrame(bytes.NewReader(whole[:10])); err != io.ErrUnexpectedEOF {
		t.Errorf("cut short: %v", err)
	}
	for _, bad := range [][]byte{{9, 0, 0, 0, 0, 0, 0, 0}, {1, 1, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 0, 0xff, 0, 0, 0}} {
		if _, _, err := ReadFrame(bytes.NewReader(bad)); err != ErrFrame {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if err := WriteFrame(&b, FrameStdin, make([]byte, MaxFrame+1)); err != ErrFrame {
		t.Errorf("too long: %v", err)
	}
}
