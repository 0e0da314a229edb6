package runc

import (
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// The filter. Known system calls are allowed, but for those that reach the kernel's administration, its keys, its history of
// holes (deniedCalls), or other namespaces; these fail with EPERM. A capability that a spec asks for brings its calls back. Calls
// newer than this list, and those of other architectures, fail with ENOSYS, so that programs take the older way.
//
// The program is a binary search over ranges of call numbers: eight or nine comparisons for each call, where the usual library
// builds a chain of hundreds, and takes 20 ms to compile it.

// Offsets into struct seccomp_data. Arguments are 64 bits wide; the low half is what is compared.
const (
	offNumber = 0
	offArch   = 4
	offArgs   = 16
)

// Answers of a filter.
const (
	actAllow = 0x7fff0000
	actErrno = 0x00050000
)

func errno(e unix.Errno) uint32 { return actErrno | uint32(e) }

// namespaceFlags are the flags of clone and unshare that make namespaces.
const namespaceFlags = unix.CLONE_NEWNS | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC | unix.CLONE_NEWUSER | unix.CLONE_NEWPID |
	unix.CLONE_NEWNET | unix.CLONE_NEWCGROUP

// deniedCalls fail with EPERM on all architectures unless a capability of the spec is named beside them.
var deniedCalls = map[uint32]string{
	unix.SYS_ACCT:              "CAP_SYS_PACCT",
	unix.SYS_ADD_KEY:           "",
	unix.SYS_BPF:               "CAP_BPF",
	unix.SYS_CLOCK_ADJTIME:     "CAP_SYS_TIME",
	unix.SYS_CLOCK_SETTIME:     "CAP_SYS_TIME",
	unix.SYS_DELETE_MODULE:     "CAP_SYS_MODULE",
	unix.SYS_FANOTIFY_INIT:     "CAP_SYS_ADMIN",
	unix.SYS_FINIT_MODULE:      "CAP_SYS_MODULE",
	unix.SYS_FSCONFIG:          "CAP_SYS_ADMIN",
	unix.SYS_FSMOUNT:           "CAP_SYS_ADMIN",
	unix.SYS_FSOPEN:            "CAP_SYS_ADMIN",
	unix.SYS_FSPICK:            "CAP_SYS_ADMIN",
	unix.SYS_GET_MEMPOLICY:     "CAP_SYS_NICE",
	unix.SYS_INIT_MODULE:       "CAP_SYS_MODULE",
	unix.SYS_IO_URING_ENTER:    "",
	unix.SYS_IO_URING_REGISTER: "",
	unix.SYS_IO_URING_SETUP:    "",
	unix.SYS_KCMP:              "CAP_SYS_PTRACE",
	unix.SYS_KEXEC_FILE_LOAD:   "CAP_SYS_BOOT",
	unix.SYS_KEXEC_LOAD:        "CAP_SYS_BOOT",
	unix.SYS_KEYCTL:            "",
	unix.SYS_LOOKUP_DCOOKIE:    "CAP_SYS_ADMIN",
	unix.SYS_MBIND:             "CAP_SYS_NICE",
	unix.SYS_MIGRATE_PAGES:     "CAP_SYS_NICE",
	unix.SYS_MOUNT:             "CAP_SYS_ADMIN",
	unix.SYS_MOUNT_SETATTR:     "CAP_SYS_ADMIN",
	unix.SYS_MOVE_MOUNT:        "CAP_SYS_ADMIN",
	unix.SYS_MOVE_PAGES:        "CAP_SYS_NICE",
	unix.SYS_NFSSERVCTL:        "",
	unix.SYS_OPEN_BY_HANDLE_AT: "CAP_DAC_READ_SEARCH",
	unix.SYS_OPEN_TREE:         "CAP_SYS_ADMIN",
	unix.SYS_PERF_EVENT_OPEN:   "CAP_PERFMON",
	unix.SYS_PIDFD_GETFD:       "CAP_SYS_PTRACE",
	unix.SYS_PIVOT_ROOT:        "",
	unix.SYS_PROCESS_MADVISE:   "CAP_SYS_PTRACE",
	unix.SYS_PROCESS_VM_READV:  "CAP_SYS_PTRACE",
	unix.SYS_PROCESS_VM_WRITEV: "CAP_SYS_PTRACE",
	unix.SYS_PTRACE:            "CAP_SYS_PTRACE",
	unix.SYS_QUOTACTL:          "CAP_SYS_ADMIN",
	unix.SYS_QUOTACTL_FD:       "CAP_SYS_ADMIN",
	unix.SYS_REBOOT:            "CAP_SYS_BOOT",
	unix.SYS_REQUEST_KEY:       "",
	unix.SYS_SET_MEMPOLICY:     "CAP_SYS_NICE",
	unix.SYS_SETDOMAINNAME:     "CAP_SYS_ADMIN",
	unix.SYS_SETHOSTNAME:       "CAP_SYS_ADMIN",
	unix.SYS_SETNS:             "CAP_SYS_ADMIN",
	unix.SYS_SETTIMEOFDAY:      "CAP_SYS_TIME",
	unix.SYS_SWAPOFF:           "",
	unix.SYS_SWAPON:            "",
	unix.SYS_SYSLOG:            "CAP_SYSLOG",
	unix.SYS_UMOUNT2:           "CAP_SYS_ADMIN",
	unix.SYS_UNSHARE:           "CAP_SYS_ADMIN",
	unix.SYS_USERFAULTFD:       "",
	unix.SYS_VHANGUP:           "CAP_SYS_TTY_CONFIG",
	sysSetMempolicyHomeNode:    "CAP_SYS_NICE",
	sysOpenTreeAttr:            "CAP_SYS_ADMIN",
	sysFileSetattr:             "CAP_LINUX_IMMUTABLE",
}

// Calls without a name in the system package, and the end of what this list knows; the numbers are the same everywhere.
const (
	sysSetMempolicyHomeNode = 450
	sysOpenTreeAttr         = 467
	sysFileSetattr          = 469 // Linux 6.17
	lastKnownCall           = sysFileSetattr
)

// Requests of ioctl that set attributes of files, the same on all architectures of 64 bits. With them the owner of a file moves it to another
// project, or a folder out of its own, and with that beyond the limit of the task's disk.
const (
	setFlags      = 0x40086602 // FS_IOC_SETFLAGS
	setAttributes = 0x401c5820 // FS_IOC_FSSETXATTR
)

// numbers is a range of call numbers that are in use, both included.
type numbers struct{ from, to uint32 }

// span is a range of call numbers up to the start of the next, and what happens to them.
type span struct {
	from uint32
	code []bpf.Instruction
}

func answer(v uint32) []bpf.Instruction { return []bpf.Instruction{bpf.RetConstant{Val: v}} }

// loadArg loads the low half of an argument on a little-endian machine.
func loadArg(i uint32) bpf.Instruction { return bpf.LoadAbsolute{Off: offArgs + 8*i, Size: 4} }

// special are the calls that depend on their arguments.
func special(capabilities []string) map[uint32][]bpf.Instruction {
	calls := map[uint32][]bpf.Instruction{
		// Emulation of other systems' memory layouts has been a way around address randomisation.
		unix.SYS_PERSONALITY: {
			loadArg(0),
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0, SkipTrue: 5},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x0008, SkipTrue: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x20000, SkipTrue: 3},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0x20008, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: 0xffffffff, SkipTrue: 1},
			bpf.RetConstant{Val: errno(unix.EPERM)},
			bpf.RetConstant{Val: actAllow},
		},
		// Sockets that reach the hypervisor, or the kernel's own ciphers.
		unix.SYS_SOCKET: {
			loadArg(0),
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_VSOCK, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.AF_ALG, SkipTrue: 1},
			bpf.RetConstant{Val: actAllow},
			bpf.RetConstant{Val: errno(unix.EAFNOSUPPORT)},
		},
	}
	if !slices.Contains(capabilities, "CAP_LINUX_IMMUTABLE") {
		calls[unix.SYS_IOCTL] = []bpf.Instruction{
			loadArg(1), // the kernel takes the low half alone
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: setFlags, SkipTrue: 2},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: setAttributes, SkipTrue: 1},
			bpf.RetConstant{Val: actAllow},
			bpf.RetConstant{Val: errno(unix.EPERM)},
		}
	}
	if !slices.Contains(capabilities, "CAP_SYS_ADMIN") {
		calls[unix.SYS_CLONE] = []bpf.Instruction{
			loadArg(0),
			bpf.JumpIf{Cond: bpf.JumpBitsSet, Val: namespaceFlags, SkipTrue: 1},
			bpf.RetConstant{Val: actAllow},
			bpf.RetConstant{Val: errno(unix.EPERM)},
		}
		// Its flags are behind a pointer, where no filter can look; C libraries then use clone.
		calls[unix.SYS_CLONE3] = answer(errno(unix.ENOSYS))
	}
	return calls
}

