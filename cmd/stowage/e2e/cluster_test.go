// Package e2e runs the real programs as a user would: a Git repository, a master, agents and executors as processes of
// their own, real containers, and the command line. It needs root.
package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/agent"
	"github.com/stowage/stowage/spec"
)

var binaries string // folder with stowage and stowage-executor

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(code)
}

func run(m *testing.M) (int, error) {
	if os.Getuid() != 0 {
		return m.Run(), nil
	}
	if binaries = os.Getenv(deadRun); binaries != "" {
		return m.Run(), nil
	}
	if err := endDeadRuns(); err != nil {
		fmt.Fprintln(os.Stderr, err) // somebody may have to look, but not for these tests
	}
	dir, release, err := claim("stowage-e2e-")
	if err != nil {
		return 1, err
	}
	defer release()
	defer os.RemoveAll(dir)
	for _, cmd := range []*exec.Cmd{
		exec.Command("go", "build", "-o", dir+"/stowage", "github.com/stowage/stowage/cmd/stowage"),
		exec.Command("../../stowage-executor/build", dir+"/stowage-executor"),
	} {
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // the executor's own script says otherwise
		if out, err := cmd.CombinedOutput(); err != nil {
			return 1, fmt.Errorf("build: %w\n%s", err, out)
		}
	}
	binaries = dir
	return m.Run(), nil
}

// needRoot skips a test that starts containers where that is not possible, and says why.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("STOWAGE_REQUIRE_ROOT") != "" {
		t.Fatal("this test starts real containers and needs root")
	}
	t.Skip("this test starts real containers and needs root")
}

// patience bounds every wait; it is long because the machine may be busy, and decides nothing else.
const patience = 4 * time.Minute

// cluster is a master and its agents on this machine.
type cluster struct {
	t       testing.TB
	dir     string
	repo    string
	api     string
	link    string
	master  *process
	agents  []*node
	join    string
	commits int
	user    *syscall.Credential // of agents; nil: root
	group   string              // folder of the cgroup of v2 that agents start in; "": that of the test
}

// node is one agent of the cluster.
type node struct {
	name string
	dir  string
	args []string
	proc *process
}

// process is a daemon under test.
type process struct {
	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{}
	log  string
}

func start(t testing.TB, name, log string, args ...string) *process {
	t.Helper()
	return startAs(t, name, log, &syscall.SysProcAttr{}, args...)
}

