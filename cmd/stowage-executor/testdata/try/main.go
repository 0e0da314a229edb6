// Command try does one thing that an isolated task should not be able to do, and prints how it ended: "ok", or the name of the error.
package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	attempt, known := attempts[os.Args[1]]
	if !known {
		fmt.Println("no such attempt:", os.Args[1])
		os.Exit(2)
	}
	err := attempt(os.Args[2:])
	if e, ok := err.(syscall.Errno); ok {
		fmt.Println(unix.ErrnoName(e))
		return
	}
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("ok")
}

// call makes a raw system call.
func call(nr uintptr, args ...uintptr) error {
	var a [6]uintptr
	copy(a[:], args)
	if _, _, e := syscall.RawSyscall6(nr, a[0], a[1], a[2], a[3], a[4], a[5]); e != 0 {
		return e
	}
	return nil
}

func text(s string) uintptr {
	p, err := unix.BytePtrFromString(s)
	if err != nil {
		panic(err)
	}
	return uintptr(unsafe.Pointer(p))
}

func number(s string) int {
	n, err := strconv.Atoi(s)
	if err != nil {
		panic(err)
	}
	return n
}

// errnoOf takes the number out of an error of package os.
func errnoOf(err error) error {
	for err != nil {
		if e, ok := err.(syscall.Errno); ok {
			return e
		}
		u, ok := err.(interface{ Unwrap() error })
		if !ok {
			return err
		}
		err = u.Unwrap()
	}
	return nil
}

var attempts = map[string]func(args []string) error{
	"euid": func([]string) error { return fmt.Errorf("%d", os.Geteuid()) },
	"mount": func(a []string) error { // TYPE TARGET
		return errnoOf(unix.Mount("none", a[1], a[0], 0, ""))
	},
	"bind":    func(a []string) error { return errnoOf(unix.Mount(a[0], a[1], "", unix.MS_BIND, "")) },
	"remount": func(a []string) error { return errnoOf(unix.Mount("", a[0], "", unix.MS_REMOUNT|unix.MS_BIND, "")) },
	"umount":  func(a []string) error { return errnoOf(unix.Unmount(a[0], unix.MNT_DETACH)) },
	"fsopen":  func([]string) error { return call(unix.SYS_FSOPEN, text("tmpfs"), 0) },
	"write": func(a []string) error { // FILE TEXT
		fd, err := unix.Open(a[0], unix.O_WRONLY, 0)
		if err != nil {
			return errnoOf(err)
		}
		_, err = unix.Write(fd, []byte(a[1]))
		return errnoOf(err)
	},
	"create": func(a []string) error { return errnoOf(os.WriteFile(a[0], nil, 0o600)) },
	"mkdir":  func(a []string) error { return errnoOf(os.Mkdir(a[0], 0o700)) },
	"read": func(a []string) error { // FILE: ok only if something is in it
		fd, err := unix.Open(a[0], unix.O_RDONLY|unix.O_NONBLOCK, 0)
		if err != nil {
			return errnoOf(err)
		}
		n, err := unix.Read(fd, make([]byte, 512))
		if err == nil && n == 0 {
			return fmt.Errorf("empty")
		}
		return errnoOf(err)
	},
	"mknod": func(a []string) error { // PATH b|c MAJOR MINOR
		kind := uint32(unix.S_IFBLK)
		if a[1] == "c" {
			kind = unix.S_IFCHR
		}
		return errnoOf(unix.Mknod(a[0], kind|0o600, int(unix.Mkdev(uint32(number(a[2])), uint32(number(a[3]))))))
	},
	"ptrace":  func(a []string) error { return call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, uintptr(number(a[0])), 0, 0) }, // which does not stop it
	"vmread":  func(a []string) error { return call(unix.SYS_PROCESS_VM_READV, uintptr(number(a[0])), 0, 0, 0, 0, 0) },
	"kill":    func(a []string) error { return errnoOf(unix.Kill(number(a[0]), 0)) },
	"unshare": func(a []string) error { return errnoOf(unix.Unshare(number(a[0]))) },
	"clone": func(a []string) error { // FLAGS: a child in new namespaces
		pid, _, e := syscall.RawSyscall6(unix.SYS_CLONE, uintptr(number(a[0]))|uintptr(unix.SIGCHLD), 0, 0, 0, 0, 0)
		if e != 0 {
			return e
		}
		if pid == 0 {
			syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
		}
		return nil
	},
	"clone3": func(a []string) error {
		args := [11]uint64{uint64(number(a[0])), 0, 0, 0, uint64(unix.SIGCHLD)}
		pid, _, e := syscall.RawSyscall(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), 0)
		if e != 0 {
			return e
		}
		if pid == 0 {
			syscall.RawSyscall(unix.SYS_EXIT, 0, 0, 0)
		}
		return nil
	},
	"setns": func(a []string) error {
		fd, err := unix.Open(a[0], unix.O_RDONLY, 0)
		if err != nil {
			return errnoOf(err)
		}
		return errnoOf(unix.Setns(fd, 0))
	},
	"keyctl": func([]string) error { return call(unix.SYS_KEYCTL, 0, ^uintptr(2), 1) }, // KEYCTL_GET_KEYRING_ID of the session
	"add_key": func([]string) error {
		return call(unix.SYS_ADD_KEY, text("user"), text("x"), text("y"), 1, ^uintptr(3))
	},
	"bpf":    func([]string) error { return call(unix.SYS_BPF, 0, 0, 0) },
	"perf":   func([]string) error { return call(unix.SYS_PERF_EVENT_OPEN, 0, 0, ^uintptr(0), ^uintptr(0), 0) },
	"module": func([]string) error { return call(unix.SYS_INIT_MODULE, text("x"), 1, text("")) },
	"finit": func([]string) error {
		return call(unix.SYS_FINIT_MODULE, 0, text(""), 0)
	},
	"kexec": func([]string) error { return call(unix.SYS_KEXEC_LOAD, 0, 0, 0, 0) },
	"reboot": func([]string) error {
		return call(unix.SYS_REBOOT, unix.LINUX_REBOOT_MAGIC1, unix.LINUX_REBOOT_MAGIC2, unix.LINUX_REBOOT_CMD_CAD_ON, 0)
	},
	"swapon":      func([]string) error { return call(unix.SYS_SWAPON, text("/x"), 0) },
	"settime":     func([]string) error { return errnoOf(unix.ClockSettime(unix.CLOCK_REALTIME, &unix.Timespec{Nsec: -1})) },
	"syslog":      func([]string) error { return call(unix.SYS_SYSLOG, 10, 0, 0) },
	"userfaultfd": func([]string) error { return call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC) },
	"io_uring":    func([]string) error { return call(unix.SYS_IO_URING_SETUP, 1, 0) },
	"acct":        func([]string) error { return call(unix.SYS_ACCT, 0) },
	"quotactl":    func([]string) error { return call(unix.SYS_QUOTACTL, 0, 0, 0, 0) },
	"project": func(a []string) error { // FS_IOC_FSSETXATTR, or another request, with a project of its own choice
		fd, err := unix.Open(a[1], unix.O_RDONLY|unix.O_CREAT, 0o600)
		if err != nil {
			return errnoOf(err)
		}
		attr := [7]uint32{3: 42}
		return call(unix.SYS_IOCTL, uintptr(fd), uintptr(number(a[0])), uintptr(unsafe.Pointer(&attr)))
	},
	"setattr": func(a []string) error { // file_setattr
		attr := [6]uint32{4: 42}
		return call(469, ^uintptr(99), text(a[0]), uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	},
	"pivot_root":  func([]string) error { return call(unix.SYS_PIVOT_ROOT, text("/"), text("/")) },
	"sethostname": func([]string) error { return errnoOf(unix.Sethostname([]byte("x"))) },
	"handle": func([]string) error { // open_by_handle_at of the root's inode (CVE-2014-3519 and the like)
		handle := [6]uint32{8, 1, 2, 0}
		fd, err := unix.Open("/", unix.O_RDONLY, 0)
		if err != nil {
			return errnoOf(err)
		}
		return call(unix.SYS_OPEN_BY_HANDLE_AT, uintptr(fd), uintptr(unsafe.Pointer(&handle)), 0)
	},
	"rawsocket": func(a []string) error { // FAMILY TYPE PROTOCOL
		_, err := unix.Socket(number(a[0]), number(a[1]), number(a[2]))
		return errnoOf(err)
	},
	"chroot_out": chrootOut,
	"overwrite":  overwrite,
	"fds":        leakedFiles,
	"exec":       func(a []string) error { return errnoOf(unix.Exec(a[0], a, os.Environ())) },
	"hold": func(a []string) error { // keeps running
		for {
			time.Sleep(time.Hour)
		}
	},
}

