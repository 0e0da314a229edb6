package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
	wal "github.com/hashicorp/raft-wal"
	"github.com/hashicorp/raft-wal/fs"
	"github.com/hashicorp/raft-wal/segment"
	"github.com/hashicorp/raft-wal/types"
)

// segments is the log on disk: raft-wal, made to survive its own failures. The library keeps a write that failed in its
// memory and refuses every later one; here a failure closes it, and the next use opens it again from what is on disk,
// cut back to the last entry that was acknowledged.
type segments struct {
	dir  string
	size int // bytes of one segment
	log  hclog.Logger
	// spare returns the newest index that may be removed from the front; entries after it are still needed to start
	// from the older snapshot.
	spare func() (uint64, error)

	mu   sync.RWMutex  // held for reading while wal is used
	wal  *wal.WAL      // nil after a failure
	last atomic.Uint64 // newest acknowledged index; 0 for none; set while mu is held
}

func openSegments(dir string, size int, log hclog.Logger) (*segments, error) {
	dir = filepath.Join(dir, "log")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create journal log: %w", diskError(err))
	}
	s := &segments{dir: dir, size: size, log: log}
	w, err := s.open()
	if err != nil {
		return nil, fmt.Errorf("open journal log %s: %w", dir, err)
	}
	last, err := w.LastIndex()
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	s.last.Store(last)
	s.wal = w
	return s, nil
}

