package agent

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/image"
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
	if _, err := f.usedImages(); err == nil || !strings.Contains(err.Error(), "a-0-1") {
		t.Errorf("of an allocation without a note nobody knows what it uses: %v", err)
	}
	note := func(id string, digests ...string) {
		t.Helper()
		if err := f.noteImages(spec.AllocationID(id), digests...); err != nil {
			t.Fatal(err)
		}
	}
	note("a-0-1")
	note("b-0-2", "one")
	note("b-0-2", "two", "one")
	note("b-0-2")
	use, err := f.usedImages()
	if err != nil || len(use) != 2 || !use["one"] || !use["two"] {
		t.Errorf("in use are %v, %v", use, err)
	}
	if err := os.RemoveAll(f.allocation("b-0-2")); err != nil {
		t.Fatal(err)
	}
	if use, err = f.usedImages(); err != nil || len(use) != 0 {
		t.Errorf("in use are %v, %v", use, err)
	}
	if err := os.WriteFile(f.allocation("a-0-1")+"/"+imagesFile, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := f.usedImages(); err == nil {
		t.Error("a damaged note was taken for none")
	}
	note("a-0-1", "three") // its tasks start again
	if use, err = f.usedImages(); err != nil || len(use) != 1 || !use["three"] {
		t.Errorf("in use are %v, %v", use, err)
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
	for _, digit := range []string{"1", "2"} { // as the store keeps them
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
	for _, name := range []string{record("1"), layer("1")} {
		if _, err := os.Lstat(name); err != nil {
			t.Error(err)
		}
	}
}
