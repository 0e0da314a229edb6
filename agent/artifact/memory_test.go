package artifact

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/artifact/git"
	"github.com/stowage/stowage/spec"
)

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

// TestFewUnpack: no more helpers unpack at once than have memory.
func TestFewUnpack(t *testing.T) {
	a := at("https://example.com/x")
	a.Format = spec.FormatFile
	within, leave, ended := make(chan struct{}), make(chan struct{}), make(chan error)
	for range unpackers {
		go func() {
			ended <- new(Fetcher).Unpack(context.Background(), a, "x", spool(t), plenty, func(r io.Reader) error {
				within <- struct{}{}
				<-leave
				return discard(r)
			})
		}()
	}
	for range unpackers {
		<-within
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := new(Fetcher).Unpack(ctx, a, "x", spool(t), plenty, func(io.Reader) error { return errors.New("one too many") }); !errors.Is(err, context.Canceled) {
		t.Errorf("beside %d that unpack: %v", unpackers, err)
	}
	close(leave)
	for range unpackers {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	if err := new(Fetcher).Unpack(t.Context(), a, "x", spool(t), plenty, discard); err != nil {
		t.Errorf("after them: %v", err)
	}
}
