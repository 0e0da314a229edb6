package cli

import (
	"archive/tar"
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What is copied into a folder gets the name that was asked for, not one that the node chose.
func TestACopyHasTheNameThatWasAskedFor(t *testing.T) {
	for asked, want := range map[string]string{"/etc/motd": "motd", "/": "root", "/etc/x/../motd": "motd"} {
		dir := t.TempDir()
		var archive bytes.Buffer
		w := tar.NewWriter(&archive)
		if err := errors.Join(w.WriteHeader(&tar.Header{Name: ".profile", Mode: 0o600, Typeflag: tar.TypeReg}), w.Close()); err != nil {
			t.Fatal(err)
		}
		if err := unpackHere(bytes.NewReader(archive.Bytes()), asked, dir, nil); err != nil {
			t.Fatal(err)
		}
		if list, err := os.ReadDir(dir); err != nil || len(list) != 1 || list[0].Name() != want {
			t.Errorf("%s: %v, %v", asked, list, err)
		}
		other := filepath.Join(dir, "other")
		if err := unpackHere(bytes.NewReader(archive.Bytes()), asked, other, nil); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(other); err != nil || !info.Mode().IsRegular() {
			t.Errorf("%v, %v", info, err)
		}
		if err := unpackHere(bytes.NewReader(archive.Bytes()), asked, dir+"/missing/", nil); err == nil {
			t.Error("a folder that is not there was written to")
		}
	}
}

// A node that sends no end of a line does not fill the memory, and what it sends cannot move the cursor.
func TestWarningsAreBounded(t *testing.T) {
	var lines []string
	w := &lineWriter{each: func(l string) { lines = append(lines, l) }}
	for range 100 {
		if n, err := w.Write(bytes.Repeat([]byte("x"), 1000)); n != 1000 || err != nil {
			t.Fatal(n, err)
		}
	}
	if cap(w.held) > 4*maxWarning {
		t.Errorf("%d bytes are held", cap(w.held))
	}
	if n, err := w.Write([]byte("end\none\ntw")); n != 10 || err != nil {
		t.Fatal(n, err)
	}
	_, _ = w.Write([]byte("o\n"))
	if len(lines) != 3 || lines[0] != strings.Repeat("x", maxWarning) || lines[1] != "one" || lines[2] != "two" {
		t.Errorf("%d lines: %.20q", len(lines), lines)
	}
	var out bytes.Buffer
	r := &refusals{to: &out}
	r.add("a\x1b[2Jb")
	if got := out.String(); got != "left out: a\uFFFD[2Jb\n" || r.sum() == nil {
		t.Errorf("%q", got)
	}
}
