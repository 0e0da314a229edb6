//go:build !race

package artifact

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/artifact/git"
	"github.com/stowage/stowage/spec"
)

// The race detector needs several times the memory that helpers are allowed.

// packOf makes a pack with three files that differ in their last byte only, of that many bytes each: git tells two of them as differences.
func packOf(t *testing.T, size int) (commit string, pack string) {
	t.Helper()
	dir := t.TempDir()
	script := fmt.Sprintf(`git init -q . && git config user.email a@b && git config user.name a && git config core.bigFileThreshold 1g
for i in 1 2 3; do head -c %d /dev/zero > f$i; printf $i >> f$i; done
git add . && git commit -qm x && git rev-parse HEAD
git rev-list --objects --all | cut -d' ' -f1 | git pack-objects -q --window=10 --stdout > p.pack`, size-1)
	cmd := exec.Command("sh", "-ec", script)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimSpace(string(out)), dir + "/p.pack"
}

// TestMemoryOfLargeFiles: files as large as the documents promise are checked out within the memory of a helper, and larger ones are refused before
// they are held.
func TestMemoryOfLargeFiles(t *testing.T) {
	for _, c := range []struct {
		size int
		why  string
	}{{git.MaxFile, ""}, {git.MaxFile + 1, "at most 64 MiB"}} {
		commit, name := packOf(t, c.size)
		pack, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer pack.Close()
		var got int64
		err = new(Fetcher).CheckOut(t.Context(), &spec.Artifact{}, commit, pack, plenty, func(r io.Reader) (err error) {
			got, err = io.Copy(io.Discard, r)
			return err
		})
		if c.why == "" && (err != nil || got < int64(3*c.size)) {
			t.Errorf("three files of %d bytes: %d bytes, %v", c.size, got, err)
		} else if c.why != "" && (err == nil || !strings.Contains(err.Error(), c.why)) {
			t.Errorf("three files of %d bytes: %v, want %q", c.size, err, c.why)
		}
	}
}
