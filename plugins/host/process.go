package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// How long a plugin gets to end by itself when its pipe has ended, and its output to be read when it has.
const (
	exitGrace  = 500 * time.Millisecond
	drainGrace = time.Second
)

// process is one run of a plugin. It is the runner that go-plugin talks through.
type process struct {
	name    string
	args    []string
	env     []string // set before Start
	dir     string
	program *program
	words   *words
	started func(pid int)

	alive  *os.File // ends the plugin's standard input when closed
	stdout *io.PipeReader
	hello  *io.PipeWriter // the first line of standard output, for the hand-shake
	stderr *io.PipeReader // silent until the end: words reads the real one
	silent *io.PipeWriter
	exited chan struct{} // closed when the process is gone, its group killed and its output read

	mu     sync.Mutex
	begun  bool
	pid    int
	doomed bool   // to be killed as soon as it has started
	gone   bool   // reaped: pid means somebody else now
	first  string // the first line of standard output
	exit   string // how it ended
}

func newProcess(name string, args []string, dir string, p *program, log *slog.Logger, started func(pid int)) *process {
	r := &process{name: name, args: args, dir: dir, program: p, words: &words{log: log}, started: started, exited: make(chan struct{})}
	r.stdout, r.hello = io.Pipe()
	r.stderr, r.silent = io.Pipe()
	return r
}

// Start starts the process and returns when it runs.
func (p *process) Start(context.Context) error {
	p.mu.Lock()
	p.begun = true
	p.mu.Unlock()
	started := make(chan error, 1)
	go p.live(started)
	return <-started
}

// live is the process's whole life. The kernel sends the parent-death signal when the thread that forked ends, so this
// goroutine keeps its thread to itself until the process is gone, and then lets both end.
func (p *process) live(started chan<- error) {
	runtime.LockOSThread()
	defer close(p.exited)
	defer p.silent.Close()
	defer p.hello.Close()
	cmd, pipes, err := p.spawn()
	if err != nil {
		p.mu.Lock()
		p.gone, p.exit = true, err.Error()
		p.mu.Unlock()
		started <- err
		return
	}
	var readers sync.WaitGroup
	readers.Go(func() { p.readStdout(pipes.stdout) })
	readers.Go(func() { p.words.read(pipes.stderr, slog.LevelInfo) })
	p.started(cmd.Process.Pid)
	started <- nil

	waitNoReap(cmd.Process.Pid)
	p.mu.Lock()
	_ = unix.Kill(-cmd.Process.Pid, unix.SIGKILL) // what the plugin left of its group
	err = cmd.Wait()
	p.gone, p.exit = true, describeExit(cmd.ProcessState, err)
	p.mu.Unlock()
	// A descendant that left the group may still hold the pipes.
	deadline := time.Now().Add(drainGrace)
	_ = pipes.stdout.SetReadDeadline(deadline)
	_ = pipes.stderr.SetReadDeadline(deadline)
	readers.Wait()
	pipes.stdout.Close()
	pipes.stderr.Close()
	p.alive.Close()
}

type ends struct{ stdout, stderr *os.File }

func (p *process) spawn() (cmd *exec.Cmd, mine ends, err error) {
	var opened [6]*os.File
	for i := 0; i < 6; i += 2 {
		r, w, err := os.Pipe()
		if err != nil {
			for _, f := range opened[:i] {
				f.Close()
			}
			return nil, mine, fmt.Errorf("start plugin: %w", err)
		}
		opened[i], opened[i+1] = r, w
	}
	theirs := []*os.File{opened[0], opened[3], opened[5]}
	cmd, err = p.exec(theirs)
	for _, f := range theirs {
		f.Close()
	}
	if err != nil {
		for _, f := range []*os.File{opened[1], opened[2], opened[4]} {
			f.Close()
		}
		return nil, mine, fmt.Errorf("start plugin: %w", err)
	}
	p.mu.Lock()
	p.pid, p.alive = cmd.Process.Pid, opened[1]
	if p.doomed {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	p.mu.Unlock()
	return cmd, ends{stdout: opened[2], stderr: opened[4]}, nil
}

// exec starts the sealed program, which the child finds as its descriptor 3. A child that another goroutine is just
// forking may hold the writable descriptor for a moment still, hence the second and third attempt. Where the host may,
// the plugin gets a process namespace of its own: the kernel then ends whatever it has started together with it, even
// what has left its group, and even when the host is killed.
func (p *process) exec(stdio []*os.File) (*exec.Cmd, error) {
	namespace := uintptr(unix.CLONE_NEWPID)
	for attempt := 0; ; attempt++ {
		cmd := &exec.Cmd{
			Path: "/proc/self/fd/3", Args: append([]string{p.name}, p.args...), Env: p.env, Dir: p.dir,
			Stdin: stdio[0], Stdout: stdio[1], Stderr: stdio[2], ExtraFiles: []*os.File{p.program.file},
			SysProcAttr: &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL, Cloneflags: namespace},
		}
		err := cmd.Start()
		if err != nil && namespace != 0 && !errors.Is(err, unix.ETXTBSY) { // not allowed here
			namespace = 0
			continue
		}
		if err == nil || attempt == 20 || !errors.Is(err, unix.ETXTBSY) {
			return cmd, err
		}
		time.Sleep(time.Duration(attempt+1) * time.Millisecond)
	}
}

