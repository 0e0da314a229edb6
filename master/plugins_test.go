package master_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/master"
	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/master/git"
	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// This test program is also the plugins, and a master of its own, when it is called so.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "plugin-pair":
			sdk.ServeFramework("pair", "1.0", pair{})
			os.Exit(0)
		case "plugin-pack":
			sdk.ServePolicy("pack", "1.0", place.Binpack)
			os.Exit(0)
		case "master":
			os.Exit(masterProcess(os.Args[2:]))
		}
	}
	os.Exit(m.Run())
}

// pair is a framework driver: a first app, and a second one when the first is healthy.
type pair struct{}

func (pair) Schema(context.Context) (spec.Schema, error) {
	return spec.Schema{Description: "two apps", Arguments: []spec.Argument{{Name: "size", Type: spec.TypeNumber, Required: true}}}, nil
}

func (pair) Expand(_ context.Context, q *plugins.Question) (*plugins.Answer, error) {
	app := func(name string, count int) *spec.App {
		return &spec.App{Name: q.Block.Name + "/" + spec.AppName(name), Count: count, Update: spec.Update{HealthyFor: spec.Millisecond},
			Tasks: []spec.Task{{Name: "main", Rootfs: spec.RootfsHost, Command: []string{"sleep", "1000"}, CPU: 100, Memory: 16 * spec.MiB}}}
	}
	size, _ := q.Block.Config["size"].(float64)
	answer := &plugins.Answer{Apps: []*spec.App{app("first", 1)}, Steps: []spec.Step{{Title: "first"}, {Title: "second after the first is healthy"}}}
	for _, a := range q.Allocations {
		if strings.HasSuffix(string(a.App), "/first") && a.Healthy || strings.HasSuffix(string(a.App), "/second") {
			answer.Steps[0].Done = true
		}
	}
	if answer.Steps[0].Done {
		answer.Apps = append(answer.Apps, app("second", int(size)))
	}
	return answer, nil
}

// self is this test program and its checksum.
func self(t *testing.T) (path, sum string) {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		t.Fatal(err)
	}
	return path, hex.EncodeToString(h.Sum(nil))
}

func TestPlugins(t *testing.T) {
	leaks(t)
	path, sum := self(t)
	block := func(name, kind, arg string) string {
		return fmt.Sprintf("plugin %q {\n  kind = %q\n  command = %q\n  args = [%q]\n  sha256 = %q\n}\n", name, kind, path, arg, sum)
	}
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": replace(webApp, "count = 3", "count = 3\n  policy \"pack\" {}"),
		"plugins.hcl": block("pack", "policy", "plugin-pack") + block("pair", "framework", "plugin-pair"),
		"pair.hcl":    "framework \"pair\" \"db\" {\n  size = 2\n}\n"})
	a := joinAgent(t, c, "n1")
	a.run(t)
	c.running(t, "shop/web", 3)
	c.running(t, "db/first", 1)
	c.running(t, "db/second", 2)
	ctx := t.Context()
	list, err := c.client.Plugins(ctx)
	if err != nil || len(list) != 2 || list[0].State != "running" || list[1].State != "running" {
		t.Fatalf("%+v, %v", list, err)
	}

	// An error in the block points at file and line.
	c.commit(t, "bad", map[string]string{"pair.hcl": "framework \"pair\" \"db\" {\n  sizes = 2\n}\n"})
	st := c.status(t, "refused", func(s *api.Status) bool { return s.Refused != nil })
	if d := st.Refused.Diagnostics[0]; d.Pos.File != "pair.hcl" || d.Pos.Line == 0 {
		t.Errorf("%+v", d)
	}

	// A driver that is killed comes back; nothing changes meanwhile.
	_, starts, _ := a.counts()
	for _, p := range list {
		if err := syscall.Kill(p.Pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "plugins are back", func() error {
		now, err := c.client.Plugins(ctx)
		if err != nil {
			return err
		}
		for i, p := range now {
			if p.State != "running" || p.Pid == list[i].Pid {
				return fmt.Errorf("%s is %s", p.Name, p.State)
			}
		}
		return nil
	})
	c.commit(t, "three", map[string]string{"pair.hcl": "framework \"pair\" \"db\" {\n  size = 3\n}\n"})
	c.running(t, "db/second", 3)
	if _, n, stops := a.counts(); n != starts+1 || stops != 0 {
		t.Errorf("%d starts and %d stops since, want 1 and 0", n-starts, stops)
	}
	tree := os.DirFS(c.repo)
	if p, err := c.client.PlanTree(ctx, tree); err != nil || p.Summary.Changes() != 0 {
		t.Errorf("a preview with frameworks: %+v, %v", p, err)
	}
	write(t, c.repo, map[string]string{"pair.hcl": "framework \"pair\" \"db\" {\n  size = 5\n}\n"})
	if p, err := c.client.PlanTree(ctx, tree); err != nil || p.Summary.Start != 2 {
		t.Errorf("a preview of a changed block: %+v, %v", p, err)
	}

	// Removed from the repository, they end.
	gitIn(t, c.repo, "checkout", "-q", ".")
	gitIn(t, c.repo, "rm", "-q", "plugins.hcl", "pair.hcl")
	c.commit(t, "without", map[string]string{"web.hcl": webApp})
	st = c.status(t, "followed or waiting", func(s *api.Status) bool { return s.Follows.Subject == "without" || s.Pending != nil })
	if st.Pending != nil { // the guard of pruning
		if _, err := c.client.Apply(ctx, api.ApplyRequest{ID: st.Pending.Plan}); err != nil {
			t.Fatal(err)
		}
	}
	c.running(t, "db", 0)
	eventually(t, "plugins ended", func() error {
		if now, err := c.client.Plugins(ctx); err != nil || len(now) != 0 {
			return fmt.Errorf("%+v, %w", now, err)
		}
		return nil
	})
	a.stop()
}

