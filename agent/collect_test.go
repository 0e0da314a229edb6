package agent

import (
	"os"
	"strings"
	"testing"

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
