package cli

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyWhatAKilledDevLeftIsCleared(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	folder := func(name string) string {
		dir := filepath.Join(temp, name)
		if err := os.MkdirAll(filepath.Join(dir, "n1", "allocations"), 0o700); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	running, killed, foreign, beginning := folder("stowage-dev-1"), folder("stowage-dev-2"), folder("other-3"), folder("stowage-dev-4")
	held, err := lockDev(running)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	for _, dir := range []string{killed, foreign} {
		lock, err := lockDev(dir)
		if err != nil {
			t.Fatal(err)
		}
		lock.Close()
	}
	if err := clearLeftovers(t.Context()); err != nil {
		t.Fatal(err)
	}
	for dir, want := range map[string]bool{running: true, killed: false, foreign: true, beginning: true} {
		if _, err := os.Stat(dir); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", filepath.Base(dir), err == nil, want)
		}
	}
}