// program compiles the filter for a set of capabilities.
func program(capabilities []string) ([]bpf.RawInstruction, error) {
	calls := special(capabilities)
	for _, table := range []map[uint32]string{deniedCalls, deniedHere} {
		for nr, capability := range table {
			if capability == "" || !slices.Contains(capabilities, capability) {
				calls[nr] = answer(errno(unix.EPERM))
			}
		}
	}
	return assemble(calls, knownCalls, actAllow, errno(unix.ENOSYS))
}

// assemble makes the program: the calls given, and what answers the others that are known, and those that are not.
func assemble(calls map[uint32][]bpf.Instruction, edges []numbers, known, unknown uint32) ([]bpf.RawInstruction, error) {
	code := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		bpf.RetConstant{Val: errno(unix.ENOSYS)},
		bpf.LoadAbsolute{Off: offNumber, Size: 4},
	}
	return bpf.Assemble(append(code, search(spans(calls, edges, answer(known), answer(unknown)))...))
}

// spans covers all numbers without gaps, in order: the calls given, and around them what is known and what is not.
func spans(calls map[uint32][]bpf.Instruction, edges []numbers, known, unknown []bpf.Instruction) []span {
	var all []span
	add := func(from uint32, code []bpf.Instruction) {
		if n := len(all); n > 0 && slices.Equal(all[n-1].code, code) {
			return
		}
		all = append(all, span{from, code})
	}
	given := make([]uint32, 0, len(calls))
	for nr := range calls {
		given = append(given, nr)
	}
	slices.Sort(given)
	for i, edge := range edges {
		at := edge.from
		for _, nr := range given {
			if nr < edge.from || nr > edge.to {
				continue
			}
			if nr > at {
				add(at, known)
			}
			add(nr, calls[nr])
			at = nr + 1
		}
		if at <= edge.to {
			add(at, known)
		}
		if i == len(edges)-1 || edges[i+1].from > edge.to+1 {
			add(edge.to+1, unknown)
		}
	}
	return all
}