// chrootOut climbs out of a folder that it is chrooted into with an open descriptor outside, the old way out of chroot. Inside a
// container it ends at the container's root: ok means that a file of the node (its argument) was seen.
func chrootOut(a []string) error {
	if err := os.MkdirAll("/tmp/jail", 0o700); err != nil {
		return errnoOf(err)
	}
	if err := unix.Chroot("/tmp/jail"); err != nil {
		return errnoOf(err)
	}
	for range 64 {
		if err := unix.Chdir(".."); err != nil {
			return errnoOf(err)
		}
	}
	if err := unix.Chroot("."); err != nil {
		return errnoOf(err)
	}
	_, err := os.Stat(a[0])
	return errnoOf(err)
}

// overwrite tries to write to the program that entered the container, as it is seen in /proc (CVE-2019-5736): it looks at every
// process until the deadline for one that is the executor's.
func overwrite(a []string) error {
	result := fmt.Errorf("never seen")
	for end := time.Now().Add(time.Duration(number(a[0])) * time.Millisecond); time.Now().Before(end); {
		entries, err := os.ReadDir("/proc")
		if err != nil {
			return errnoOf(err)
		}
		for _, e := range entries {
			exe := "/proc/" + e.Name() + "/exe"
			target, err := os.Readlink(exe)
			if err != nil || !strings.Contains(target, "stowage-executor") {
				continue
			}
			fd, err := unix.Open(exe, unix.O_WRONLY, 0)
			if err == nil {
				_, err = unix.Write(fd, []byte("#!"))
			}
			if err == nil {
				return nil
			}
			result = fmt.Errorf("seen, %v", unix.ErrnoName(err.(syscall.Errno)))
		}
	}
	return result
}

// leakedFiles looks for descriptors beyond the first three (CVE-2024-21626): each would be a way out.
func leakedFiles([]string) error {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return errnoOf(err)
	}
	var left []string
	for _, e := range entries {
		target, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err != nil || number(e.Name()) < 3 || strings.HasPrefix(target, "anon_inode:") || strings.HasPrefix(target, "/proc/") || strings.HasPrefix(target, "/sys/fs/cgroup/") {
			continue // of this look, and of the Go runtime
		}
		left = append(left, e.Name()+" "+target)
	}
	if len(left) > 0 {
		return fmt.Errorf("%s", strings.Join(left, ", "))
	}
	return fmt.Errorf("none")
}