// open opens the library's log. Where a crash fell between sealing the newest segment and writing that down, the list of
// segments is brought up to date first: the library would refuse every append otherwise.
func (s *segments) open() (*wal.WAL, error) {
	for range 2 {
		tail := &tailWatch{SegmentFiler: segment.NewFiler(s.dir, fs.New())}
		meta := &meta{}
		w, err := wal.Open(s.dir, wal.WithLogger(s.log), wal.WithSegmentSize(s.size), wal.WithMetaStore(meta), wal.WithSegmentFiler(tail))
		if errors.Is(err, types.ErrCorrupt) {
			return nil, fmt.Errorf("%w: %w", ErrDamaged, err)
		}
		if err != nil {
			return nil, diskError(err)
		}
		sealed, err := tail.finishSeal(meta, s.size)
		if err != nil {
			return nil, errors.Join(diskError(err), w.Close())
		}
		if !sealed {
			return w, nil
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	return nil, fmt.Errorf("%w: the newest log segment stays sealed", ErrDamaged)
}

// tailWatch remembers the newest segment as it was recovered.
type tailWatch struct {
	types.SegmentFiler
	info types.SegmentInfo
	tail types.SegmentWriter
}

// RecoverTail recovers the newest segment and remembers it.
func (t *tailWatch) RecoverTail(info types.SegmentInfo) (types.SegmentWriter, error) {
	w, err := t.SegmentFiler.RecoverTail(info)
	if err == nil {
		t.info, t.tail = info, w
	}
	return w, err
}

// finishSeal writes down that the newest segment is sealed, if it is, and a new one after it.
func (t *tailWatch) finishSeal(m *meta, size int) (bool, error) {
	if t.tail == nil {
		return false, nil
	}
	sealed, start, err := t.tail.Sealed()
	if err != nil || !sealed {
		return false, err
	}
	state := m.state
	state.Segments = append([]types.SegmentInfo(nil), state.Segments...)
	old := &state.Segments[len(state.Segments)-1]
	old.SealTime, old.MaxIndex, old.IndexStart = time.Now(), t.tail.LastIndex(), start
	state.Segments = append(state.Segments, types.SegmentInfo{
		ID: state.NextSegmentID, BaseIndex: old.MaxIndex + 1, MinIndex: old.MaxIndex + 1,
		SizeLimit: uint32(size), Codec: old.Codec, CreateTime: time.Now(),
	})
	state.NextSegmentID++
	return true, m.CommitState(state)
}

// use runs f on an open log, opening it again after a failure. It returns with the lock for reading released.
func (s *segments) use(f func(*wal.WAL) error) error {
	s.mu.RLock()
	if w := s.wal; w != nil {
		defer s.mu.RUnlock()
		return f(w)
	}
	s.mu.RUnlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.reopen(); err != nil {
		return fmt.Errorf("open journal log again: %w", err)
	}
	return f(s.wal)
}

// reopen opens the log and removes what was never acknowledged. The lock is held.
func (s *segments) reopen() error {
	if s.wal != nil {
		return nil
	}
	w, err := s.open()
	if err != nil {
		return err
	}
	last, err := w.LastIndex()
	switch acked := s.last.Load(); {
	case err != nil:
	case last > acked:
		err = diskError(w.DeleteRange(acked+1, last))
	case last < acked:
		err = fmt.Errorf("%w: the log ends at entry %d, entry %d was acknowledged", ErrDamaged, last, acked)
	}
	if err != nil {
		return errors.Join(err, w.Close())
	}
	s.wal = w
	return nil
}

// fail closes the log after a write that failed.
func (s *segments) fail(err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wal != nil {
		if cerr := s.wal.Close(); cerr != nil {
			s.log.Warn("close journal log", "error", cerr)
		}
		s.wal = nil
	}
	return diskError(err)
}

// FirstIndex returns the oldest index, 0 for an empty log.
func (s *segments) FirstIndex() (i uint64, err error) {
	err = s.use(func(w *wal.WAL) error { i, err = w.FirstIndex(); return err })
	return i, err
}

// LastIndex returns the newest index, 0 for an empty log.
func (s *segments) LastIndex() (i uint64, err error) {
	err = s.use(func(w *wal.WAL) error { i, err = w.LastIndex(); return err })
	return i, err
}

// GetLog reads one entry; raft.ErrLogNotFound where there is none.
func (s *segments) GetLog(index uint64, log *raft.Log) error {
	err := s.use(func(w *wal.WAL) error { return w.GetLog(index, log) })
	if errors.Is(err, wal.ErrNotFound) {
		return raft.ErrLogNotFound
	}
	return err
}

// StoreLog writes one entry.
func (s *segments) StoreLog(log *raft.Log) error { return s.StoreLogs([]*raft.Log{log}) }

// StoreLogs writes entries and returns when they are on disk.
func (s *segments) StoreLogs(logs []*raft.Log) error {
	if len(logs) == 0 {
		return nil
	}
	write := func(w *wal.WAL) error {
		err := w.StoreLogs(logs)
		if err == nil {
			s.last.Store(logs[len(logs)-1].Index)
		}
		return err
	}
	// The second attempt is on a log opened again, and passes where the first met a segment that could not be rotated
	// while the disk was full.
	err := s.use(write)
	if err == nil {
		return nil
	}
	first := s.fail(fmt.Errorf("write journal log: %w", err))
	if err := s.use(write); err != nil {
		s.fail(err)
		return first
	}
	return nil
}

// DeleteRange removes a prefix or a suffix of the log, both ends included. Of a prefix that leaves something, what the
// older snapshot needs stays.
func (s *segments) DeleteRange(from, to uint64) error {
	if to < s.last.Load() && s.spare != nil {
		spare, err := s.spare()
		if err != nil {
			return fmt.Errorf("cut journal log: %w", err)
		}
		to = min(to, spare)
	}
	if to < from {
		return nil
	}
	err := s.use(func(w *wal.WAL) error {
		if err := w.DeleteRange(from, to); err != nil {
			return err
		}
		last, err := w.LastIndex()
		if err == nil {
			s.last.Store(last)
		}
		return err
	})
	if err != nil {
		return s.fail(fmt.Errorf("cut journal log: %w", err))
	}
	return nil
}

// IsMonotonic tells raft that this log must not have gaps.
func (s *segments) IsMonotonic() bool { return true }

func (s *segments) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wal == nil {
		return nil
	}
	err := s.wal.Close()
	s.wal = nil
	return err
}

// meta is the list of segments, one small file that is replaced as a whole. (The library's own is a database that stays
// locked when its log is closed, so that the log could not be opened again in the same process.)
type meta struct {
	path  string
	state types.PersistentState
}

// Load reads the list; an absent file is an empty list.
func (m *meta) Load(dir string) (types.PersistentState, error) {
	m.path = filepath.Join(dir, "meta")
	b, err := os.ReadFile(m.path)
	if os.IsNotExist(err) {
		return m.state, nil
	}
	if err != nil {
		return m.state, fmt.Errorf("read list of log segments: %w", err)
	}
	if err := json.Unmarshal(b, &m.state); err != nil {
		return m.state, fmt.Errorf("%w: %s: %w", ErrDamaged, m.path, err)
	}
	return m.state, nil
}

// CommitState replaces the list and returns when it is on disk.
func (m *meta) CommitState(state types.PersistentState) error {
	b, err := json.Marshal(state)
	if err != nil {
		return err
	}
	if err := writeFile(m.path, b); err != nil {
		return fmt.Errorf("write list of log segments: %w", err)
	}
	m.state = state
	return nil
}

var errNoStable = errors.New("values of raft are kept in the vote file")

// GetStable is not used: the vote file keeps those values.
func (m *meta) GetStable([]byte) ([]byte, error) { return nil, errNoStable }

// SetStable is not used: the vote file keeps those values.
func (m *meta) SetStable(_, _ []byte) error { return errNoStable }

// Close does nothing: no file stays open.
func (m *meta) Close() error { return nil }
