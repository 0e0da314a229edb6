package runc

/*
#cgo CFLAGS: -O2 -Wall -fno-stack-protector
*/
import "C"

import (
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"

	_ "github.com/opencontainers/cgroups/devices" // device rules fail without it
	"github.com/opencontainers/runc/libcontainer"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // joins namespaces before the Go runtime starts
	"golang.org/x/sys/unix"
)

// Init does not return in a process that libcontainer started to build a container. Every program that imports this package calls
// it before anything else.
func Init() {
	if len(os.Args) > 1 && os.Args[1] == "init" {
		libcontainer.Init()
	}
}

// seals keep a program from being changed through /proc/PID/exe.
const seals = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE

// Seal executes the program again from a sealed memory file, as root in a mount namespace of its own. It returns nil where that is
// done already, so a program calls it at each start, after Init.
func Seal() error {
	exe, err := os.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("seal program: %w", err)
	}
	defer exe.Close()
	if got, err := unix.FcntlInt(exe.Fd(), unix.F_GET_SEALS, 0); err == nil && got&seals == seals {
		// A descriptor was executed: without this, ps shows its number.
		return os.WriteFile("/proc/self/comm", []byte("stowage-executor"), 0)
	}
	fd, err := unix.MemfdCreate("stowage-executor", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC|unix.MFD_EXEC)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate("stowage-executor", unix.MFD_ALLOW_SEALING|unix.MFD_CLOEXEC)
	}
	if err != nil {
		return fmt.Errorf("seal program: make memory file: %w", err)
	}
	mem := os.NewFile(uintptr(fd), "stowage-executor")
	defer mem.Close()
	for more := 1; more > 0; {
		if more, err = unix.Sendfile(fd, int(exe.Fd()), nil, 1<<30); err != nil {
			return fmt.Errorf("seal program: copy: %w", err)
		}
	}
	if err := mem.Chmod(0o511); err != nil {
		return fmt.Errorf("seal program: %w", err)
	}
	if _, err := unix.FcntlInt(mem.Fd(), unix.F_ADD_SEALS, seals); err != nil {
		return fmt.Errorf("seal program: %w", err)
	}
	// The namespace belongs to this thread, and so to what it executes.
	runtime.LockOSThread()
	if os.Geteuid() == 0 {
		if err := ownMounts(); err != nil {
			return err
		}
	}
	// One processor at a time is what an executor needs, and what builds a container fastest; those it executes take it over.
	if err := os.Setenv("GOMAXPROCS", "1"); err != nil {
		return err
	}
	err = unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), os.Args, os.Environ())
	return fmt.Errorf("execute sealed program: %w", err)
}

// ownMounts moves this thread into a mount namespace that still sees what the node mounts later (volumes), and shows the node nothing.
// For that the node's mounts have to be shared. Under systemd they are; elsewhere they are made so.
func ownMounts() error {
	if data, err := os.ReadFile("/proc/self/mountinfo"); err == nil && !rootShared(string(data)) {
		if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SHARED, ""); err != nil {
			return fmt.Errorf("share mounts of the node: %w", err)
		}
	}
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return fmt.Errorf("make mount namespace: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_SLAVE, ""); err != nil {
		return fmt.Errorf("detach mount namespace: %w", err)
	}
	return nil
}

// rootShared reports whether mountinfo, as proc_pid_mountinfo(5) describes it, shows a root whose new mounts others see.
func rootShared(mountinfo string) bool {
	shared := false
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) > 6 && fields[4] == "/" {
			shared = strings.HasPrefix(fields[6], "shared:") // the last one is on top
		}
	}
	return shared
}

// checkStatic refuses a program that needs a dynamic linker: it is executed inside containers, whose roots have another one or none.
func checkStatic() error {
	exe, err := elf.Open("/proc/self/exe")
	if err != nil {
		return fmt.Errorf("look at program: %w", err)
	}
	defer exe.Close()
	for _, p := range exe.Progs {
		if p.Type == elf.PT_INTERP {
			return errors.New("the executor must be linked statically: build it with -tags 'netgo osusergo' -ldflags '-extldflags=-static'")
		}
	}
	return nil
}