// readStdout keeps the first line, which is the hand-shake's, and takes the others as log.
func (p *process) readStdout(r io.Reader) {
	b := bufio.NewReaderSize(r, MaxLine)
	line, _ := b.ReadSlice('\n')
	text := strings.TrimSpace(string(line))
	p.mu.Lock()
	p.first = text
	p.mu.Unlock()
	if text != "" {
		_, _ = io.WriteString(p.hello, text+"\n")
	}
	p.words.read(b, slog.LevelInfo)
}

// waitNoReap returns when the process has ended and leaves it a zombie, so that its number, and its group's, still
// belong to it.
func waitNoReap(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

func describeExit(s *os.ProcessState, err error) string {
	if s == nil {
		return err.Error()
	}
	if w, ok := s.Sys().(syscall.WaitStatus); ok && w.Signaled() {
		return "killed by " + unix.SignalName(w.Signal())
	}
	return "exit status " + strconv.Itoa(s.ExitCode())
}

// ended says how the process ended, or "" while it runs, and what it printed first.
func (p *process) ended() (exit, first string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.exit, p.first
}

// Wait returns when the process is gone.
func (p *process) Wait(context.Context) error {
	<-p.exited
	return nil
}

// Kill asks the plugin to end, by ending its standard input, and soon kills its whole group. It returns when the
// process is gone.
func (p *process) Kill(context.Context) error {
	p.mu.Lock()
	alive, begun := p.alive, p.begun
	p.mu.Unlock()
	if !begun {
		return nil
	}
	if alive != nil {
		alive.Close()
	}
	grace := time.NewTimer(exitGrace)
	defer grace.Stop()
	select {
	case <-p.exited:
		return nil
	case <-grace.C:
	}
	p.killNow()
	<-p.exited
	return nil
}

// killNow kills the whole group and does not wait.
func (p *process) killNow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.doomed = true
	if p.pid != 0 && !p.gone {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
}

// Diagnose returns "": the host explains failures itself.
func (p *process) Diagnose(context.Context) string { return "" }

// Stdout returns the line of the hand-shake and nothing else.
func (p *process) Stdout() io.ReadCloser { return p.stdout }

// Stderr returns nothing: the real one is read here.
func (p *process) Stderr() io.ReadCloser { return p.stderr }

// Name returns the plugin's name.
func (p *process) Name() string { return p.name }

// ID returns the process's number, or "" before there is one.
func (p *process) ID() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.pid == 0 {
		return ""
	}
	return strconv.Itoa(p.pid)
}

// PluginToHost accepts Unix sockets in the plugin's own folder only.
func (p *process) PluginToHost(network, address string) (string, string, error) {
	if network != "unix" || !strings.HasPrefix(address, p.dir+"/") || strings.Contains(address, "..") {
		return "", "", fmt.Errorf("the plugin listens on %s %s, it has to be a Unix socket in its folder", network, address)
	}
	return network, address, nil
}

// HostToPlugin leaves addresses as they are: both sides see the same file system.
func (p *process) HostToPlugin(network, address string) (string, string, error) {
	return network, address, nil
}
