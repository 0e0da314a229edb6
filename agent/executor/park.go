package executor

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"os"
	"time"
)

// prepareNext parks a container that is to follow one that runs, whose root it shares.
func (s *Server) prepareNext(spec *Spec, present string, caller *net.UnixConn) (*task, error) {
	t, err := s.find(present)
	if err != nil {
		return nil, err
	}
	was, err := s.store.spec(present)
	if err != nil {
		return nil, err
	}
	if !t.made || !was.Root.Kept || s.state(t) != StateRunning {
		return nil, Errorf(CodeState, "container %q does not run with a root that this executor keeps: none can be prepared to follow it", present)
	}
	return s.prepare(spec, StateCreated, caller)
}

// startParked releases the container that was parked under the ID of a spec; it returns nil if there is none that will do. One that was
// parked for another spec, or has died, or would be another one were it made now, is removed, as is one whose command cannot be executed.
func (s *Server) startParked(spec *Spec) (*task, error) {
	t := s.parked(spec.ID)
	if t == nil {
		return nil, nil
	}
	err := s.releaseParked(t, spec)
	if err == nil {
		return t, nil
	}
	if gone := s.delete(spec.ID); gone != nil && !errors.Is(gone, ErrNotFound) {
		return nil, errors.Join(err, gone)
	}
	if errors.Is(err, ErrCommand) || isFull(err) {
		return nil, err
	}
	return nil, nil
}

// parked returns a container that was made and never released, or nil.
func (s *Server) parked(id string) *task {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tasks[id]
	if t == nil || t.container.State == "" || !t.container.Started.IsZero() {
		return nil
	}
	return t
}

// errUnfit says that a parked container is not the one that is wanted.
var errUnfit = errors.New("what is parked was made for something else")

// releaseParked lets a parked container run. As in a start, the record says so first: were the executor to die in between, the container ends,
// and its end is told.
func (s *Server) releaseParked(t *task, spec *Spec) error {
	t.step.Lock()
	defer t.step.Unlock()
	wanted, err := json.Marshal(spec)
	if err != nil {
		return err
	}
	if made, err := os.ReadFile(s.store.path(spec.ID, "spec.json")); err != nil || !bytes.Equal(made, wanted) {
		return errors.Join(errUnfit, err)
	}
	s.mu.Lock()
	if t.deleted || t.container.State != StateCreated {
		s.mu.Unlock()
		return errUnfit
	}
	t.container.State, t.container.Started, t.starting = StateRunning, time.Now().UTC(), true
	c := t.copy()
	s.mu.Unlock()
	if err := s.store.save(&c); err != nil {
		return err
	}
	if err := s.runtime.Release(spec.ID); err != nil {
		return err
	}
	s.started(t)
	return nil
}
