package executor

import (
	"bufio"
	"bytes"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// signal reaches the first process of a container; the kill signal, through its pid namespace, all of them.
func (s *Server) signal(id string, sig unix.Signal) error {
	if sig <= 0 || sig > maxSignal {
		return Errorf(CodeInvalid, "signal %d does not exist", sig)
	}
	t, err := s.find(id)
	if err != nil {
		return err
	}
	state := s.state(t)
	if state == StateExited || t.proc == nil {
		return nil
	}
	// A parked container has not met its command yet: no handler of its own can exist.
	if terminates(sig) && (state == StateCreated || t.proc.unprepared(sig)) {
		s.mu.Lock()
		if t.ending == 0 {
			t.ending = sig
		}
		s.mu.Unlock()
		sig = unix.SIGKILL
	}
	return t.proc.signal(sig)
}

// maxSignal is the last real-time signal.
const maxSignal = 64

// terminates reports whether the default action of a signal, as signal(7) lists them, ends the process. SIGKILL does so anyway.
func terminates(sig unix.Signal) bool {
	switch sig {
	case unix.SIGCHLD, unix.SIGCONT, unix.SIGURG, unix.SIGWINCH, // nothing
		unix.SIGSTOP, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, // stop
		unix.SIGKILL:
		return false
	}
	return true
}

// unprepared reports whether a process is the first of a pid namespace and leaves a signal to its default action.
func (p *process) unprepared(sig unix.Signal) bool {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/status")
	return err == nil && leavesToDefault(data, sig)
}

// leavesToDefault reads a file as proc_pid_status(5) describes it.
func leavesToDefault(status []byte, sig unix.Signal) bool {
	first, masks := false, 0
	lines := bufio.NewScanner(bytes.NewReader(status))
	for lines.Scan() {
		name, value, _ := strings.Cut(lines.Text(), ":")
		switch name {
		case "NSpid":
			pids := strings.Fields(value)
			first = len(pids) > 1 && pids[len(pids)-1] == "1"
		case "SigBlk", "SigIgn", "SigCgt":
			mask, err := strconv.ParseUint(strings.TrimSpace(value), 16, 64)
			if err != nil || mask&(1<<(sig-1)) != 0 {
				return false
			}
			masks++
		}
	}
	return first && masks == 3
}

// asked turns the end of a container that was killed to carry out the default action of a signal into the end by that signal.
func asked(exit Exit, sig unix.Signal) Exit {
	if sig == 0 || exit.Signal != int(unix.SIGKILL) {
		return exit
	}
	return Exit{Code: 128 + int(sig), Signal: int(sig)}
}
