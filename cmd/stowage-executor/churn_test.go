package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// churnSteps is how many containers TestChurn makes where STOWAGE_CHURN does not say it.
const churnSteps = 300

const (
	churnWorkers = 20
	// churnPerCrash is how many containers are made between two deaths of the executor, on average: fewer in a short test, in which it dies
	// churnCrashes times all the same.
	churnPerCrash = 40
	churnCrashes  = 4
	// churnMemory is by how much an executor's own memory may grow while it makes a quarter of the containers, in bytes: what the runtime's
	// heap and its pools of buffers vary by. A leak of one KiB in each start of the long test is more.
	churnMemory = 2 << 20
)

// churn makes and removes containers while others kill them, and the executor.
type churn struct {
	*node
	seed uint64
	mark string // in the environment of every task

	started, killed, crashes atomic.Int64
	living                   sync.Map // ids
	executors                map[string]bool
}

// TestChurn starts and removes many containers, 20 at a time. In the first half the executor is killed at random moments and started again, and
// containers are killed from outside all the time. Nothing may be left: no process, mount, namespace, cgroup, file or open file, nor memory.
func TestChurn(t *testing.T) {
	steps := fewer(t, churnSteps)
	if text := os.Getenv("STOWAGE_CHURN"); text != "" {
		var err error
		if steps, err = strconv.Atoi(text); err != nil || steps < 4 {
			t.Fatalf("STOWAGE_CHURN=%q: use a number of containers", text)
		}
	}
	c := &churn{node: newNode(t), seed: rand.Uint64(), executors: map[string]bool{}}
	c.mark = "STOWAGE_CHURN_OF=" + c.dir
	t.Logf("%d containers, seed %d", steps, c.seed)
	c.look()
	if err := c.life("warm", rand.New(rand.NewPCG(c.seed, 0))); err != nil {
		t.Fatal(err)
	}
	files, mounts := c.files(), c.mounts()

	begin := time.Now()
	c.round(0, steps/2, true)
	c.round(steps/2, steps*3/4, false)
	c.settle()
	memory, before := c.memory(), c.traces()
	c.round(steps*3/4, steps, false)
	c.settle()
	if t.Failed() {
		return
	}
	c.awaitTraces(before)
	grown := c.memory() - memory
	t.Logf("%d starts in %.0f s, %d executors killed, %d containers killed from outside; the last executor grew by %d KiB in %d starts",
		c.started.Load(), time.Since(begin).Seconds(), c.crashes.Load(), c.killed.Load(), grown>>10, steps/4)
	if grown > churnMemory {
		t.Errorf("the executor grew by %d KiB", grown>>10)
	}
	if all, err := c.client.List(t.Context()); err != nil || len(all) > 0 {
		t.Errorf("containers left: %v, %v", all, err)
	}
	c.await("no process left", func() bool { return len(c.processes()) == 0 })
	if now := c.files(); now != files {
		t.Errorf("%d files of state, before %d", now, files)
	}
	if now := c.mounts(); now != mounts {
		t.Errorf("%d mounts of the node, before %d", now, mounts)
	}
}

