package api

import (
	"bytes"
	"compress/gzip"
	"io"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

func TestASavedInputIsReadBackOrRefused(t *testing.T) {
	s := reconcile.Save(reconcile.Input{Desired: &spec.Cluster{Name: "test"}, Seed: 7}, "salt")
	var b bytes.Buffer
	if err := WriteInput(&b, &s); err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	for name, data := range map[string][]byte{"compressed": b.Bytes(), "plain": plain} {
		if got, err := ReadInput(bytes.NewReader(data)); err != nil || got.Input.Seed != 7 || got.Input.Desired.Name != "test" {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	flipped := bytes.Clone(b.Bytes())
	flipped[len(flipped)-6] ^= 1
	newer := strings.Replace(string(plain), `"format_version":"`+reconcile.SavedFormatVersion, `"format_version":"9.0`, 1)
	for name, c := range map[string]struct{ data, want string }{
		"nothing":           {"", "damaged"},
		"text":              {"hello", "damaged"},
		"cut short":         {string(b.Bytes()[:b.Len()/2]), "damaged"},
		"cut short, plain":  {string(plain[:len(plain)/2]), "damaged"},
		"a bit flipped":     {string(flipped), "damaged"},
		"a plan":            {`{"format_version":"1.1","id":"p-1"}`, "no saved input"},
		"newer":             {newer, "9.0"},
		"newer, other form": {`{"format_version":"2.0","input":[]}`, "2.0"},
		"a wrong field":     {strings.Replace(string(plain), `"seed":7`, `"seed":"x"`, 1), "damaged"},
	} {
		if _, err := ReadInput(strings.NewReader(c.data)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := readInput(bytes.NewReader(b.Bytes()), 10); err == nil || !strings.Contains(err.Error(), "larger") {
		t.Errorf("too large: %v", err)
	}
}
