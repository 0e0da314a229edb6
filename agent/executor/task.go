package executor

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// drainTime bounds the wait for the end of the output of a task that has ended: an end of its FIFO may have been handed to a
// process outside.
const drainTime = 2 * time.Second

// endTime bounds how long a delete waits for the end of a container that it has killed. A process in an uninterruptible wait (a dead network
// file system) dies only when that ends; whoever deletes is told, and may try again.
const endTime = 10 * time.Second

// task is a container and what the server needs to look after it. The fields above step are guarded by Server.mu; step
// serialises what must not happen at the same time to one container.
type task struct {
	container Container
	seq       uint64 // place in the stream of exits
	deleted   bool
	made      bool        // by this executor, and not taken over from an earlier one
	starting  bool        // whether it runs at all is not known yet: its exit is not told
	ending    unix.Signal // whose default action ends the container; 0: none

	step    sync.Mutex
	proc    *process
	limit   int64 // memory, bytes
	done    chan struct{}
	drained sync.WaitGroup
	dropped atomic.Int64
}

func (t *task) copy() Container {
	c := t.container
	c.Labels = maps.Clone(c.Labels)
	c.DroppedBytes += t.dropped.Load()
	return c
}

func sortContainers(all []Container) {
	slices.SortFunc(all, func(a, b Container) int { return cmp.Compare(a.ID, b.ID) })
}

func sortEvents(all []ExitEvent) {
	slices.SortFunc(all, func(a, b ExitEvent) int { return cmp.Compare(a.Cursor.Seq, b.Cursor.Seq) })
}

// find returns a container that exists.
func (s *Server) find(id string) (*task, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil || t.container.State == "" {
		return nil, Errorf(CodeNotFound, "container %q does not exist", id)
	}
	return t, nil
}

func (s *Server) state(t *task) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	return t.container.State
}

// start is prepare and release, or only release if the container was parked for this; one that cannot be released leaves nothing behind.
func (s *Server) start(spec *Spec, caller *net.UnixConn) (*task, error) {
	if spec == nil {
		return nil, Errorf(CodeInvalid, "no spec given")
	}
	if t, err := s.startParked(spec); t != nil || err != nil {
		return t, err
	}
	t, err := s.prepare(spec, StateRunning, caller)
	if errors.Is(err, ErrExists) && s.parked(spec.ID) != nil { // another call was just parking it
		return s.start(spec, caller)
	}
	if err != nil {
		return nil, err
	}
	if err := s.runtime.Release(spec.ID); err != nil {
		return nil, errors.Join(err, s.delete(spec.ID))
	}
	s.started(t)
	return t, nil
}

// started lets the exit of a container be told, now that it is known that it ran.
func (s *Server) started(t *task) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t.starting = false
	if t.container.State == StateExited { // others that ended later may have been told meanwhile
		s.seq++
		t.seq = s.seq
		close(s.changed)
		s.changed = make(chan struct{})
	}
}

// prepare creates a container. Its first record says where it is going: created to stay parked, or running to be released next. If the
// executor dies in between, adoption finishes that; what is parked ends with it.
func (s *Server) prepare(spec *Spec, goal State, caller *net.UnixConn) (*task, error) {
	if spec == nil {
		return nil, Errorf(CodeInvalid, "no spec given")
	}
	if err := spec.Validate(); err != nil {
		return nil, Errorf(CodeInvalid, "spec of container %q: %v", spec.ID, err)
	}
	t := &task{limit: spec.MemoryLimit(), made: true, done: make(chan struct{})}
	t.step.Lock()
	defer t.step.Unlock()
	s.mu.Lock()
	for s.tasks[spec.ID] != nil {
		// Another call may be making it, for an agent that died meanwhile. Whoever hears that it exists asks what it is, so that
		// has to be known by then; and if it comes to nothing, it is made here.
		other := s.tasks[spec.ID]
		made := other.container.State != ""
		s.mu.Unlock()
		if made {
			return nil, Errorf(CodeExists, "container %q exists already", spec.ID)
		}
		other.settle()
		s.mu.Lock()
	}
	s.tasks[spec.ID] = t
	s.mu.Unlock()

	// An agent that has died is asked about nothing any more: its successor may have been told already what there is, and that was without this one.
	if hungUp(caller) {
		s.mu.Lock()
		delete(s.tasks, spec.ID)
		s.mu.Unlock()
		return nil, Errorf(CodeState, "container %q is not made: who asked for it has gone", spec.ID)
	}
	s.slots <- struct{}{}
	err := s.create(t, spec, goal)
	<-s.slots
	if err != nil {
		err = errors.Join(err, s.runtime.Remove(spec), s.store.remove(spec.ID))
		s.mu.Lock()
		delete(s.tasks, spec.ID)
		s.mu.Unlock()
		return nil, err
	}
	return t, nil
}

