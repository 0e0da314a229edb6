package journal

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/hashicorp/raft"
)

// Machine is the state that entries build. Its methods are called from one goroutine at a time, except that the result
// of Snapshot is written while Apply goes on.
type Machine interface {
	// Apply takes one entry in. It must come to the same state on every member, also when it fails: validate before
	// appending. An error goes back to the Append on the leader. An error that wraps ErrNewer stops the journal, since
	// a member that skips an entry is no longer equal to the others.
	Apply(entry []byte) error
	// Snapshot captures the state without copying more than it must, and returns what will write it.
	Snapshot() (io.WriterTo, error)
	// Restore replaces the state by one that Snapshot wrote. It may be called again after an error.
	Restore(io.Reader) error
}

// snapshotMagic begins every snapshot; the byte after it is the version.
const (
	snapshotMagic   = "stowage journal"
	snapshotVersion = 1
)

// state feeds a Machine from raft and counts what has been applied since the last snapshot.
type state struct {
	machine Machine
	grown   func(entries, bytes int64) // called after each record, must not block
	stopped func()                     // called when halted is set, must not block

	mu      sync.Mutex
	entries int64
	bytes   int64
	halted  error // set once the machine can no longer follow the log
}

// Apply gives the machine the entries of one record.
func (s *state) Apply(l *raft.Log) any {
	if l.Type != raft.LogCommand {
		return nil
	}
	if err := s.err(); err != nil {
		return err
	}
	var failed error
	err := unseal(l.Data, func(entry []byte) error {
		err := s.machine.Apply(entry)
		if errors.Is(err, ErrNewer) {
			return err
		}
		if err != nil && failed == nil {
			failed = err
		}
		return nil
	})
	if err != nil {
		err = fmt.Errorf("apply entry %d: %w", l.Index, err)
		s.halt(err)
		return err
	}
	s.mu.Lock()
	s.entries++
	s.bytes += int64(len(l.Data))
	entries, bytes := s.entries, s.bytes
	s.mu.Unlock()
	s.grown(entries, bytes)
	if failed != nil {
		return fmt.Errorf("apply entry %d: %w", l.Index, failed)
	}
	return nil
}

// halt stops the machine: it applies nothing any more.
func (s *state) halt(err error) {
	s.mu.Lock()
	s.halted = err
	s.mu.Unlock()
	s.stopped()
}

// err returns what stopped the machine, if anything did.
func (s *state) err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halted
}

// Snapshot captures the machine.
func (s *state) Snapshot() (raft.FSMSnapshot, error) {
	if err := s.err(); err != nil {
		return nil, err
	}
	w, err := s.machine.Snapshot()
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	c := &capture{state: s, machine: w, entries: s.entries, bytes: s.bytes}
	return c, nil
}

// Restore replaces the machine's state by that of a snapshot whose checksum the store has verified.
func (s *state) Restore(r io.ReadCloser) error {
	defer r.Close()
	head := make([]byte, len(snapshotMagic)+1)
	if _, err := io.ReadFull(r, head); err != nil || string(head[:len(snapshotMagic)]) != snapshotMagic {
		return fmt.Errorf("%w: the snapshot does not begin as one", ErrDamaged)
	}
	if v := head[len(snapshotMagic)]; v > snapshotVersion {
		err := fmt.Errorf("%w (snapshot of version %d, this program knows %d)", ErrNewer, v, snapshotVersion)
		s.halt(err)
		return err
	}
	if err := s.machine.Restore(r); err != nil {
		if errors.Is(err, ErrNewer) {
			s.halt(err)
		}
		return fmt.Errorf("restore snapshot: %w", err)
	}
	s.mu.Lock()
	s.entries, s.bytes = 0, 0
	s.mu.Unlock()
	return nil
}

// capture is one snapshot between being taken and being on disk.
type capture struct {
	state          *state
	machine        io.WriterTo
	entries, bytes int64
}

// Persist writes the snapshot.
func (c *capture) Persist(sink raft.SnapshotSink) error {
	w := bufio.NewWriterSize(sink, 1<<16)
	_, err := w.WriteString(snapshotMagic + string(rune(snapshotVersion)))
	if err == nil {
		_, err = c.machine.WriteTo(w)
	}
	if err == nil {
		err = w.Flush()
	}
	if err != nil {
		sink.Cancel() // the error that counts is the one before
		return diskError(err)
	}
	if err := sink.Close(); err != nil {
		return diskError(err)
	}
	c.state.mu.Lock()
	c.state.entries -= c.entries
	c.state.bytes -= c.bytes
	c.state.mu.Unlock()
	return nil
}

// Release has nothing to give back.
func (c *capture) Release() {}
