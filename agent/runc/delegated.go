package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/cgroups"
	"golang.org/x/sys/unix"
)

// Without root there are limits where somebody who may has given a cgroup of v2 to the executor's user, with all that happens in it: what the
// kernel's documentation of cgroup v2 calls delegation, and systemd Delegate=yes. The executor finds the cgroup that it was started in:
//
//	GIVEN           belongs to the user; hands on the controllers that it has
//	GIVEN/agent     agent and executor, as a cgroup that hands on controllers has no processes of its own
//	GIVEN/PARENT    all containers
//
// Where systemd has been told DelegateSubgroup=agent it is so from the start. Elsewhere the executor moves itself and those that started it,
// but nobody else: a cgroup with others in it, such as that of a terminal, was given to somebody else.

// keepersGroup is the name of the cgroup for agent and executor.
const keepersGroup = "agent"

// handedOn are the controllers that containers without root can have.
var handedOn = []string{"cpu", "memory", "pids", "io", "cpuset"}

// delegated returns the cgroup below which this user makes others, from the root of the hierarchy, and the controllers that they get; or why
// there is none.
func delegated() (given string, controllers []string, err error) {
	if !cgroups.IsCgroup2UnifiedMode() {
		return "", nil, errors.New("without root it takes cgroup v2")
	}
	data, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", nil, err
	}
	_, own, ok := strings.Cut(strings.TrimSpace(string(data)), "0::")
	if !ok {
		return "", nil, fmt.Errorf("/proc/self/cgroup tells no cgroup: %q", data)
	}
	if given = own; filepath.Base(own) == keepersGroup {
		given = filepath.Dir(own)
	}
	if err := belongs(given); err != nil {
		return "", nil, err
	}
	if given == own {
		if err := moveOut(given); err != nil {
			return "", nil, err
		}
	}
	for _, name := range handedOn {
		// What the cgroup has not it cannot hand on: the answer is read below.
		_ = os.WriteFile(filepath.Join(unifiedRoot, given, "cgroup.subtree_control"), []byte("+"+name), 0)
	}
	data, err = os.ReadFile(filepath.Join(unifiedRoot, given, "cgroup.subtree_control"))
	if err != nil {
		return "", nil, err
	}
	controllers = strings.Fields(string(data))
	if len(controllers) == 0 {
		return "", nil, fmt.Errorf("the cgroup %s has no controllers to hand on", given)
	}
	return given, controllers, nil
}

// belongs says whether this user may make cgroups below one, and move processes among them.
func belongs(group string) error {
	for _, name := range []string{"", "cgroup.procs", "cgroup.subtree_control"} {
		if err := unix.Faccessat(unix.AT_FDCWD, filepath.Join(unifiedRoot, group, name), unix.W_OK, unix.AT_EACCESS); err != nil {
			return fmt.Errorf("the cgroup %s does not belong to user %d (systemd: Delegate=yes)", group, os.Geteuid())
		}
	}
	return nil
}

// moveOut moves this process and those that started it from a cgroup into one below it, and refuses where there are others.
func moveOut(group string) error {
	dir := filepath.Join(unifiedRoot, group)
	ours := ancestors()
	data, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
	if err != nil {
		return err
	}
	for pid := range strings.FieldsSeq(string(data)) {
		if !slices.Contains(ours, pid) {
			return fmt.Errorf("process %s is in the cgroup %s too: start the agent in one of its own", pid, group)
		}
	}
	keepers := filepath.Join(dir, keepersGroup)
	if err := os.Mkdir(keepers, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return err
	}
	for pid := range strings.FieldsSeq(string(data)) {
		if err := os.WriteFile(filepath.Join(keepers, "cgroup.procs"), []byte(pid), 0); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("move process %s to the cgroup %s: %w", pid, filepath.Join(group, keepersGroup), err)
		}
	}
	return nil
}

// ancestors are this process, its parent, and so on.
func ancestors() (pids []string) {
	for pid := os.Getpid(); pid > 0; {
		pids = append(pids, strconv.Itoa(pid))
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			break
		}
		// pid (name) state parent …: a name may hold anything, brackets included
		fields := strings.Fields(string(data[strings.LastIndexByte(string(data), ')')+1:]))
		if len(fields) < 2 {
			break
		}
		if pid, err = strconv.Atoi(fields[1]); err != nil {
			break
		}
	}
	return pids
}
