package master

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/journal"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

const (
	// retryAfter is between two attempts to lead, or to write a journal whose disk was full.
	retryAfter = time.Second
	// appendTimeout bounds one append. It ends long before only when the disk hangs.
	appendTimeout = 30 * time.Second
)

// term is one core from its beginning to its end.
type term struct {
	master   *Master
	inbox    chan message
	over     chan struct{} // closed at the end
	requests atomic.Uint64
	waiting  map[control.Request]chan control.Answer // owned by the loop
	wake     spec.Time                               // when the core wants a Tick; owned by the loop
	plugins  *keeper
	beside   sync.WaitGroup                       // what looks for moves, or asks registries
	head     atomic.Pointer[control.RevisionSeen] // the last one posted
}

// leadership leads whenever the journal lets this master, until ctx ends.
func (m *Master) leadership(ctx context.Context) error {
	for {
		err := m.journal.Lead(ctx, m.lead)
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.Is(err, journal.ErrClosed), errors.Is(err, journal.ErrNewer), errors.Is(err, journal.ErrDamaged):
			return err
		}
		m.suspend(err)
		if !pause(ctx, retryAfter) {
			return nil
		}
	}
}

// lead runs one term after the other while this master is the leader. A full disk ends a term and not the leadership:
// the next one begins when there is room.
func (m *Master) lead(ctx context.Context) error {
	for {
		if err := m.writable(ctx); err != nil {
			return err
		}
		err := m.reign(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		m.suspend(err)
		if !errors.Is(err, journal.ErrFull) {
			return err
		}
	}
}

// writable waits until the journal can be written.
func (m *Master) writable(ctx context.Context) error {
	for {
		err := m.journal.Append(ctx, []byte{})
		if err == nil || !errors.Is(err, journal.ErrFull) {
			return err
		}
		m.suspend(err)
		if !pause(ctx, retryAfter) {
			return ctx.Err()
		}
	}
}

// suspend tells why this master does not decide.
func (m *Master) suspend(err error) {
	if err == nil {
		return
	}
	old := m.trouble.Swap(&trouble{phase: api.PhaseSuspended, what: "nothing is decided at the moment, everything runs on: " + err.Error(), remedy: "mend the cause; the master goes on by itself"})
	if old.phase != api.PhaseSuspended {
		m.config.Log.Error("decisions suspended", "error", err)
		m.story.publish([]spec.Event{{Time: m.now(), Subject: "master", What: "suspended", Why: err.Error()}})
	}
	m.touch()
}

// reign is one term: it ends with ctx, or with the first record that could not be written.
func (m *Master) reign(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	t := &term{master: m, inbox: make(chan message, maxInbox), over: make(chan struct{}), waiting: map[control.Request]chan control.Answer{}}
	t.plugins = newKeeper(t)
	state := m.machine.clone()
	m.revisions.remember(state)
	fresh := m.authority.New() && !m.config.Recover
	core := control.New(control.Config{Seed: m.config.Seed, Fresh: fresh, FirstNodes: m.config.FirstNodes}, state, m.now())
	m.trouble.Store(&trouble{phase: api.PhaseLeading})
	m.term.Store(t)
	m.touch()
	m.config.Log.Info("leading", "generation", state.Generation, "nodes", len(state.Nodes), "allocations", len(state.Allocations))
	var wg sync.WaitGroup
	defer func() {
		m.term.Store(nil)
		close(t.over)
		cancel(nil)
		m.link.Reset("this master begins anew")
		wg.Wait()
		t.plugins.wg.Wait()
		t.beside.Wait()
		m.touch()
	}()
	wg.Go(func() { t.follow(ctx) })
	wg.Go(func() { t.plugins.run(ctx) })
	wg.Go(func() { t.resolveAgain(ctx) })
	return t.loop(ctx, core)
}

// record makes entries durable.
func (m *Master) record(ctx context.Context, entries []control.Entry) error {
	coming := make([]pendingEntry, len(entries))
	encoded := make([][]byte, len(entries))
	for i, e := range entries {
		b, err := encodeEntry(e)
		if err != nil {
			return err
		}
		coming[i], encoded[i] = pendingEntry{b, e}, b
	}
	began := time.Now()
	m.machine.expect(coming)
	defer m.machine.expect(nil)
	// An append that began is not given up because the master is told to stop: its fate would be unknown.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), appendTimeout)
	defer cancel()
	err := m.journal.Append(ctx, encoded...)
	m.metrics.append(time.Since(began), err)
	if err != nil {
		return fmt.Errorf("record decisions: %w", err)
	}
	return nil
}

// pause waits, and returns false when ctx ended meanwhile.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
