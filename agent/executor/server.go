package executor

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// callTimeout is how long a connection may take to name its call.
	callTimeout = 10 * time.Second
	// lastWord is how long a client has to take what it is being sent when the executor stops.
	lastWord = time.Second
	// maxSocketPath is what the kernel allows for the path of a unix socket, in bytes.
	maxSocketPath = 107
	// saveRetry is the pause between attempts to write records that found the disk full.
	saveRetry = time.Second
	// quiet is how long nothing must have happened before garbage is collected.
	quiet = 500 * time.Millisecond
)

// Server owns the containers of a node.
type Server struct {
	runtime  Runtime
	features Features
	store    store
	slots    chan struct{} // creations at once
	epoch    string
	endTime  time.Duration // see endTime

	mu      sync.Mutex
	tasks   map[string]*task
	seq     uint64
	changed chan struct{} // closed and replaced at each exit
	unsaved map[string]*task
	cores   cores

	// tidy collects garbage after a burst of work. Starting a container leaves some behind, descriptors included, which an idle
	// process would keep for minutes.
	tidy *time.Timer

	stop     chan struct{}
	stopOnce sync.Once
	work     sync.WaitGroup
}

// Open takes over a locked state directory: it adopts every container that is found there, and goes on draining their output.
func Open(lock *Lock, rt Runtime, features Features) (*Server, error) {
	features.Protocol, features.Pid = Version, os.Getpid()
	s := &Server{
		runtime: rt, features: features, store: store{lock.dir},
		// Creation is half waiting for the kernel: twice the processors keeps them busy, more only takes memory.
		slots:   make(chan struct{}, 2*runtime.NumCPU()),
		epoch:   rand.Text(),
		endTime: endTime,
		tasks:   map[string]*task{},
		changed: make(chan struct{}),
		unsaved: map[string]*task{},
		stop:    make(chan struct{}),
		tidy:    time.AfterFunc(quiet, debug.FreeOSMemory),
	}
	if err := s.openCores(); err != nil {
		return nil, err
	}
	if err := s.adopt(); err != nil {
		return nil, err
	}
	return s, nil
}

// Run serves calls on a unix socket until the context ends or a client asks for Shutdown. Containers run on afterwards.
func (s *Server) Run(ctx context.Context, socket string) error {
	listener, err := listen(socket)
	if err != nil {
		return err
	}
	s.work.Go(s.saveLoop)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.work.Go(func() {
		select {
		case <-ctx.Done():
		case <-s.stop:
			cancel()
		}
		listener.Close()
	})
	var calls sync.WaitGroup
	err = s.accept(ctx, listener, &calls)
	cancel()
	calls.Wait()
	s.stopOnce.Do(func() { close(s.stop) })
	s.work.Wait()
	s.tidy.Stop()
	s.saveUnsaved()
	return err
}

func listen(socket string) (*net.UnixListener, error) {
	if len(socket) > maxSocketPath {
		return nil, fmt.Errorf("listen: socket path of %d bytes: the kernel allows %d; use a shorter --socket", len(socket), maxSocketPath)
	}
	if err := os.MkdirAll(filepath.Dir(socket), 0o711); err != nil {
		return nil, fmt.Errorf("make socket folder: %w", err)
	}
	// Whoever holds the lock of the state directory owns the socket: what is there is left over.
	if err := os.Remove(socket); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("remove old socket: %w", err)
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	if err := os.Chmod(socket, 0o600); err != nil {
		listener.Close()
		return nil, fmt.Errorf("protect socket: %w", err)
	}
	return listener, nil
}

func (s *Server) accept(ctx context.Context, listener *net.UnixListener, calls *sync.WaitGroup) error {
	for {
		conn, err := listener.AcceptUnix()
		switch {
		case err == nil:
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE):
			// The next exit or closed connection frees descriptors.
			select {
			case <-ctx.Done():
			case <-time.After(100 * time.Millisecond):
			}
			continue
		default:
			return fmt.Errorf("accept: %w", err)
		}
		calls.Go(func() {
			defer conn.Close()
			detach := context.AfterFunc(ctx, func() { hurry(conn) })
			defer detach()
			s.serve(ctx, conn)
		})
	}
}

// hurry ends what a connection waits for: the client's words at once, and its reading soon.
func hurry(conn net.Conn) {
	conn.SetReadDeadline(time.Unix(1, 0))
	conn.SetWriteDeadline(time.Now().Add(lastWord))
}

// serve answers one call.
func (s *Server) serve(ctx context.Context, conn *net.UnixConn) {
	if err := checkPeer(conn); err != nil {
		_ = writeJSON(conn, kindAnswer, answer{Error: asError(err)})
		return
	}
	conn.SetReadDeadline(time.Now().Add(callTimeout))
	c, err := readCall(conn)
	if errors.Is(err, errNoCall) {
		return
	}
	var a answer
	if err == nil {
		conn.SetReadDeadline(time.Time{})
		if ctx.Err() != nil {
			hurry(conn)
			return
		}
		a, err = s.do(ctx, conn, c)
	}
	if c.Verb != verbPing {
		s.tidy.Reset(quiet)
	}
	a.Error = asError(err)
	_ = writeJSON(conn, kindAnswer, a)
}

// checkPeer lets in root and the executor's own user.
func checkPeer(conn *net.UnixConn) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var cred *unix.Ucred
	var failed error
	if err := raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return err
	}
	if failed != nil {
		return fmt.Errorf("identify caller: %w", failed)
	}
	if cred.Uid != 0 && int(cred.Uid) != os.Geteuid() {
		return Errorf(CodeInvalid, "user %d may not use this executor", cred.Uid)
	}
	return nil
}

