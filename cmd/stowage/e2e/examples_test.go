package e2e

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// TestQuickstart runs examples/quickstart: services become healthy, the batch app completes, the worker waited for the web.
func TestQuickstart(t *testing.T) {
	c := newCluster(t, 3)
	if err := os.CopyFS(c.repo, os.DirFS("../../../examples/quickstart")); err != nil {
		t.Fatal(err)
	}
	c.commit()
	all := c.healthy(5)
	if web, worker := all["shop/web[0]"], all["shop/worker[0]"]; worker.Generation <= web.Generation {
		t.Errorf("the worker (generation %d) did not wait for the web servers (generation %d)", worker.Generation, web.Generation)
	}
	nodes := map[string]bool{}
	for _, a := range all {
		if a.App == "shop/web" {
			nodes[string(a.Node)] = true
		}
	}
	if len(nodes) != 3 {
		t.Errorf("the web servers are on %d nodes, the spread asks for 3", len(nodes))
	}
	c.eventually("the batch app is complete", func() error {
		out, err := c.try("ps", "--ended", "hello")
		if err == nil && !strings.Contains(out, "complete") {
			err = errors.New(out)
		}
		return err
	})
	if out := c.cli("logs", "hello"); !strings.Contains(out, "Ahoy") || !strings.Contains(out, "done") {
		t.Errorf("the batch app printed %q", out)
	}
	c.noChanges()
	for _, args := range [][]string{{"status"}, {"apps"}, {"node", "ls"}, {"node", "show", "n1"}, {"explain", "shop/web[0]"}, {"history"}, {"why"}, {"roles"}, {"events"}, {"token", "ls"}} {
		if out := c.cli(args...); strings.TrimSpace(out) == "" {
			t.Errorf("stowage %s prints nothing", strings.Join(args, " "))
		}
	}
}

// TestPipeline runs the commands of examples/pipeline/README.md, one after another, from the folder that holds examples.
func TestPipeline(t *testing.T) {
	needRoot(t)
	readme, err := os.ReadFile("../../../examples/pipeline/README.md")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir+"/examples/pipeline", os.DirFS("../../../examples/pipeline")); err != nil {
		t.Fatal(err)
	}
	shell := func(line string) *exec.Cmd {
		cmd := exec.Command("sh", "-c", line)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "PATH="+binaries+":"+os.Getenv("PATH"), "HOME="+dir, "XDG_CONFIG_HOME="+dir+"/config", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.com", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.com")
		return cmd
	}
	if out, err := shell("git init -q -b main && git add examples && git commit -q -m pipeline").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	// What each prints, beside ending well.
	want := map[string]string{
		"status": "next etl/extract at", "dispatch": "etl/tell/", "runs": "complete", "logs": "\nloading 2", "sim": "night.txt: ok",
	}
	ran := 0
	for line := range strings.Lines(string(readme)) {
		command, ok := strings.CutPrefix(line, "    stowage ")
		if !ok {
			continue
		}
		ran++
		name := strings.Fields(command)[0]
		if name == "dev" {
			dev := shell("exec stowage --no-color " + command)
			background(t, dev, "following "+dir+"/examples/pipeline\n")
			continue
		}
		if out, err := shell("stowage " + command).CombinedOutput(); err != nil || want[name] == "" || !strings.Contains(string(out), want[name]) {
			t.Errorf("stowage %s says %q, want %q: %v", strings.TrimSpace(command), out, want[name], err)
		}
	}
	if ran != len(want)+1 {
		t.Errorf("the page shows %d commands, want %d", ran, len(want)+1)
	}
}

// background starts a command, waits until it has printed a text, and interrupts it when the test ends.
func background(t *testing.T, cmd *exec.Cmd, text string) {
	t.Helper()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = file, file
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
		_ = file.Close()
	})
	deadline := time.Now().Add(patience)
	for {
		said, err := os.ReadFile(file.Name())
		if err == nil && strings.Contains(string(said), text) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s says %q, not %q (%v)", cmd, said, text, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}
