package runc

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// libcontainer starts a process in three stages, and each is a child of the thread that started the first. It reaps them when all goes
// well. When the container ends in between, it forgets those that it has not heard of, and a forgotten stage inside the container
// is worse than a zombie: the kernel keeps the container's first process until everyone in its pid namespace is reaped.
//
// So a start happens on a thread that has no other children. The kernel can tell them apart from those of other threads, and what is left of
// a start is reaped without knowing its pids, and without touching what anyone else waits for.

const (
	// reapTime bounds the wait for the stages of a start that failed: they end by themselves once the first is gone. Those that take
	// longer are reaped when they do.
	reapTime = 2 * time.Second
	// threadTime bounds the wait for the end of the thread that started a container.
	threadTime = time.Second
)

// born is what became of a start.
type born struct {
	pid    int
	err    error
	thread int
}

// startInit runs the start of a container's first process, on a thread that ends. Before the command is executed, whoever releases the
// container calls awaitThread: a process that asks for a signal at the end of its parent gets it at the end of the thread that is its parent.
func startInit(start func() (int, error)) (pid, thread int, err error) {
	got := onThread(start, nil)
	return got.pid, got.thread, got.err
}

// awaitThread waits for the end of a thread, which is a matter of microseconds.
func awaitThread(thread int) {
	for deadline := time.Now().Add(threadTime); unix.Tgkill(unix.Getpid(), thread, 0) == nil && time.Now().Before(deadline); {
		time.Sleep(50 * time.Microsecond)
	}
}

// startMore runs the start of a process in a container, and keeps its thread until that process has ended, for the reason above.
func startMore(start func() (int, error)) (int, error) {
	got := onThread(start, awaitEnd)
	return got.pid, got.err
}

// awaitEnd waits for the end of a child and leaves it to be reaped.
func awaitEnd(pid int) {
	var info siginfo
	for info.wait(unix.P_PID, pid, unix.WEXITED|unix.WNOWAIT) == unix.EINTR {
	}
}

// onThread runs start on a thread without children. If it succeeds, the thread lives until hold returns, or, without hold, ends at once.
func onThread(start func() (int, error), hold func(pid int)) born {
	result := make(chan born, 1)
	go func() {
		runtime.LockOSThread()
		// The kernel gives the children of a thread that has ended to the first one, at any time, so that one is never used. Others may have
		// children whose end nobody has taken note of yet. While this thread is locked, the next attempt gets another.
		if unix.Gettid() == unix.Getpid() || hasChildren() {
			result <- onThread(start, hold)
			runtime.UnlockOSThread()
			return
		}
		got := born{thread: unix.Gettid()}
		got.pid, got.err = start()
		if got.err == nil {
			reapBut(got.pid)
			result <- got
			if hold == nil {
				return // locked: that ends the thread
			}
			hold(got.pid)
			runtime.UnlockOSThread()
			return
		}
		giveUp := time.AfterFunc(reapTime, func() { result <- got })
		reapAll()
		if giveUp.Stop() {
			result <- got
		}
		runtime.UnlockOSThread()
	}()
	return <-result
}

// siginfo is the head of siginfo_t as waitid fills it.
type siginfo struct {
	unix.Siginfo
}

func (i *siginfo) wait(kind, id, options int) error {
	return unix.Waitid(kind, id, &i.Siginfo, options|unix.WNOTHREAD, nil)
}

// pid is 0 if nobody was waited for.
func (i *siginfo) pid() int {
	const offset = 4 * unsafe.Sizeof(int32(0)) // signal, errno and code, aligned
	return int(*(*int32)(unsafe.Add(unsafe.Pointer(i), offset)))
}

// hasChildren reports whether this thread has children, living or dead.
func hasChildren() bool {
	var info siginfo
	return info.wait(unix.P_ALL, 0, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG) != unix.ECHILD
}

// reapBut reaps dead children of this thread, up to one that others wait for. They die in the order in which they were made.
func reapBut(pid int) {
	for {
		var info siginfo
		if info.wait(unix.P_ALL, 0, unix.WEXITED|unix.WNOWAIT|unix.WNOHANG) != nil || info.pid() == 0 || info.pid() == pid {
			return
		}
		_, _ = unix.Wait4(info.pid(), nil, 0, nil)
	}
}

// reapAll waits for every child of this thread.
func reapAll() {
	for {
		if _, err := unix.Wait4(-1, nil, unix.WALL|unix.WNOTHREAD, nil); err == unix.ECHILD {
			return
		}
	}
}
