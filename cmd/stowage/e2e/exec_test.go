package e2e

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// command is the command line as a person would call it, ready to be started.
func (c *cluster) command(ctx context.Context, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, binaries+"/stowage", args...)
	cmd.Dir = c.repo
	cmd.Env = append(os.Environ(), "STOWAGE_CREDENTIALS="+c.dir+"/master/credentials.json", "NO_COLOR=1", "TERM=xterm-256color")
	return cmd
}

// typist is a person at a terminal.
type typist struct {
	c    *cluster
	pty  *os.File
	mu   sync.Mutex
	seen bytes.Buffer
}

// terminal starts a command on a terminal of its own, of 24 rows and 80 columns.
func (c *cluster) terminal(cmd *exec.Cmd) *typist {
	c.t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	p := &typist{c: c, pty: pty}
	if err := unix.IoctlSetPointerInt(int(pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		c.t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		c.t.Fatal(err)
	}
	p.size(24, 80)
	tty, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer tty.Close()
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		b := make([]byte, 4096)
		for {
			n, err := pty.Read(b)
			p.mu.Lock()
			p.seen.Write(b[:n])
			p.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	c.t.Cleanup(func() { pty.Close() })
	return p
}

func (p *typist) size(rows, columns uint16) {
	p.c.t.Helper()
	if err := unix.IoctlSetWinsize(int(p.pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Row: rows, Col: columns}); err != nil {
		p.c.t.Fatal(err)
	}
}

func (p *typist) keys(text string) {
	p.c.t.Helper()
	if _, err := p.pty.WriteString(text); err != nil {
		p.c.t.Fatal(err)
	}
}

// sees waits for a text on the screen; what stands before it is forgotten.
func (p *typist) sees(text string) {
	p.c.t.Helper()
	p.c.eventually(fmt.Sprintf("%q on the terminal", text), func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		at := strings.Index(p.seen.String(), text)
		if at < 0 {
			return fmt.Errorf("there is %q", p.seen.String())
		}
		p.seen.Next(at + len(text))
		return nil
	})
}

// exitOf waits for a command's end.
func exitOf(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	err := cmd.Wait()
	var ended *exec.ExitError
	if err != nil && !errors.As(err, &ended) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode()
}

// A shell in a task is like one here: it has the terminal's kind and size, follows the size, Ctrl-C ends what runs in it and not the shell,
// Ctrl-D ends the shell, and its exit code is the command's. Afterwards the terminal is as it was.
func TestAShellInATask(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, ""))
	c.healthy(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := c.command(ctx, "exec", "-it", "shop/web[0]", "--", "sh")
	p := c.terminal(cmd)
	before, err := unix.IoctlGetTermios(int(p.pty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	p.keys("PS1='rea''dy> '\r")
	p.sees("ready> ")
	p.keys("stty size; echo $TERM; tty\r")
	p.sees("24 80\r\nxterm-256color\r\n/dev/pts/")
	p.sees("ready> ")
	p.size(50, 132)
	c.eventually("the new size", func() error {
		p.keys("stty size\r")
		p.mu.Lock()
		defer p.mu.Unlock()
		if !strings.Contains(p.seen.String(), "50 132") {
			return errors.New("not yet")
		}
		return nil
	})
	p.keys("echo a''b; sleep 1000; echo never\r")
	p.sees("ab\r\n")
	p.keys("\x03")
	p.sees("ready> ")
	p.keys("sh -c 'exit 6'\rexit\r")
	if code := exitOf(t, cmd); code != 6 {
		t.Errorf("exit code %d", code)
	}
	after, err := unix.IoctlGetTermios(int(p.pty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is left as %+v, not as it was, %+v (%v)", after, before, err)
	}
	// Without a terminal here, -t says so.
	if _, err := c.try("exec", "-t", "shop/web[0]", "--", "true"); err == nil || !strings.Contains(err.Error(), "-t needs a terminal") {
		t.Errorf("-t without a terminal: %v", err)
	}
	cmd = c.command(ctx, "exec", "-it", "shop/web[0]", "--", "cat")
	p = c.terminal(cmd)
	p.keys("echoed\r")
	p.sees("echoed\r\nechoed\r\n")
	p.keys("\x04")
	if code := exitOf(t, cmd); code != 0 {
		t.Errorf("cat that came to the end of its input ends with %d", code)
	}
}

// throughBytes is how much goes through a command and back.
func throughBytes() int64 {
	if testing.Short() {
		return 8 << 20
	}
	return 100 << 20
}

// What goes through pipes is not changed, whatever bytes it has; both outputs are told apart; the input's end arrives; Ctrl-C goes to the command.
func TestPipesThroughATask(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, ""))
	c.healthy(1)
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	in, out := sha256.New(), sha256.New()
	source := rand.NewChaCha8([32]byte{1})
	cmd := c.command(ctx, "exec", "-i", "shop/web[0]", "--", "sh", "-c", "tee /dev/stderr; exit 3")
	var errs counter
	cmd.Stdin, cmd.Stdout, cmd.Stderr = io.TeeReader(io.LimitReader(source, throughBytes()), in), out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	code := exitOf(t, cmd)
	if code != 3 || !bytes.Equal(in.Sum(nil), out.Sum(nil)) || int64(errs) != throughBytes() {
		t.Errorf("exit %d; the same: %v; %d bytes on standard error", code, bytes.Equal(in.Sum(nil), out.Sum(nil)), errs)
	}
	cmd = c.command(ctx, "exec", "shop/web[0]", "--", "sh", "-c", "trap 'echo caught; exit 9' INT; echo on; while :; do sleep 1; done")
	output, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 3)
	if _, err := io.ReadFull(output, b); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	rest, err := io.ReadAll(output)
	if err != nil || string(rest) != "caught\n" {
		t.Errorf("%q, %v", rest, err)
	}
	if code := exitOf(t, cmd); code != 9 {
		t.Errorf("exit code %d", code)
	}
}

type counter int64

func (n *counter) Write(p []byte) (int, error) { *n += counter(len(p)); return len(p), nil }