// create makes files and processes of a container. On failure the caller cleans up.
func (s *Server) create(t *task, spec *Spec, goal State) error {
	given, err := s.coresFor(spec)
	if err != nil {
		return err
	}
	if err := s.store.create(spec); err != nil {
		return err
	}
	outR, out, err := openFIFO(s.store.path(spec.ID, "stdout"))
	if err != nil {
		return err
	}
	defer out.Close()
	errR, errW, err := openFIFO(s.store.path(spec.ID, "stderr"))
	if err != nil {
		outR.Close()
		return err
	}
	defer errW.Close()
	pid, err := s.runtime.Prepare(spec, given, Stdio{Out: out, Err: errW}, goal == StateCreated)
	if err == nil {
		t.proc, err = adoptChild(pid)
	}
	if err != nil {
		outR.Close()
		errR.Close()
		return err
	}
	c := Container{
		ID: spec.ID, State: goal, Pid: pid, PidStart: t.proc.start, Boot: bootID(),
		Created: time.Now().UTC(), Labels: maps.Clone(spec.Labels),
	}
	if goal == StateRunning {
		c.Started = c.Created
	}
	if err = s.store.save(&c); err == nil {
		s.mu.Lock()
		t.container, t.starting = c, goal == StateRunning
		s.mu.Unlock()
		err = s.settle(spec, given)
	}
	if err != nil {
		_ = t.proc.signal(unix.SIGKILL)
		t.proc.wait()
		outR.Close()
		errR.Close()
		s.mu.Lock()
		t.container = Container{}
		s.mu.Unlock()
		return err
	}
	s.watch(t, spec.Log, outR, errR)
	return nil
}

// settle waits until nobody is in the middle of making, releasing or deleting it.
func (t *task) settle() {
	t.step.Lock()
	defer t.step.Unlock()
}

// watch drains the output of a task and records its exit.
func (s *Server) watch(t *task, l Log, outR, errR *os.File) {
	t.drain(outR, newLogWriter(l, "stdout", &t.dropped))
	t.drain(errR, newLogWriter(l, "stderr", &t.dropped))
	go func() {
		exit := t.proc.wait()
		t.awaitOutput(outR, errR)
		s.recordExit(t, exit)
	}()
}

func (t *task) drain(r *os.File, w io.Writer) {
	t.drained.Go(func() {
		pump(r, w)
		r.Close()
		if c, ok := w.(io.Closer); ok {
			c.Close()
		}
	})
}

// awaitOutput waits until all output is in the log.
func (t *task) awaitOutput(readers ...*os.File) {
	timer := time.AfterFunc(drainTime, func() {
		for _, r := range readers {
			r.SetReadDeadline(time.Unix(1, 0))
		}
	})
	t.drained.Wait()
	timer.Stop()
}

func (s *Server) recordExit(t *task, exit Exit) {
	s.mu.Lock()
	exit = asked(exit, t.ending)
	s.mu.Unlock()
	if s.features.Cgroup != 0 {
		exit.MemoryLimit = t.limit
	}
	// Only then the command was killed, or reports, as shells do, that its child was.
	if exit.Code == 128+int(unix.SIGKILL) {
		if spec, err := s.store.spec(t.container.ID); err == nil {
			stats, err := s.runtime.Stats(spec)
			exit.OOM = err == nil && stats.OOMKills > 0
		}
	}
	s.mu.Lock()
	s.seq++
	t.seq = s.seq
	t.container.State, t.container.Exit, t.container.Finished = StateExited, &exit, time.Now().UTC()
	c := t.copy()
	s.mu.Unlock()
	err := s.store.save(&c)
	s.mu.Lock()
	if err != nil && !t.deleted {
		s.unsaved[c.ID] = t
	}
	close(s.changed)
	s.changed = make(chan struct{})
	s.mu.Unlock()
	close(t.done)
}

