package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// TestUsedImages: what allocations use is known from their folders, also to another agent.
func TestUsedImages(t *testing.T) {
	f := folders{t.TempDir()}
	for _, id := range []string{"a-0-1", "b-0-2"} {
		if err := os.MkdirAll(f.allocation(spec.AllocationID(id)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if use, unknown, err := f.usedImages(); err != nil || !unknown || len(use) != 0 {
		t.Errorf("of an allocation without a note nobody knows what it uses: %v, %v, %v", use, unknown, err)
	}
	note := func(id string, digests ...string) {
		t.Helper()
		if err := f.noteImages(spec.AllocationID(id), digests...); err != nil {
			t.Fatal(err)
		}
	}
	note("a-0-1")
	note("b-0-2")
	note("b-0-2", "one")
	note("b-0-2", "two", "one")
	note("b-0-2")
	use, unknown, err := f.usedImages()
	if err != nil || unknown || len(use) != 2 || !use["one"] || !use["two"] {
		t.Errorf("in use are %v, %v", use, err)
	}
	if err := os.RemoveAll(f.allocation("b-0-2")); err != nil {
		t.Fatal(err)
	}
	if use, unknown, err = f.usedImages(); unknown || err != nil || len(use) != 0 {
		t.Errorf("in use are %v, %v", use, err)
	}
	if err := os.WriteFile(f.allocation("a-0-1")+"/"+imagesFile, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, unknown, err := f.usedImages(); err != nil || !unknown {
		t.Errorf("a damaged note was taken for none: %v", err)
	}
	note("a-0-1", "three") // one of its tasks starts again
	if use, unknown, err = f.usedImages(); !unknown || err != nil || len(use) != 1 || !use["three"] {
		t.Errorf("in use are %v, %v", use, err)
	}
}

// TestNotesAreRestored: what an earlier agent left no note of, or a loss of power damaged, is noted from what is remembered, as far as that says it.
func TestNotesAreRestored(t *testing.T) {
	f := folders{t.TempDir()}
	app := func(images ...string) *spec.App {
		app := &spec.App{}
		for _, image := range images {
			app.Tasks = append(app.Tasks, spec.Task{Image: image})
		}
		return app
	}
	records := []node.Record{
		{Decided: spec.Allocation{ID: "none-0-1"}, App: app("web", "proxy", "")},
		{Decided: spec.Allocation{ID: "damaged-0-2"}, App: app("web")},
		{Decided: spec.Allocation{ID: "good-0-3"}, App: app("web")},
		{Decided: spec.Allocation{ID: "gone-0-4"}, App: app("web")},
		{Decided: spec.Allocation{ID: "partly-0-5"}, App: app("oci:x", "web")},
	}
	for _, r := range records {
		if r.Decided.ID != "gone-0-4" {
			if err := os.MkdirAll(f.allocation(r.Decided.ID), 0o755); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := errors.Join(os.WriteFile(f.allocation("damaged-0-2")+"/"+imagesFile, nil, 0o600), f.noteImages("good-0-3"), f.noteImages("good-0-3", "mine")); err != nil {
		t.Fatal(err)
	}
	known := func(t *spec.Task) string { return map[string]string{"web": "W", "proxy": "P"}[t.Image] }
	if err := f.restoreNotes(records, known); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[spec.AllocationID][]string{"none-0-1": {"W", "P"}, "damaged-0-2": {"W"}, "good-0-3": {"mine"}, "gone-0-4": nil, "partly-0-5": {unsure, "W"}} {
		if got, err := f.imagesOf(id); !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%s: %q, %v", id, got, err)
		}
	}
	if use, unknown, err := f.usedImages(); err != nil || !unknown || len(use) != 3 {
		t.Errorf("%v, %v, %v", use, unknown, err)
	}
	if err := os.RemoveAll(f.allocation("partly-0-5")); err != nil {
		t.Fatal(err)
	}
	if use, unknown, err := f.usedImages(); err != nil || unknown || len(use) != 3 {
		t.Errorf("%v, %v, %v", use, unknown, err)
	}
}

// TestTheAgentCollects: on a disk that counts as full, an image goes that nothing uses, and one stays that an allocation does.
func TestTheAgentCollects(t *testing.T) {
	dir := t.TempDir()
	store, err := image.Open(filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	a := &agent{cfg: Config{ImageDisk: image.Watermarks{High: 1, Low: 1}}, log: slog.New(slog.DiscardHandler),
		images: store, folders: folders{dir}, crowded: make(chan struct{}, 1)}
	record := func(digit string) string { return filepath.Join(dir, "images", "images", strings.Repeat(digit, 64)) }
	layer := func(digit string) string { return filepath.Join(dir, "images", "layers", "layer"+digit) }
	for _, digit := range []string{"1", "2", "3"} { // as the store keeps them
		if err := os.Mkdir(layer(digit), 0o755); err != nil {
			t.Fatal(err)
		}
		text := `{"digest":"sha256:` + strings.Repeat(digit, 64) + `","layers":["layer` + digit + `"]}`
		if err := os.WriteFile(record(digit), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		last := time.Now().Add(-time.Hour)
		if err := os.Chtimes(record(digit), last, last); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(a.folders.allocation("a-0-1"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := a.folders.noteImages("a-0-1", "sha256:"+strings.Repeat("1", 64)); err != nil {
		t.Fatal(err)
	}
	// Of this one nobody knows what it uses: what was there before stays for it, and the rest goes.
	if err := os.MkdirAll(a.folders.allocation("b-0-2"), 0o755); err != nil {
		t.Fatal(err)
	}
	a.earlier = []string{"sha256:" + strings.Repeat("3", 64)}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- a.collectImages(ctx) }()
	a.crowd()
	for deadline := time.Now().Add(time.Minute); ; {
		if _, err := os.Lstat(layer("2")); errors.Is(err, fs.ErrNotExist) {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the unused image is still there")
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(record("2")); err == nil {
		t.Error("the record of the image that went is still there")
	}
	for _, name := range []string{record("1"), layer("1"), record("3"), layer("3")} {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
}
