package artifact

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// handed are the variables of the agent that a helper gets: how to reach the network. Nothing else of the agent is its business.
var handed = []string{"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR"}

// maxComplaint bounds what is kept of what a helper says on its standard error, in bytes.
const maxComplaint = 4 << 10

// run has a helper do what is asked, with a file, and hands what it writes to take, which reads to the end or fails. It returns the last
// that the helper said; the helper is gone then.
func run(ctx context.Context, r *request, file *os.File, take func(io.Reader) error, tell func(report)) (report, error) {
	asked, err := json.Marshal(r)
	if err != nil {
		return report{}, fmt.Errorf("ask helper: %w", err)
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	reports, said, err := os.Pipe()
	if err != nil {
		return report{}, fmt.Errorf("start helper: %w", err)
	}
	defer reports.Close()
	defer said.Close()
	content, written, err := os.Pipe()
	if err != nil {
		return report{}, fmt.Errorf("start helper: %w", err)
	}
	defer content.Close()
	defer written.Close()

	var complaint head
	cmd := exec.CommandContext(ctx, "/proc/self/exe")
	cmd.Args = []string{helperName}
	cmd.Env, cmd.Dir = environment(os.Environ()), "/"
	bounded := make(chan struct{}) // closed when its memory is
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &later{bounded, bytes.NewReader(asked)}, written, &complaint
	cmd.ExtraFiles = []*os.File{file, said} // fileFD and reportFD
	id := users.take()
	cmd.SysProcAttr = confined(r.Deed, id)
	ended := make(chan error, 1)
	started := make(chan error, 1)
	grouped := false
	go func() {
		// The thread that starts a helper is its parent: the helper dies with it. It has no other work after this, and ends with the goroutine.
		runtime.LockOSThread()
		err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
		if err == nil {
			err = cmd.Start()
		}
		if err == nil {
			grouped = helpers.enter(cmd.Process.Pid)
			close(bounded)
		}
		started <- err
		if err == nil {
			err = cmd.Wait()
			helpers.leave()
			users.give(id)
			ended <- err
		}
	}()
	if err := <-started; err != nil {
		users.give(id)
		return report{}, fmt.Errorf("start helper: %w", err)
	}
	said.Close()
	written.Close()
	last := make(chan report, 1)
	go func() { last <- listen(reports, tell) }()
	taken := take(content)
	if taken != nil {
		cancel() // what it still has to say is of no use
	}
	content.Close()
	err = <-ended
	said.Close()
	final := <-last
	switch {
	case ctx.Err() != nil && context.Cause(ctx) != context.Canceled:
		return final, context.Cause(ctx)
	case final.Err != "":
		return final, errors.New(final.Err)
	case taken != nil:
		return final, taken
	case grouped && complaint.line() == "" && killed(err):
		return final, fmt.Errorf("helper ended: %w: the helpers of a node have %s of memory together", err, rough(groupMemory))
	case err != nil:
		return final, fmt.Errorf("helper ended: %w: %s", err, complaint.line())
	case !final.Done:
		return final, fmt.Errorf("helper ended without a word: %s", complaint.line())
	}
	return final, nil
}

// killed reports whether a process was ended as the kernel does where memory is short.
func killed(err error) bool {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return false
	}
	status, ok := exit.Sys().(syscall.WaitStatus)
	return ok && status.Signaled() && status.Signal() == syscall.SIGKILL
}

// later is read when a channel is closed.
type later struct {
	when <-chan struct{}
	io.Reader
}

// Read waits.
func (l *later) Read(p []byte) (int, error) {
	<-l.when
	return l.Reader.Read(p)
}

// listen passes reports on and returns the last.
func listen(from io.Reader, tell func(report)) (last report) {
	d := json.NewDecoder(io.LimitReader(from, 64<<20))
	for {
		var one report
		if err := d.Decode(&one); err != nil {
			_, _ = io.Copy(io.Discard, from)
			return last
		}
		if last = one; tell != nil && !one.Done {
			tell(one)
		}
	}
}

// environment are the variables of a helper.
func environment(own []string) []string {
	env := []string{"HOME=/", "PATH=/usr/bin:/bin"}
	for _, e := range own {
		for _, name := range handed {
			if strings.HasPrefix(e, name+"=") {
				env = append(env, e)
			}
		}
	}
	return env
}

// users are the users that helpers of this process have.
var users = &ids{taken: map[uint32]bool{}}

// ids gives each helper a user of its own.
type ids struct {
	mu    sync.Mutex
	next  uint32
	taken map[uint32]bool
}

// take returns a user that no other helper has. There are many more than helpers at once.
func (u *ids) take() uint32 {
	u.mu.Lock()
	defer u.mu.Unlock()
	for {
		id := helperID + u.next%helperIDs
		if u.next++; !u.taken[id] {
			u.taken[id] = true
			return id
		}
	}
}

// give takes one back.
func (u *ids) give(id uint32) {
	u.mu.Lock()
	defer u.mu.Unlock()
	delete(u.taken, id)
}

// confined is what a helper runs as. An agent that is not root has no other user to give.
func confined(deed string, id uint32) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setsid: true}
	if !root() {
		return attr
	}
	attr.Credential = &syscall.Credential{Uid: id, Gid: id}
	attr.Cloneflags = syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC
	if deed == deedUnpack {
		attr.Cloneflags |= syscall.CLONE_NEWNET
	}
	return attr
}

// root reports whether this process may take any user: it is root, and of no user namespace with a few users only.
func root() bool {
	if os.Geteuid() != 0 {
		return false
	}
	data, err := os.ReadFile("/proc/self/uid_map")
	var inside, outside, count uint64
	_, scan := fmt.Sscan(string(data), &inside, &outside, &count)
	return err != nil || scan != nil || inside == 0 && count >= helperID+helperIDs
}

// head keeps the beginning of what is written to it: a program that falls says why before it says where.
type head struct{ text []byte }

// Write keeps of p as much as there is room for.
func (h *head) Write(p []byte) (int, error) {
	h.text = append(h.text, p[:min(len(p), maxComplaint-len(h.text))]...)
	return len(p), nil
}

// line is the first line.
func (h *head) line() string {
	line, _, _ := strings.Cut(strings.TrimSpace(string(h.text)), "\n")
	return line
}
