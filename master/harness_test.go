package master_test

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/master"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/master/git"
	"github.com/stowage/stowage/spec"
)

// patience is how long a test waits for what should happen at once.
const patience = 2 * time.Minute

// cluster is a master in this process with its repository.
type cluster struct {
	dir    string // data folder
	repo   string
	ready  master.Ready
	client *client.Client
	cancel context.CancelFunc
	ended  chan error
	api    string
	link   string
	free   int64 // Config.JournalMinFree; 0: no check
}

const header = `cluster "test" {
  sync { approval = "APPROVAL" }
}
`

const webApp = `app "shop/web" {
  count = 3
  update { healthy_for = "1ms" }
  task "server" {
    rootfs  = "host"
    command = ["sleep", "1000"]
    cpu     = 0.1
    memory  = "16MiB"
  }
}
`

func manual(text string) string { return strings.Replace(text, "APPROVAL", "manual", 1) }
func auto(text string) string   { return strings.Replace(text, "APPROVAL", "auto", 1) }

// newCluster starts a master that follows a repository with these files.
func newCluster(t testing.TB, files map[string]string) *cluster {
	t.Helper()
	c := &cluster{dir: t.TempDir(), repo: newRepository(t, files), api: "127.0.0.1:0", link: "127.0.0.1:0"}
	c.start(t)
	return c
}

func newRepository(t testing.TB, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	gitIn(t, dir, "init", "-q", "-b", "main")
	if len(files) > 0 {
		write(t, dir, files)
		gitIn(t, dir, "add", "-A")
		gitIn(t, dir, "commit", "-q", "-m", "first")
	}
	return dir
}

func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		p := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(p), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(p, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func gitIn(t testing.TB, dir string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", dir}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com",
		"GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit writes files and commits them; it returns the hash.
func (c *cluster) commit(t testing.TB, message string, files map[string]string) spec.Commit {
	t.Helper()
	write(t, c.repo, files)
	gitIn(t, c.repo, "add", "-A")
	gitIn(t, c.repo, "commit", "-q", "-m", message)
	return spec.Commit(gitIn(t, c.repo, "rev-parse", "HEAD"))
}

// start runs the master on its directory.
func (c *cluster) start(t testing.TB) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c.cancel, c.ended = cancel, make(chan error, 1)
	ready := make(chan master.Ready, 1)
	config := master.Config{DataDir: c.dir, Repository: git.Config{URL: c.repo, Branch: "main", Poll: 200 * time.Millisecond}, API: c.api, Link: c.link, Version: "test",
		JournalMinFree: cmp.Or(c.free, -1), Ready: func(r master.Ready) { ready <- r }}
	if testing.Verbose() {
		config.Log = slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	go func() { c.ended <- master.Run(ctx, config) }()
	select {
	case c.ready = <-ready:
	case err := <-c.ended:
		t.Fatalf("the master ended: %v", err)
	case <-time.After(patience):
		t.Fatal("the master does not get ready")
	}
	// A master that starts again is reached where it was.
	c.api, c.link = strings.TrimPrefix(c.ready.API, "https://"), c.ready.Link
	var err error
	if c.client, err = client.Load(c.ready.Credentials); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.stop(t) })
}

// stop ends the master and waits for it.
func (c *cluster) stop(t testing.TB) {
	t.Helper()
	c.cancel()
	if c.ended == nil {
		return
	}
	select {
	case err := <-c.ended:
		if err != nil {
			t.Errorf("the master ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("the master does not stop")
	}
	c.ended = nil
}

// eventually waits until f is content.
func eventually(t testing.TB, what string, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	err := f()
	for pause := time.Millisecond; err != nil; pause = min(pause*2, 50*time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
		time.Sleep(pause)
		err = f()
	}
}

// running waits until an app has that many healthy allocations, and no others, all of a commit.
func (c *cluster) running(t testing.TB, app string, n int) []spec.AllocationView {
	t.Helper()
	var list []spec.AllocationView
	eventually(t, "running", func() (err error) {
		if list, err = c.client.Allocations(t.Context(), client.AllocationFilter{App: spec.AppName(app)}); err != nil {
			return err
		}
		healthy := 0
		for _, a := range list {
			if a.State == spec.StateRunning && a.Healthy && a.Want == spec.WantRun {
				healthy++
			}
		}
		if healthy != n || len(list) != n {
			return errors.New(describe(list))
		}
		return nil
	})
	return list
}

func describe(list []spec.AllocationView) string {
	var b strings.Builder
	for _, a := range list {
		b.WriteString(string(a.ID) + " on " + string(a.Node) + " " + string(a.State) + " want " + string(a.Want) + "; ")
	}
	return b.String()
}

// status waits until the status is as f wants it.
func (c *cluster) status(t testing.TB, what string, f func(*api.Status) bool) *api.Status {
	t.Helper()
	var st *api.Status
	eventually(t, what, func() (err error) {
		if st, err = c.client.Status(t.Context()); err == nil && !f(st) {
			text, _ := json.Marshal(st)
			err = errors.New("not so: " + string(text))
		}
		return err
	})
	return st
}

// leaks checks, when the test ends, that it left no goroutine of the master behind.
func leaks(t *testing.T) {
	t.Helper()
	t.Cleanup(func() {
		var stacks string
		deadline := time.Now().Add(10 * time.Second)
		for time.Now().Before(deadline) {
			b := make([]byte, 1<<20)
			stacks = string(b[:runtime.Stack(b, true)])
			if !strings.Contains(stacks, "stowage/master.") && !strings.Contains(stacks, "stowage/master/") && !strings.Contains(stacks, "plugins/host") {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, g := range strings.Split(stacks, "\n\n") {
			if strings.Contains(g, "stowage/master") && !strings.Contains(g, "testing.") {
				t.Errorf("left behind:\n%s", g)
			}
		}
	})
}

func replace(text, old, with string) string { return strings.ReplaceAll(text, old, with) }

var watchAll = client.WatchFilter{}

// lose removes the journal, as a broken disk does.
func (c *cluster) lose(t testing.TB) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(c.dir, "journal")); err != nil {
		t.Fatal(err)
	}
}

// trusting returns a client that trusts an authority.
func trusting(ca string) (*http.Client, func()) {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(ca))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots}}
	return &http.Client{Transport: transport}, transport.CloseIdleConnections
}

var everyAllocation = client.AllocationFilter{}
