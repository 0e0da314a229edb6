package git

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// The test binary is also the process that is killed while it fetches.
func TestMain(m *testing.M) {
	if url := os.Getenv("GIT_TEST_URL"); url != "" {
		r, err := Open(context.Background(), Config{URL: url, Branch: "main", StoreDir: os.Getenv("GIT_TEST_STORE"), CAFile: os.Getenv("GIT_TEST_CA"), Token: "secret", Poll: time.Millisecond})
		if err == nil {
			fmt.Println("open")
			err = r.Follow(context.Background(), func(h Head) error { return h.Err })
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// However often a fetch is cut short, the store can be opened, has nothing but whole commits, and gets to the newest.
func TestKilledWhileFetching(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 4
	}
	root, work := published(t)
	w := serveHTTPS(t, root)
	store := t.TempDir()
	blob := make([]byte, 1<<20)
	for range rounds {
		for i := range 2 {
			rand.Read(blob) // large enough that a pack takes some time
			if err := os.WriteFile(filepath.Join(work, fmt.Sprint("blob", i)), blob, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		commit(t, work, "a.hcl", fmt.Sprint(time.Now().UnixNano()))
		git(t, work, "push", "-q", "origin", "main")
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), "GIT_TEST_URL="+w.URL+"/repo.git", "GIT_TEST_STORE="+store, "GIT_TEST_CA="+w.ca)
		cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
		var out bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(time.Duration(mathrand.Int64N(int64(250*time.Millisecond))), func() { cmd.Process.Kill() })
		err := cmd.Wait()
		timer.Stop()
		var status *exec.ExitError
		if !errors.As(err, &status) || status.Exited() {
			t.Fatalf("the process that fetches ended by itself: %v: %s", err, out.String())
		}
	}
	r := open(t, w.config(store))
	head := git(t, work, "rev-parse", "HEAD")
	expect(t, follow(t, r), head)
	git(t, r.mirror.folder(), "fsck", "--full", "--strict")
	if got := git(t, r.mirror.folder(), "rev-parse", "refs/heads/main"); got != head {
		t.Errorf("the git program reads %s from the store, want %s", got, head)
	}
	if r.mirror.mark.Folder != 1 {
		t.Logf("the store was made again %d times", r.mirror.mark.Folder-1)
	}
}