// masterProcess is a master that is killed from outside.
func masterProcess(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	err := master.Run(ctx, master.Config{DataDir: args[0], Repository: git.Config{URL: args[1], Branch: "main"}, API: args[2], Link: args[3], JournalMinFree: -1,
		Ready: func(master.Ready) { fmt.Println("ready") }})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// A master that is killed at any moment goes on as if nothing had been: what it decided stays decided, and nothing is
// started twice or stopped.
func TestAKilledMasterForgetsNothing(t *testing.T) {
	c := newCluster(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp})
	a := joinAgent(t, c, "n1")
	a.run(t)
	c.running(t, "shop/web", 3)
	c.stop(t)
	var process *exec.Cmd
	launch := func() {
		process = exec.Command(os.Args[0], "master", c.dir, c.repo, c.api, c.link)
		process.Stderr = os.Stderr
		out, err := process.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := process.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(out, make([]byte, len("ready"))); err != nil {
			t.Fatalf("the master does not get ready: %v", err)
		}
	}
	end := func() {
		if process != nil {
			_ = process.Process.Kill()
			_ = process.Wait()
			process = nil
		}
	}
	t.Cleanup(end)
	var err error
	for round := range 8 {
		launch()
		count := 4 + round
		c.commit(t, fmt.Sprint(count), map[string]string{"web.hcl": replace(webApp, "count = 3", fmt.Sprintf("count = %d", count))})
		time.Sleep(time.Duration(round*round*4) * time.Millisecond) // somewhere on the way; the outcome is the same
		end()
	}
	launch()
	if c.client, err = client.Load(c.ready.Credentials); err != nil {
		t.Fatal(err)
	}
	list := c.running(t, "shop/web", 11)
	if running, starts, stops := a.counts(); running != 11 || starts != 11 || stops != 0 {
		t.Errorf("%d run after %d starts and %d stops: %s", running, starts, stops, describe(list))
	}
	eventually(t, "calm", func() error {
		p, err := c.client.PendingPlan(t.Context())
		if err == nil && p.Summary.Changes() != 0 {
			err = errors.New("something is left to do")
		}
		return err
	})
}
