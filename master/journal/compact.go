package journal

import (
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// onGrown asks for a snapshot when enough has been applied since the last.
func (j *Journal) onGrown(entries, bytes int64) {
	if entries < j.config.SnapshotEntries && bytes < j.config.SnapshotBytes {
		return
	}
	select {
	case j.grown <- struct{}{}:
	default:
	}
}

// compact takes a snapshot whenever the log has grown enough. One that fails is tried again later: the log goes on
// growing meanwhile, nothing is lost.
func (j *Journal) compact() {
	defer j.wg.Done()
	for {
		select {
		case <-j.closing:
			return
		case <-j.grown:
		}
		err := j.Snapshot()
		if err == nil || errors.Is(err, ErrClosed) {
			continue
		}
		j.config.Log.Warn("no snapshot of the journal taken; the log grows until one succeeds", "error", err)
		select {
		case <-j.closing:
			return
		case <-time.After(snapshotRetry):
			j.onGrown(j.config.SnapshotEntries, 0)
		}
	}
}

// Snapshot writes the machine's state to disk now and drops the log before the snapshot that came before, so that the
// journal can still be opened should the new one turn out damaged.
func (j *Journal) Snapshot() error {
	err := j.raft.Snapshot().Error()
	switch {
	case err == nil || errors.Is(err, raft.ErrNothingNewToSnapshot):
		return nil
	case errors.Is(err, raft.ErrRaftShutdown):
		return fmt.Errorf("take snapshot: %w", ErrClosed)
	}
	if failed := j.snaps.whyFailed(); failed != nil {
		err = failed
	}
	return fmt.Errorf("take snapshot: %w", diskError(err))
}
