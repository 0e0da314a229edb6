package executor

import (
	"context"
	"encoding/json"
	"net"
	"os"
	"sync"
	"time"

	"github.com/stowage/stowage/spec/wire/credit"
	"github.com/stowage/stowage/spec/wire/peer"
	"golang.org/x/sys/unix"
)

// execDrainTime bounds the wait for output after an exec'd process has ended: a process that it left in the background may hold
// the other end for ever.
const execDrainTime = 250 * time.Millisecond

// session is one process that a client is attached to.
type session struct {
	conn  net.Conn
	write sync.Mutex
	stdin *os.File
	term  *os.File
	group *group
	input *credit.Queue // for stdin
}

// frames is an io.Writer that sends what it is given as frames of one kind.
type frames struct {
	session *session
	kind    kind
}

func (f frames) Write(p []byte) (int, error) {
	f.session.write.Lock()
	defer f.session.write.Unlock()
	if err := writeFrame(f.session.conn, f.kind, p); err != nil {
		return 0, err
	}
	return len(p), nil
}

// exec runs a process in a container with its streams on the connection. When the client goes, the process is hung up.
func (s *Server) exec(ctx context.Context, conn *net.UnixConn, c call) (answer, error) {
	if c.Exec == nil {
		return answer{}, Errorf(CodeInvalid, "no exec spec given")
	}
	if err := c.Exec.Validate(); err != nil {
		return answer{}, Errorf(CodeInvalid, "exec in %q: %v", c.ID, err)
	}
	t, err := s.find(c.ID)
	if err != nil {
		return answer{}, err
	}
	if state := s.state(t); state != StateRunning {
		return answer{}, Errorf(CodeState, "container %q is %s, not running", c.ID, state)
	}
	spec, err := s.store.spec(c.ID)
	if err != nil {
		return answer{}, err
	}
	ses := &session{conn: conn, input: credit.NewQueue()}
	proc, outputs, err := s.launch(ses, spec, c.Exec)
	if err != nil {
		return answer{}, err
	}
	ses.group = groupOf(proc)
	if err := writeJSON(conn, kindStarted, credit.Window); err != nil {
		ses.group.kill()
	}
	var pumps sync.WaitGroup
	for i, out := range outputs {
		pumps.Go(func() { pump(out, frames{ses, kindStdout + kind(i)}) })
	}
	s.work.Go(ses.readInput)
	var feed sync.WaitGroup
	feed.Go(ses.feed)
	var hangUps sync.WaitGroup
	hangUp := sync.OnceFunc(func() { hangUps.Go(func() { ses.group.hangUp(ctx) }) })
	client := peer.Of(conn)
	var watch sync.WaitGroup
	watch.Go(func() {
		if client.Gone() {
			hangUp()
		}
	})
	detach := context.AfterFunc(ctx, hangUp)
	exit := proc.wait()
	client.Close()
	watch.Wait()
	detach()
	hangUps.Wait()
	timer := time.AfterFunc(execDrainTime, func() {
		for _, out := range outputs {
			out.SetReadDeadline(time.Unix(1, 0))
		}
	})
	pumps.Wait()
	timer.Stop()
	for _, out := range append(outputs, ses.stdin) { // a process in the background may hold the other end of the input too
		out.Close()
	}
	ses.input.Close()
	feed.Wait()
	return answer{Exit: &exit}, nil
}

// launch starts the process and returns the ends of its streams that are ours.
func (s *Server) launch(ses *session, spec *Spec, e *ExecSpec) (*process, []*os.File, error) {
	if e.Terminal {
		pid, term, err := s.runtime.Exec(spec, e, Stdio{})
		if err != nil {
			return nil, nil, err
		}
		proc, err := adoptChild(pid)
		if err != nil {
			term.Close()
			return nil, nil, err
		}
		ses.term, ses.stdin = term, term
		return proc, []*os.File{term}, nil
	}
	var ours, theirs []*os.File
	closeAll := func(files []*os.File) {
		for _, f := range files {
			f.Close()
		}
	}
	for range 3 {
		r, w, err := os.Pipe()
		if err != nil {
			closeAll(append(ours, theirs...))
			return nil, nil, err
		}
		ours, theirs = append(ours, r), append(theirs, w)
	}
	// The first pipe is stdin: there it is the other way round.
	ours[0], theirs[0] = theirs[0], ours[0]
	pid, _, err := s.runtime.Exec(spec, e, Stdio{In: theirs[0], Out: theirs[1], Err: theirs[2]})
	closeAll(theirs)
	if err != nil {
		closeAll(ours)
		return nil, nil, err
	}
	proc, err := adoptChild(pid)
	if err != nil {
		closeAll(ours)
		return nil, nil, err
	}
	ses.stdin = ours[0]
	return proc, ours[1:], nil
}

// feed gives the process its input, as fast as it reads, and tells the client, until either has ended.
func (ses *session) feed() {
	defer func() {
		if ses.term == nil {
			ses.stdin.Close()
		}
	}()
	for {
		p, ok := ses.input.Get()
		if !ok {
			return
		}
		// A process that has closed its stdin does not care.
		_, _ = ses.stdin.Write(p)
		ses.input.Done(len(p))
		ses.write.Lock()
		_ = writeJSON(ses.conn, kindTaken, len(p))
		ses.write.Unlock()
	}
}

// readInput takes what the client sends until either has ended. Input waits in a queue, so that a signal passes by what the process does not read.
func (ses *session) readInput() {
	defer ses.input.End()
	for {
		k, payload, err := readFrame(ses.conn)
		if err != nil {
			return
		}
		switch k {
		case kindStdin:
			ses.input.Put(payload)
		case kindEOF:
			if ses.term == nil {
				ses.input.End()
			} else {
				ses.input.Put([]byte{4})
			}
		case kindResize:
			var size Size
			if json.Unmarshal(payload, &size) == nil && ses.term != nil {
				_ = resize(ses.term, size)
			}
		case kindSignal:
			var number int
			if json.Unmarshal(payload, &number) == nil && number > 0 && number <= maxSignal {
				ses.group.signal(unix.Signal(number))
			}
		}
	}
}

func resize(term *os.File, size Size) error {
	raw, err := term.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		failed = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Height, Col: size.Width})
	})
	if err != nil {
		return err
	}
	return failed
}