// do carries out a call. It must not write an answer frame itself.
func (s *Server) do(ctx context.Context, conn *net.UnixConn, c call) (answer, error) {
	switch c.Verb {
	case verbPing:
		return answer{Features: &s.features}, nil
	case verbStart:
		return s.answerContainer(s.start(c.Spec, conn))
	case verbPrepare:
		if c.ID != "" {
			return s.answerContainer(s.prepareNext(c.Spec, c.ID, conn))
		}
		return s.answerContainer(s.prepare(c.Spec, StateCreated, conn))
	case verbRelease:
		return s.answerContainer(s.release(c.ID))
	case verbGet:
		return s.answerContainer(s.find(c.ID))
	case verbSignal:
		return answer{}, s.signal(c.ID, unix.Signal(c.Signal))
	case verbKill:
		return answer{}, s.signal(c.ID, unix.SIGKILL)
	case verbDelete:
		return answer{}, s.delete(c.ID)
	case verbList:
		return answer{}, s.list(conn)
	case verbStats:
		return s.stats(c.ID)
	case verbExec:
		return s.exec(ctx, conn, c)
	case verbExits:
		return answer{}, s.exits(ctx, conn, c.Cursor)
	case verbReserve:
		return answer{}, s.reserve(c.Cores)
	case verbShutdown:
		s.stopOnce.Do(func() { close(s.stop) })
		return answer{}, nil
	}
	return answer{}, Errorf(CodeUnsupported, "call %q is not known to this executor", c.Verb)
}

func (s *Server) answerContainer(t *task, err error) (answer, error) {
	if err != nil {
		return answer{}, err
	}
	c := s.snapshot(t)
	return answer{Container: &c}, nil
}

// snapshot copies what is known of a task.
func (s *Server) snapshot(t *task) Container {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.copy()
}

// list sends every container. It waits for those that are being made: an agent that asked for one may have died, and what its successor does not
// hear of here it takes for something that there is not.
func (s *Server) list(conn net.Conn) error {
	for _, t := range s.making() {
		t.settle()
	}
	s.mu.Lock()
	all := make([]Container, 0, len(s.tasks))
	for _, t := range s.tasks {
		if t.container.State != "" {
			all = append(all, t.copy())
		}
	}
	s.mu.Unlock()
	sortContainers(all)
	for i := range all {
		if err := writeJSON(conn, kindItem, &all[i]); err != nil {
			return err
		}
	}
	return nil
}

// making are the containers of which it is not known yet whether they come to anything.
func (s *Server) making() []*task {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*task
	for _, t := range s.tasks {
		if t.container.State == "" {
			all = append(all, t)
		}
	}
	return all
}

// hungUp reports whether the caller of a connection has gone.
func hungUp(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return true
	}
	fds := []unix.PollFd{{Events: unix.POLLRDHUP}}
	if err := raw.Control(func(fd uintptr) {
		fds[0].Fd = int32(fd)
		_, err = unix.Poll(fds, 0)
	}); err != nil {
		return true
	}
	return err == nil && fds[0].Revents != 0
}

func (s *Server) stats(id string) (answer, error) {
	if _, err := s.find(id); err != nil {
		return answer{}, err
	}
	spec, err := s.store.spec(id)
	if err != nil {
		return answer{}, err
	}
	stats, err := s.runtime.Stats(spec)
	return answer{Stats: &stats}, err
}

// exits sends every exit after the cursor, then each as it happens, until the client goes.
func (s *Server) exits(ctx context.Context, conn *net.UnixConn, cursor Cursor) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s.work.Go(func() {
		// A client says nothing more on this connection: the end of it is the end of the stream.
		_, _, _ = readFrame(conn)
		cancel()
	})
	after := uint64(0)
	if cursor.Epoch == s.epoch {
		after = cursor.Seq
	}
	for {
		events, changed := s.exitsAfter(after)
		for i := range events {
			if err := writeJSON(conn, kindItem, &events[i]); err != nil {
				return err
			}
			after = events[i].Cursor.Seq
		}
		select {
		case <-ctx.Done():
			return nil
		case <-changed:
		}
	}
}

func (s *Server) exitsAfter(seq uint64) ([]ExitEvent, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var events []ExitEvent
	for _, t := range s.tasks {
		if t.container.State == StateExited && t.seq > seq && !t.starting {
			events = append(events, ExitEvent{Cursor: Cursor{Epoch: s.epoch, Seq: t.seq}, Container: t.copy()})
		}
	}
	sortEvents(events)
	return events, s.changed
}

// saveLoop writes records again that found no room, as long as there are any.
func (s *Server) saveLoop() {
	tick := time.NewTimer(saveRetry)
	defer tick.Stop()
	for {
		s.mu.Lock()
		pending, changed := len(s.unsaved) > 0, s.changed
		s.mu.Unlock()
		var retry <-chan time.Time
		if pending {
			tick.Reset(saveRetry)
			retry = tick.C
		}
		select {
		case <-s.stop:
			return
		case <-changed:
		case <-retry:
			s.saveUnsaved()
		}
	}
}

func (s *Server) saveUnsaved() {
	s.mu.Lock()
	pending := make([]Container, 0, len(s.unsaved))
	for _, t := range s.unsaved {
		pending = append(pending, t.copy())
	}
	s.mu.Unlock()
	for i := range pending {
		if s.store.save(&pending[i]) == nil {
			s.mu.Lock()
			delete(s.unsaved, pending[i].ID)
			s.mu.Unlock()
		}
	}
}
