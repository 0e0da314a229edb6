package executor

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// process is one process of the node by its pidfd: an identity that no other process can take over, and one that can be waited
// for without a thread. It need not be a child.
type process struct {
	pid   int
	start uint64
	file  *os.File
}

// openProcess opens the process pid. If start is not 0 the process must have started then, in ticks since boot.
func openProcess(pid int, start uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("open process %d: %w", pid, err)
	}
	stat, err := readStat(pid)
	if err == nil && start != 0 && stat.start != start {
		err = unix.ESRCH
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("identify process %d: %w", pid, err)
	}
	return &process{pid: pid, start: stat.start, file: os.NewFile(uintptr(fd), "pidfd")}, nil
}

// adoptChild opens a child that was just started. One that cannot be opened (no descriptors left) is killed and reaped.
func adoptChild(pid int) (*process, error) {
	p, err := openProcess(pid, 0)
	if err != nil {
		_ = unix.Kill(pid, unix.SIGKILL)
		for {
			if _, again := unix.Wait4(pid, nil, 0, nil); again != unix.EINTR {
				break
			}
		}
	}
	return p, err
}

// signal sends a signal; a process that is gone already is no error.
func (p *process) signal(sig unix.Signal) error {
	raw, err := p.file.SyscallConn()
	if err != nil {
		return err
	}
	var sent error
	// The file is closed only once the process is known to have ended.
	if raw.Control(func(fd uintptr) { sent = unix.PidfdSendSignal(int(fd), sig, nil, 0) }) != nil {
		return nil
	}
	if errors.Is(sent, unix.ESRCH) {
		return nil
	}
	return sent
}

// wait blocks until the process has ended, reaps it if it is a child, and says how it ended as far as anyone can know: a
// child by wait, the child of another by what the kernel still tells (while it is a zombie, or through the pidfd since Linux 6.15).
func (p *process) wait() Exit {
	status, known := unix.WaitStatus(0), false
	raw, err := p.file.SyscallConn()
	if err == nil {
		_ = raw.Read(func(fd uintptr) bool {
			if !ended(int(fd)) {
				return false
			}
			status, known = p.collect(int(fd))
			return true
		})
	}
	p.file.Close()
	if !known {
		return Exit{Code: -1, Unknown: true}
	}
	return exitOf(status)
}

func exitOf(status unix.WaitStatus) Exit {
	if status.Signaled() {
		sig := int(status.Signal())
		return Exit{Code: 128 + sig, Signal: sig}
	}
	return Exit{Code: status.ExitStatus()}
}

func ended(fd int) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}

func (p *process) collect(fd int) (unix.WaitStatus, bool) {
	var status unix.WaitStatus
	for {
		pid, err := unix.Wait4(p.pid, &status, 0, nil)
		if pid == p.pid {
			return status, true
		}
		if err != unix.EINTR {
			break
		}
	}
	if stat, err := readStat(p.pid); err == nil && stat.start == p.start && stat.state == 'Z' && stat.exitKnown {
		return unix.WaitStatus(stat.exit), true
	}
	return pidfdExit(fd)
}

// pidfdInfo is struct pidfd_info of linux/pidfd.h, version 0.
type pidfdInfo struct {
	mask     uint64
	cgroupID uint64
	ids      [11]uint32
	exitCode int32
}

const (
	pidfdInfoExit = 1 << 3
	pidfdGetInfo  = 3<<30 | uint(unsafe.Sizeof(pidfdInfo{}))<<16 | 0xff<<8 | 11
)

// pidfdExit asks the kernel for the status of a process that somebody else reaped.
func pidfdExit(fd int) (unix.WaitStatus, bool) {
	info := pidfdInfo{mask: pidfdInfoExit}
	_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), uintptr(pidfdGetInfo), uintptr(unsafe.Pointer(&info)))
	if errno != 0 || info.mask&pidfdInfoExit == 0 {
		return 0, false
	}
	return unix.WaitStatus(info.exitCode), true
}

// procStat is the part of /proc/PID/stat that tells processes apart.
type procStat struct {
	state     byte
	session   int
	start     uint64
	exit      uint32
	exitKnown bool
}

func readStat(pid int) (procStat, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(data)
}

// parseStat reads a line as proc_pid_stat(5) describes it. The name in parentheses may hold anything, parentheses included.
func parseStat(data []byte) (procStat, error) {
	end := bytes.LastIndexByte(data, ')')
	if end < 0 {
		return procStat{}, errors.New("parse stat: no process name")
	}
	fields := strings.Fields(string(data[end+1:]))
	if len(fields) < 20 || len(fields[0]) != 1 {
		return procStat{}, errors.New("parse stat: too few fields")
	}
	stat := procStat{state: fields[0][0]}
	var err error
	if stat.session, err = strconv.Atoi(fields[3]); err != nil {
		return procStat{}, fmt.Errorf("parse stat: %w", err)
	}
	if stat.start, err = strconv.ParseUint(fields[19], 10, 64); err != nil {
		return procStat{}, fmt.Errorf("parse stat: %w", err)
	}
	if len(fields) >= 50 {
		code, err := strconv.ParseUint(fields[49], 10, 32)
		stat.exit, stat.exitKnown = uint32(code), err == nil
	}
	return stat, nil
}

// bootID names the boot of this node.
var bootID = sync.OnceValue(func() string {
	data, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "unknown"
	}
	return strings.TrimSpace(string(data))
})

// isFull reports whether an error means that there is no room left.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