// round makes containers, and kills while it does.
func (c *churn) round(from, to int, crash bool) {
	c.t.Helper()
	if c.t.Failed() {
		return
	}
	var next, made atomic.Int64
	next.Store(int64(from))
	var wg sync.WaitGroup
	for range churnWorkers {
		wg.Go(func() {
			for i := next.Add(1) - 1; i < int64(to) && !c.t.Failed(); i = next.Add(1) - 1 {
				if err := c.life(fmt.Sprintf("c%d", i), rand.New(rand.NewPCG(c.seed, uint64(i)))); err != nil {
					c.t.Errorf("container %d: %v", i, err)
				}
				made.Add(1)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	dice := rand.New(rand.NewPCG(c.seed, uint64(to)))
	perCrash := max(min(churnPerCrash, (to-from)/churnCrashes), 1)
	for crashAt := int64(dice.IntN(perCrash)); ; {
		select {
		case <-done:
			return
		case <-time.After(time.Duration(dice.IntN(5000)) * time.Microsecond):
		}
		c.living.Range(func(id, _ any) bool {
			if dice.IntN(8) == 0 && c.killFirst(id.(string)) {
				c.killed.Add(1)
			}
			return true
		})
		if crash && made.Load() >= crashAt {
			c.crash()
			c.start()
			c.look()
			c.crashes.Add(1)
			crashAt = made.Load() + int64(dice.IntN(2*perCrash))
		}
	}
}

// life is that of one container, from a start to a removal.
func (c *churn) life(id string, dice *rand.Rand) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	spec := c.host(id, "echo on; sleep 1000 & wait")
	spec.Env = []string{c.mark}
	switch dice.IntN(5) {
	case 0:
		spec.Root.Writable = filepath.Join(c.dir, "upper", id)
	case 1:
		spec.Mounts = []executor.Mount{{Source: c.dir, Target: "/srv/data", ReadOnly: true}}
	case 2:
		spec.Command = []string{"true"}
	}
	start := c.client.Start
	if dice.IntN(4) == 0 {
		start = c.client.Prepare
	}
	err := c.insist(ctx, func() error {
		_, err := start(ctx, spec)
		if answered(err) {
			return err
		}
		// The executor died: whether the container is there, only the next one knows.
		if _, known := c.client.Get(ctx, id); known != nil {
			return errAgain
		}
		return nil
	})
	if err != nil && !errors.Is(err, executor.ErrExists) {
		return fmt.Errorf("start: %w", err)
	}
	c.started.Add(1)
	c.living.Store(id, true)
	switch dice.IntN(6) {
	case 0:
		_, _ = c.client.Exec(ctx, id, executor.ExecSpec{Command: []string{"true"}}, executor.Streams{})
	case 1:
		_ = c.client.Signal(ctx, id, int(unix.SIGTERM))
	case 2:
		_, _ = c.client.Release(ctx, id)
	case 3:
		_ = c.client.Kill(ctx, id)
	case 4:
		_, _ = c.client.Stats(ctx, id)
	}
	c.living.Delete(id)
	err = c.insist(ctx, func() error { return c.client.Delete(ctx, id) })
	if err != nil && !errors.Is(err, executor.ErrNotFound) {
		return fmt.Errorf("delete: %w", err)
	}
	return nil
}

// errAgain asks insist for another attempt.
var errAgain = errors.New("the executor died before the container was made")

// insist repeats a call until an executor answers it.
func (c *churn) insist(ctx context.Context, call func() error) error {
	for {
		err := call()
		if answered(err) || ctx.Err() != nil {
			return err
		}
		select {
		case <-ctx.Done():
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// answered reports whether a call reached an executor that lived to answer it.
func answered(err error) bool {
	var said *executor.Error
	return err == nil || errors.As(err, &said)
}

// killFirst kills the first process of a container behind the executor's back. A pid may meanwhile be another's, so its cgroup is asked.
func (c *churn) killFirst(id string) bool {
	pids := c.pids(id)
	if len(pids) == 0 {
		return false
	}
	pid, err := strconv.Atoi(pids[0])
	if err != nil || pid == c.cmd.Process.Pid {
		return false
	}
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	member, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil || !strings.Contains(string(member), filepath.Join(c.parent, id)+"\n") {
		return false
	}
	return unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0) == nil
}

// look takes down the mount namespace of the executor, by which what it leaves is found.
func (c *churn) look() {
	if ns, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/mnt", c.cmd.Process.Pid)); err == nil {
		c.executors[ns] = true
	}
}

// processes are those that executors and their containers have left.
func (c *churn) processes() []string {
	var left []string
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range dirs {
		if filepath.Base(dir) == strconv.Itoa(c.cmd.Process.Pid) {
			continue
		}
		env, _ := os.ReadFile(dir + "/environ")
		ns, _ := os.Readlink(dir + "/ns/mnt")
		member, _ := os.ReadFile(dir + "/cgroup")
		if strings.Contains(string(env), c.mark) || c.executors[ns] || strings.Contains(string(member), c.parent) {
			left = append(left, dir)
		}
	}
	return left
}

// files counts what is below the state directory. What executors mount there, only they see.
func (c *churn) files() int {
	count := 0
	_ = filepath.WalkDir(filepath.Join(c.dir, "state"), func(string, fs.DirEntry, error) error { count++; return nil })
	works, _ := filepath.Glob(filepath.Join(c.dir, "upper/*.work"))
	return count + len(works)
}

// mounts counts those of the node that concern this test.
func (c *churn) mounts() int {
	data, _ := os.ReadFile("/proc/self/mountinfo")
	return strings.Count(string(data), c.dir)
}

// settle waits until the executor has collected the garbage of its last work.
func (n *node) settle() {
	last := int64(0)
	for same := 0; same < 10; time.Sleep(100 * time.Millisecond) {
		if now := n.memory(); now == last {
			same++
		} else {
			last, same = now, 0
		}
	}
}