// search builds a binary search over spans; the number is in the accumulator.
func search(all []span) []bpf.Instruction {
	if len(all) == 1 {
		return all[0].code
	}
	mid := len(all) / 2
	low, high := search(all[:mid]), search(all[mid:])
	if len(low) <= 255 {
		code := []bpf.Instruction{bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: all[mid].from, SkipTrue: uint8(len(low))}}
		return append(append(code, low...), high...)
	}
	code := []bpf.Instruction{
		bpf.JumpIf{Cond: bpf.JumpGreaterOrEqual, Val: all[mid].from, SkipFalse: 1},
		bpf.Jump{Skip: uint32(len(low))},
	}
	return append(append(code, low...), high...)
}

// filters keeps a compiled filter for each set of capabilities that changes it, as a sealed memory file that run.c maps.
type filters struct {
	mu    sync.Mutex
	files map[string]*os.File
}

// none is the key of the empty program.
const none = "none"

// get returns the file of the filter for a container, or an empty one. Those that are our own stay open as long as the executor runs.
func (f *filters) get(spec *executor.Spec) (*os.File, error) {
	capabilities := capabilitiesOf(spec)
	key, custom := none, spec.Seccomp != nil
	switch {
	case custom:
		key = profileKey(spec.Seccomp, shortCapabilities(spec))
	case !spec.Unconfined:
		var opening []string
		for _, c := range capabilities {
			if opens(c) && !slices.Contains(opening, c) {
				opening = append(opening, c)
			}
		}
		slices.Sort(opening)
		key = "filter " + strings.Join(opening, " ")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if file := f.files[key]; file != nil {
		return file, nil
	}
	var raw []bpf.RawInstruction
	var err error
	switch {
	case custom:
		if raw, err = profileProgram(spec.Seccomp, shortCapabilities(spec), kernelRelease()); err != nil {
			return nil, executor.Errorf(executor.CodeInvalid, "compile seccomp profile: %v", err)
		}
	case !spec.Unconfined:
		if raw, err = program(capabilities); err != nil {
			return nil, fmt.Errorf("compile seccomp filter: %w", err)
		}
	}
	var code []byte
	for _, in := range raw {
		code = binary.NativeEndian.AppendUint16(code, in.Op)
		code = append(code, in.Jt, in.Jf)
		code = binary.NativeEndian.AppendUint32(code, in.K)
	}
	file, err := sealedFile("seccomp", code)
	if err != nil {
		return nil, err
	}
	if f.files == nil {
		f.files = map[string]*os.File{}
	}
	if custom {
		f.forget()
	}
	f.files[key] = file
	return file, nil
}

// maxProfiles is how many compiled profiles are kept.
const maxProfiles = 100

// forget makes room for a profile. Files that a start is using are closed when nobody refers to them any more.
func (f *filters) forget() {
	profiles := 0
	for key := range f.files {
		if strings.HasPrefix(key, "profile ") {
			if profiles++; profiles >= maxProfiles {
				delete(f.files, key)
			}
		}
	}
}

// opens reports whether a capability changes the filter.
func opens(capability string) bool {
	for _, table := range []map[uint32]string{deniedCalls, deniedHere} {
		for _, c := range table {
			if c == capability {
				return true
			}
		}
	}
	return false
}

func sealedFile(name string, data []byte) (*os.File, error) {
	fd, err := unix.MemfdCreate(name, unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("make memory file: %w", err)
	}
	file := os.NewFile(uintptr(fd), name)
	if _, err := file.Write(data); err != nil {
		file.Close()
		return nil, fmt.Errorf("write memory file: %w", err)
	}
	if _, err := unix.FcntlInt(file.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		file.Close()
		return nil, fmt.Errorf("seal memory file: %w", err)
	}
	return file, nil
}
