package artifact

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// groupName is the cgroup of all helpers of a machine, at the root of the tree as the executor's is. It exists while there is a helper;
// after an agent that was killed it is empty, and the next helper's end removes it.
const groupName = "stowage-artifact"

// group bounds the memory of all helpers together, where this process can make cgroups. Elsewhere each has its own limit only (see confine).
type group struct{ mu sync.Mutex }

var helpers group

// enter moves a helper into the group, and reports whether it is there.
func (g *group) enter(pid int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	root, unified := memoryTree()
	if root == "" {
		return false
	}
	for { // another agent of the machine may remove the group until the helper is in it
		err := join(filepath.Join(root, groupName), unified, pid)
		if !errors.Is(err, os.ErrNotExist) {
			return err == nil
		}
	}
}

// join makes a cgroup with a bound, and moves a process into it. It fails with os.ErrNotExist where the cgroup was removed meanwhile.
func join(dir string, unified bool, pid int) error {
	made := os.Mkdir(dir, 0o755)
	if made != nil && !errors.Is(made, os.ErrExist) {
		return fmt.Errorf("make cgroup: %v", made) // not there: the whole tree
	}
	memory, swap := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	if unified {
		// Refused where the cgroup above has processes of its own and is not the root of all: the bound is missing then.
		_ = os.WriteFile(filepath.Join(filepath.Dir(dir), "cgroup.subtree_control"), []byte("+memory"), 0)
		memory, swap = "memory.max", "memory.swap.max"
	}
	bound := os.WriteFile(filepath.Join(dir, memory), fmt.Append(nil, groupMemory), 0)
	if bound != nil {
		if _, err := os.Stat(dir); err != nil {
			return err
		}
		_ = unix.Rmdir(dir)
		return fmt.Errorf("bound cgroup: %v", bound)
	}
	most := groupMemory // memsw counts both
	if unified {
		most = 0
	}
	_ = os.WriteFile(filepath.Join(dir, swap), fmt.Append(nil, most), 0) // not there where swap is not counted
	return os.WriteFile(filepath.Join(dir, "cgroup.procs"), fmt.Append(nil, pid), 0)
}

// leave removes the group if its last helper is gone.
func (g *group) leave() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if root, _ := memoryTree(); root != "" {
		_ = unix.Rmdir(filepath.Join(root, groupName)) // refused while others are in it
	}
}

// memoryTree finds where cgroups that bound memory are made: the mount point of v1's controller, or of v2 (unified) where that has it. "": nowhere.
func memoryTree() (root string, unified bool) {
	mounts, err := os.Open("/proc/self/mounts")
	if err != nil {
		return "", false
	}
	defer mounts.Close()
	for lines := bufio.NewScanner(mounts); lines.Scan(); {
		fields := strings.Fields(lines.Text()) // device, mount point, type, options
		if len(fields) < 4 {
			continue
		}
		switch fields[2] {
		case "cgroup":
			if slices.Contains(strings.Split(fields[3], ","), "memory") {
				return fields[1], false
			}
		case "cgroup2":
			if has, err := os.ReadFile(filepath.Join(fields[1], "cgroup.controllers")); err == nil && slices.Contains(strings.Fields(string(has)), "memory") {
				return fields[1], true
			}
		}
	}
	return "", false
}
