package runc

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/stowage/stowage/agent/executor"
)

// The kernel takes a filter from a process that can gain no new privileges, or from one that has CAP_SYS_ADMIN. A task that may gain
// privileges, but does not have that capability, is therefore handed over to run.c as root of the container with what it takes to install the
// filter and to become the task's user. run.c gives that up for good before the command is executed: what is not in the bounding set
// does not survive execve.

// neededFirst is what run.c needs beyond the task's own capabilities.
var neededFirst = []string{"CAP_SETGID", "CAP_SETPCAP", "CAP_SETUID", "CAP_SYS_ADMIN"}

// filterFirst lets run.c become the user.
func filterFirst(p *libcontainer.Process, who identity, s *executor.Spec) {
	own := capabilitiesOf(s)
	all := slices.Clone(own)
	for _, c := range neededFirst {
		if !slices.Contains(all, c) {
			all = append(all, c)
		}
	}
	groups := make([]string, len(who.groups))
	for i, g := range who.groups {
		groups[i] = strconv.Itoa(g)
	}
	p.Args[1] += fmt.Sprintf("-as:%d:%d:%d:%s", who.uid, who.gid, capabilityMask(own), strings.Join(groups, ","))
	p.UID, p.GID, p.AdditionalGroups = 0, 0, nil
	p.Capabilities = &configs.Capabilities{Bounding: all, Effective: all, Permitted: all}
	if who.home != "" && !slices.ContainsFunc(p.Env, func(e string) bool { return strings.HasPrefix(e, "HOME=") }) {
		p.Env = append(p.Env, "HOME="+who.home) // or the library looks up root's
	}
}

// capabilityNumbers are the capabilities in the order of the kernel.
func capabilityNumbers() []string {
	return strings.Fields(`CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID KILL SETGID SETUID SETPCAP LINUX_IMMUTABLE NET_BIND_SERVICE
	NET_BROADCAST NET_ADMIN NET_RAW IPC_LOCK IPC_OWNER SYS_MODULE SYS_RAWIO SYS_CHROOT SYS_PTRACE SYS_PACCT SYS_ADMIN SYS_BOOT SYS_NICE
	SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG MKNOD LEASE AUDIT_WRITE AUDIT_CONTROL SETFCAP MAC_OVERRIDE MAC_ADMIN SYSLOG WAKE_ALARM
	BLOCK_SUSPEND AUDIT_READ PERFMON BPF CHECKPOINT_RESTORE`)
}

func capabilityMask(names []string) uint64 {
	var mask uint64
	for i, n := range capabilityNumbers() {
		if slices.Contains(names, "CAP_"+n) {
			mask |= 1 << i
		}
	}
	return mask
}