// release lets a created container run.
func (s *Server) release(id string) (*task, error) {
	t, err := s.find(id)
	if err != nil {
		return nil, err
	}
	t.step.Lock()
	defer t.step.Unlock()
	switch state := s.state(t); state {
	case StateRunning:
		return t, nil
	case StateExited:
		return nil, Errorf(CodeState, "container %q has exited", id)
	}
	if err := s.runtime.Release(id); err != nil {
		return nil, err
	}
	s.mu.Lock()
	t.container.Started = time.Now().UTC()
	if t.container.State == StateCreated {
		t.container.State = StateRunning
	}
	c := t.copy()
	s.mu.Unlock()
	if err := s.store.save(&c); err != nil {
		s.mu.Lock()
		s.unsaved[id] = t
		s.mu.Unlock()
	}
	return t, nil
}

// delete kills what is left of a container and removes every trace of it.
func (s *Server) delete(id string) error {
	t, err := s.find(id)
	if err != nil {
		return err
	}
	t.step.Lock()
	defer t.step.Unlock()
	s.mu.Lock()
	deleted := t.deleted
	s.mu.Unlock()
	if deleted { // by another call, while this one waited
		return ErrNotFound
	}
	if s.state(t) != StateExited && t.proc != nil {
		if err := t.proc.signal(unix.SIGKILL); err != nil {
			return err
		}
	}
	spec, err := s.store.spec(id)
	if err != nil {
		return err
	}
	// Whatever the first process does not take with it dies with the cgroup.
	if err := s.runtime.Remove(spec); err != nil {
		return err
	}
	if err := s.awaitEnd(t); err != nil {
		return fmt.Errorf("delete container %s: %w", id, err)
	}
	if err := s.store.remove(id); err != nil {
		return err
	}
	s.mu.Lock()
	t.deleted = true
	if s.tasks[id] == t {
		delete(s.tasks, id)
	}
	delete(s.unsaved, id)
	s.mu.Unlock()
	return nil
}

// awaitEnd waits until the exit of a killed container is recorded.
func (s *Server) awaitEnd(t *task) error {
	timer := time.NewTimer(s.endTime)
	defer timer.Stop()
	select {
	case <-t.done:
		return nil
	case <-timer.C:
		return fmt.Errorf("its first process, %d, has not ended %v after it was killed; if it waits for a disk or a network file system, bring that back; then delete it again", t.proc.pid, s.endTime)
	}
}

// adopt takes over what an earlier executor left: running containers are watched again, exits are kept, halves are removed.
func (s *Server) adopt() error {
	ids, err := s.store.ids()
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := s.adoptOne(id); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) adoptOne(id string) error {
	// A container without a record was being made when the executor died: whoever asked for it never heard that it exists. The spec is
	// written before anything else.
	spec, err := s.store.spec(id)
	if err != nil {
		// After the loss of power it may be cut short: whatever has that name goes, its processes have gone with the machine.
		return errors.Join(s.runtime.Remove(&Spec{ID: id}), s.store.remove(id))
	}
	c, err := s.store.record(id)
	if err != nil {
		return errors.Join(s.runtime.Remove(spec), s.store.remove(id))
	}
	t := &task{container: *c, limit: spec.MemoryLimit(), done: make(chan struct{})}
	s.tasks[id] = t
	if c.State == StateExited {
		s.seq++
		t.seq = s.seq
		close(t.done)
		return nil
	}
	if c.Boot != bootID() {
		s.recordExit(t, Exit{Code: -1, Unknown: true, Rebooted: true})
		return nil
	}
	t.proc, _ = openProcess(c.Pid, c.PidStart)
	outR, err := openReader(s.store.path(id, "stdout"))
	if err != nil {
		return err
	}
	errR, err := openReader(s.store.path(id, "stderr"))
	if err != nil {
		outR.Close()
		return err
	}
	if t.proc != nil {
		s.watch(t, spec.Log, outR, errR)
		if c.State == StateRunning && s.runtime.Release(id) != nil {
			// It was released neither by the executor that died nor now: it ends, and its exit is told.
			return t.proc.signal(unix.SIGKILL)
		}
		return nil
	}
	outR.Close()
	errR.Close()
	s.recordExit(t, Exit{Code: -1, Unknown: true})
	return nil
}