func startAs(t testing.TB, name, log string, as *syscall.SysProcAttr, args ...string) *process {
	t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	p := &process{t: t, name: name, log: log, done: make(chan struct{})}
	p.cmd = exec.Command(args[0], args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr, as.Setpgid = as, true
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	err = note(filepath.Dir(log), p.pid())
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// kill9 ends the process as a power failure would.
func (p *process) kill9() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

func (p *process) pid() int { return p.cmd.Process.Pid }

func freePort(t testing.TB) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newCluster starts a master that follows an empty repository, and agents n1 to nN.
func newCluster(t testing.TB, agents int) *cluster {
	needRoot(t)
	dir, release, err := claim("stw")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(release)
	c := &cluster{t: t, dir: dir, repo: dir + "/repo", api: freePort(t), link: freePort(t)}
	t.Cleanup(c.close)
	c.git("init", "-q", "-b", "main", c.repo)
	c.git("-C", c.repo, "config", "user.name", "Test")
	c.git("-C", c.repo, "config", "user.email", "test@example.com")
	c.startMaster()
	for i := range agents {
		c.addAgent(fmt.Sprintf("n%d", i+1), i)
	}
	return c
}

func (c *cluster) startMaster() {
	c.master = start(c.t, "master", c.dir+"/master.log", binaries+"/stowage", "master", "--data", c.dir+"/master", "--repo", c.repo, "--api", c.api, "--link", c.link)
	c.eventually("the master answers", func() error { _, err := c.try("status", "--json"); return err })
}

func (c *cluster) addAgent(name string, index int) { c.addAgentFrom(binaries, name, index) }

// addAgentFrom starts an agent with the programs in a folder.
func (c *cluster) addAgentFrom(bin, name string, index int) {
	if c.join == "" {
		var token struct {
			Join string `json:"join"`
		}
		c.json(&token, "token", "create", "--kind", "agent", "--json")
		c.join = token.Join
	}
	n := &node{name: name, dir: c.dir + "/" + name}
	n.args = []string{bin + "/stowage", "agent", "--data", n.dir, "--node", name, "--master", "https://" + c.api, "--join", c.join,
		"--executor", bin + "/stowage-executor", "--cgroup-parent", "stowage-e2e-" + filepath.Base(c.dir) + "-" + name, "--address", "127.0.0.1",
		"--attribute", "rack=r" + fmt.Sprint(index%2+1), "--ports", fmt.Sprintf("%d-%d", 20000+index*300, 20299+index*300)}
	c.agents = append(c.agents, n)
	c.startAgent(n)
}

func (c *cluster) startAgent(n *node) {
	as := &syscall.SysProcAttr{Credential: c.user}
	if c.group != "" {
		group, err := os.Open(c.group)
		if err != nil {
			c.t.Fatal(err)
		}
		defer group.Close()
		as.UseCgroupFD, as.CgroupFD = true, int(group.Fd())
	}
	n.proc = startAs(c.t, n.name, c.dir+"/"+n.name+".log", as, n.args...)
	c.eventually(n.name+" is ready", func() error {
		var nodes []struct {
			ID    string `json:"id"`
			State string `json:"state"`
		}
		if err := c.tryJSON(&nodes, "node", "ls", "--json"); err != nil {
			return err
		}
		for _, one := range nodes {
			if one.ID == n.name && one.State == "ready" {
				return nil
			}
		}
		return errors.New("not ready")
	})
}

// close ends everything that the cluster started and checks that nothing stays behind.
func (c *cluster) close() {
	if c.t.Failed() {
		for _, log := range []string{"master.log", "n1.log", "n2.log", "n3.log"} {
			if text, err := os.ReadFile(filepath.Join(c.dir, log)); err == nil {
				c.t.Logf("%s:\n%s", log, tail(text, 4000))
			}
		}
	}
	for _, n := range c.agents {
		if n.proc != nil {
			n.proc.kill9()
		}
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		if err := agent.TakeDown(ctx, n.dir); err != nil {
			c.t.Errorf("take %s down: %v", n.name, err)
		}
		cancel()
	}
	if c.master != nil {
		c.master.kill9()
	}
	if out, err := os.ReadFile("/proc/mounts"); err == nil && bytes.Contains(out, []byte(c.dir)) {
		c.t.Errorf("mounts are left below %s", c.dir)
	}
	if err := os.RemoveAll(c.dir); err != nil {
		c.t.Error(err)
	}
}

func tail(b []byte, n int) []byte {
	if len(b) > n {
		return b[len(b)-n:]
	}
	return b
}

func (c *cluster) git(args ...string) string {
	c.t.Helper()
	out, err := exec.Command("git", args...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// write puts files into the working tree: name, text, name, text …
func (c *cluster) write(files ...string) {
	c.t.Helper()
	for i := 0; i+1 < len(files); i += 2 {
		path := filepath.Join(c.repo, files[i])
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			c.t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(files[i+1]), 0o644); err != nil {
			c.t.Fatal(err)
		}
	}
}

// commit writes files and commits the tree; it returns the commit's hash.
func (c *cluster) commit(files ...string) string {
	c.t.Helper()
	c.write(files...)
	c.commits++
	c.git("-C", c.repo, "add", "-A")
	c.git("-C", c.repo, "commit", "-q", "-m", fmt.Sprintf("revision %d", c.commits))
	return c.git("-C", c.repo, "rev-parse", "HEAD")
}

// try runs the command line and returns what it printed.
func (c *cluster) try(args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	cmd := exec.CommandContext(ctx, binaries+"/stowage", args...)
	cmd.Dir = c.repo
	cmd.Env = append(os.Environ(), "STOWAGE_CREDENTIALS="+c.dir+"/master/credentials.json", "NO_COLOR=1")
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("stowage %s: %w\n%s%s", strings.Join(args, " "), err, out.String(), complaint.String())
	}
	return out.String(), nil
}

func (c *cluster) cli(args ...string) string {
	c.t.Helper()
	out, err := c.try(args...)
	if err != nil {
		c.t.Fatal(err)
	}
	return out
}

func (c *cluster) tryJSON(v any, args ...string) error {
	out, err := c.try(args...)
	if err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(out), v); err != nil {
		return fmt.Errorf("stowage %s: %w in %s", strings.Join(args, " "), err, out)
	}
	return nil
}

func (c *cluster) json(v any, args ...string) {
	c.t.Helper()
	if err := c.tryJSON(v, args...); err != nil {
		c.t.Fatal(err)
	}
}

// eventually waits until a condition holds.
func (c *cluster) eventually(what string, condition func() error) {
	c.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := condition()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s: not within %s: %v", what, patience, err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// allocations returns all that have not ended, by slot.
func (c *cluster) allocations() (map[string]spec.AllocationView, error) {
	var list []spec.AllocationView
	if err := c.tryJSON(&list, "ps", "--json"); err != nil {
		return nil, err
	}
	all := map[string]spec.AllocationView{}
	for _, a := range list {
		if a.State.Terminal() {
			continue
		}
		if other, twice := all[a.Slot.String()]; twice {
			return nil, fmt.Errorf("%s exists twice: %s and %s", a.Slot, other.ID, a.ID)
		}
		all[a.Slot.String()] = a
	}
	return all, nil
}

// healthy waits until exactly the given number of allocations runs, all of them healthy.
func (c *cluster) healthy(count int) map[string]spec.AllocationView {
	c.t.Helper()
	var all map[string]spec.AllocationView
	c.eventually(fmt.Sprintf("%d allocations are healthy", count), func() error {
		var err error
		if all, err = c.allocations(); err != nil {
			return err
		}
		if len(all) != count {
			return fmt.Errorf("there are %d", len(all))
		}
		for slot, a := range all {
			if !a.Healthy {
				return fmt.Errorf("%s is %s: %s", slot, a.State, a.Reason)
			}
		}
		return nil
	})
	return all
}
