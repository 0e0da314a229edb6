package journal

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// keptSnapshots is how many snapshots stay on disk: the newest, and one to go back to should it turn out damaged. The
// log is kept back to the older one.
const keptSnapshots = 2

// startAnew is the way out of damage.
const startAnew = "put back a backup of the directory, or move it away: the master then starts anew from Git and from what the agents report, or from the other masters"

// snapshots is raft's store of snapshots, made to clean up after a full disk and never to go back to a snapshot that
// the log cannot continue.
type snapshots struct {
	*raft.FileSnapshotStore
	dir string
	log *segments

	mu      sync.Mutex
	damaged error // of the last snapshot that could not be read
	failed  error // of the last snapshot that could not be written; the library passes on its text only
}

// note keeps the error of a snapshot that could not be written, and returns it.
func (s *snapshots) note(err error) error {
	err = diskError(err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failed = err
	return err
}

// whyDamaged returns why a snapshot could not be read, whyFailed why one could not be written.
func (s *snapshots) whyDamaged() error { s.mu.Lock(); defer s.mu.Unlock(); return s.damaged }
func (s *snapshots) whyFailed() error  { s.mu.Lock(); defer s.mu.Unlock(); return s.failed }

func openSnapshots(dir string, log *segments, logger hclog.Logger) (*snapshots, error) {
	if err := removeHalfSnapshots(dir); err != nil {
		return nil, err
	}
	// The library probes the directory by making a file in it; on a full disk it still can, a file without content
	// takes no block.
	store, err := raft.NewFileSnapshotStoreWithLogger(dir, keptSnapshots, logger)
	if err != nil {
		return nil, fmt.Errorf("open journal snapshots: %w", diskError(err))
	}
	s := &snapshots{FileSnapshotStore: store, dir: filepath.Join(dir, "snapshots"), log: log}
	log.spare = s.spare
	return s, nil
}

// spare returns the newest entry that no snapshot on disk needs after it: that of the older one, if there are two.
func (s *snapshots) spare() (uint64, error) {
	all, err := s.FileSnapshotStore.List()
	if err != nil || len(all) < keptSnapshots {
		return 0, err
	}
	return all[len(all)-1].Index, nil
}

// Open opens a snapshot after verifying its checksum.
func (s *snapshots) Open(id string) (*raft.SnapshotMeta, io.ReadCloser, error) {
	m, r, err := s.FileSnapshotStore.Open(id)
	if err != nil {
		err = fmt.Errorf("%w: snapshot %s: %w", ErrDamaged, filepath.Join(s.dir, id), err)
		s.mu.Lock()
		s.damaged = err
		s.mu.Unlock()
		return nil, nil, err
	}
	return m, r, nil
}

// List returns the snapshots that can be started from, newest first: the newest, and older ones if the log has every
// entry after them.
func (s *snapshots) List() ([]*raft.SnapshotMeta, error) {
	all, err := s.FileSnapshotStore.List()
	if err != nil || len(all) < 2 {
		return all, err
	}
	first, err := s.log.FirstIndex()
	if err != nil {
		return nil, err
	}
	usable := all[:1]
	for _, m := range all[1:] {
		if first > 0 && first <= m.Index+1 {
			usable = append(usable, m)
		}
	}
	return usable, nil
}

// check refuses a directory whose log begins after an end that no snapshot reaches.
func (s *snapshots) check() error {
	first, err := s.log.FirstIndex()
	if err != nil {
		return err
	}
	all, err := s.FileSnapshotStore.List()
	if err != nil {
		return err
	}
	if first > 1 && (len(all) == 0 || all[0].Index+1 < first) {
		return fmt.Errorf("%w: the log begins at entry %d, and no snapshot in %s reaches that far: %s", ErrDamaged, first, s.dir, startAnew)
	}
	return nil
}

// Create starts a snapshot.
func (s *snapshots) Create(version raft.SnapshotVersion, index, term uint64, conf raft.Configuration, confIndex uint64, trans raft.Transport) (raft.SnapshotSink, error) {
	k, err := s.FileSnapshotStore.Create(version, index, term, conf, confIndex, trans)
	if err != nil {
		s.sweep(term, index)
		return nil, s.note(err)
	}
	s.note(nil)
	return &sink{k, s, filepath.Join(s.dir, k.ID()+".tmp")}, nil
}

// sweep removes what a Create that failed left behind.
func (s *snapshots) sweep(term, index uint64) {
	left, _ := filepath.Glob(filepath.Join(s.dir, fmt.Sprintf("%d-%d-*.tmp", term, index)))
	for _, dir := range left {
		os.RemoveAll(dir)
	}
}

// sink removes its directory whenever it does not end well; the library's own leaves it on a full disk.
type sink struct {
	raft.SnapshotSink
	store *snapshots
	tmp   string
}

// Write adds to the snapshot.
func (k *sink) Write(p []byte) (int, error) {
	n, err := k.SnapshotSink.Write(p)
	if err != nil {
		err = k.store.note(err)
	}
	return n, err
}

// Close makes the snapshot count.
func (k *sink) Close() error {
	err := k.SnapshotSink.Close()
	if err != nil {
		err = k.store.note(err)
		os.RemoveAll(k.tmp)
	}
	return err
}

// Cancel drops the snapshot.
func (k *sink) Cancel() error {
	err := k.SnapshotSink.Cancel()
	if rerr := os.RemoveAll(k.tmp); rerr == nil {
		return nil
	}
	return err
}
