package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// ledger is what TestMachineCrash was told before it took the machine down, on a disk that keeps it.
type ledger struct {
	Round   int                          `json:"round"`
	Commit  string                       `json:"commit"`  // that the master follows
	Count   int                          `json:"count"`   // of shop/web
	Settled map[string]spec.AllocationID `json:"settled"` // slots that were healthy and had nothing to wait for
	Flushed bool                         `json:"flushed"` // all that was written before was on the disk
	Nightly spec.AllocationID            `json:"nightly"` // work that was done, and is not done again
}

func (l *ledger) write(t *testing.T, name string) {
	t.Helper()
	data, err := json.Marshal(l)
	if err == nil {
		var f *os.File
		if f, err = os.Create(name + ".new"); err == nil {
			_, err = f.Write(data)
			err = errors.Join(err, f.Sync(), f.Close(), os.Rename(name+".new", name))
		}
	}
	if err == nil {
		var dir *os.File
		if dir, err = os.Open(filepath.Dir(name)); err == nil {
			err = errors.Join(dir.Sync(), dir.Close())
		}
	}
	if err != nil {
		t.Fatal(err)
	}
}

// rounds in which the machine goes down: at rest, then at the first, second … new allocation of a rollout.
const machineRounds = 4

// TestMachineCrash takes the machine down that it runs on, without a word to anybody, so it needs one of its own: .ci/v2 boots it again and
// again with the disk that is left, until the test has seen what it wants and ends. STOWAGE_MACHINE is a folder on that disk.
//
// After each boot nothing is lost and nothing is there twice: master and agent go on from what their disks have, whatever was being written when
// the machine went down; what ran runs again, in the same allocation, and tells that its node had restarted.
func TestMachineCrash(t *testing.T) {
	dir := os.Getenv("STOWAGE_MACHINE")
	if dir == "" {
		t.Skip("this takes a whole machine down, and STOWAGE_MACHINE names none: see .ci/v2")
	}
	needRoot(t)
	name := dir + "/ledger.json"
	var l ledger
	data, err := os.ReadFile(name)
	if err == nil {
		err = json.Unmarshal(data, &l)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	c := &cluster{t: t, dir: dir, repo: dir + "/repo", api: "127.0.0.1:7400", link: "127.0.0.1:7401", commits: 100 * l.Round}
	if l.Round == 0 {
		c.git("init", "-q", "-b", "main", c.repo)
		c.git("-C", c.repo, "config", "user.name", "Test")
		c.git("-C", c.repo, "config", "user.email", "test@example.com")
		l.Count = 6
	}
	c.startMaster()
	c.addAgent("n1", 0)
	t.Logf("round %d", l.Round)
	if l.Round == 0 {
		c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(l.Count, ""), "done.hcl", `app "done" {
  kind = "batch"
  task "once" {
    rootfs  = "host"
    command = ["true"]
    cpu     = 0.01
    memory  = "16MiB"
  }
}
`)
		l.Nightly = c.done()
		c.atRest(&l)
	} else {
		c.asBefore(&l)
	}
	if l.Round == machineRounds {
		c.close()
		return
	}
	l.Round++
	if l.Flushed = l.Round == 1; l.Flushed {
		unix.Sync() // as after a quiet minute
	} else {
		c.rollOut(&l)
	}
	l.write(t, name)
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("b"), 0); err != nil {
		t.Fatal(err)
	}
	select {}
}

// done waits until the batch app has done its work, and names the allocation that did.
func (c *cluster) done() (id spec.AllocationID) {
	c.t.Helper()
	c.eventually("the batch app is done", func() error {
		var list []spec.AllocationView
		if err := c.tryJSON(&list, "ps", "--json", "--ended"); err != nil {
			return err
		}
		found := 0
		for _, a := range list {
			if a.Slot.App == "done" {
				found, id = found+1, a.ID
				if a.State != spec.StateComplete {
					return fmt.Errorf("it is %s: %s", a.State, a.Reason)
				}
			}
		}
		if found != 1 {
			return fmt.Errorf("%d allocations did the work once", found)
		}
		return nil
	})
	return id
}

// atRest waits until the commit that is followed is all there is, and notes it.
func (c *cluster) atRest(l *ledger) map[string]spec.AllocationView {
	c.t.Helper()
	l.Commit = c.git("-C", c.repo, "rev-parse", "HEAD")
	var all map[string]spec.AllocationView
	c.eventually("all slots are healthy at the newest commit", func() error {
		var err error
		if all, err = c.allocations(); err != nil {
			return err
		}
		if len(all) != l.Count {
			return fmt.Errorf("%d allocations", len(all))
		}
		for slot, a := range all {
			if !a.Healthy || a.Tasks[0].Pid == 0 {
				return fmt.Errorf("%s is %s: %s", slot, a.State, a.Trouble())
			}
		}
		return nil
	})
	c.noChanges()
	l.Settled = map[string]spec.AllocationID{}
	for slot, a := range all {
		l.Settled[slot] = a.ID
	}
	// What the master tells is what there is: as many processes, and none of an earlier attempt.
	if running := c.processes("sleep\x001000000\x00"); running != l.Count {
		c.t.Errorf("%d processes for %d slots", running, l.Count)
	}
	return all
}

// asBefore checks the machine after a boot against what was true before the crash.
func (c *cluster) asBefore(l *ledger) {
	c.t.Helper()
	settled, flushed := l.Settled, l.Flushed
	commit := l.Commit
	all := c.atRest(l)
	if l.Commit != commit {
		c.t.Errorf("the repository is at %s, the master followed %s", l.Commit, commit)
	}
	for slot, id := range settled {
		a := all[slot]
		if a.ID != id {
			c.t.Errorf("%s was %s, which was healthy and to stay, and is %s (%s)", slot, id, a.ID, a.Why)
			continue
		}
		// What was written last may be lost with the power, how often a task had been started included.
		if !flushed {
			continue
		}
		if e := a.Tasks[0].Exit; a.Tasks[0].Restarts == 0 || e == nil || !e.Rebooted {
			c.t.Errorf("%s has restarted %d times and tells %v", slot, a.Tasks[0].Restarts, e)
		}
		if out := c.cli("explain", slot); !strings.Contains(out, "ended when the node restarted") {
			c.t.Errorf("the story of %s does not tell that its node restarted:\n%s", slot, out)
		}
	}
	if id := c.done(); id != l.Nightly {
		c.t.Errorf("work that was done by %s is done again by %s", l.Nightly, id)
	}
}

// rollOut commits a new version and returns in the middle of its rollout, later in each round. What it notes as settled is what the
// master has told as healthy in the new version.
func (c *cluster) rollOut(l *ledger) {
	c.t.Helper()
	l.Commit = c.commit("web.hcl", strings.Replace(webHCL(l.Count, ""), "    cpu ", fmt.Sprintf("    env = { ROUND = \"%d\" }\n    cpu ", l.Round), 1))
	c.eventually("the rollout is under way", func() error {
		all, err := c.allocations()
		if err != nil {
			return err
		}
		l.Settled = map[string]spec.AllocationID{}
		for slot, a := range all {
			if a.Healthy && string(a.Commit) == l.Commit {
				l.Settled[slot] = a.ID
			}
		}
		if len(l.Settled) < l.Round-1 {
			return fmt.Errorf("%d new allocations are healthy", len(l.Settled))
		}
		return nil
	})
}

// processes counts those with the command line.
func (c *cluster) processes(line string) (n int) {
	all, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, file := range all {
		if data, err := os.ReadFile(file); err == nil && string(data) == line {
			n++
		}
	}
	return n
}
