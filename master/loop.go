package master

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// Limits of the loop.
const (
	// maxInbox events may wait; who posts more waits too.
	maxInbox = 1024
	// maxBatch events are stepped at once: one plan for all of them.
	maxBatch = 4096
)

// message is what others put into the inbox: an event, or a look at the core, which changes nothing.
type message struct {
	event  control.Event
	look   func(*control.Core)
	answer chan control.Answer // of an event that is a request; has room for one
	number control.Request     // of the request
}

// loop drives the core until the term ends: whatever has arrived is stepped as one batch, the effects are carried out in
// order, then who wants to look may look.
func (t *term) loop(ctx context.Context, core *control.Core) error {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		var events []control.Event
		var looks []func(*control.Core)
		take := func(m message) {
			switch {
			case m.look != nil:
				looks = append(looks, m.look)
			case m.answer != nil:
				t.waiting[m.number] = m.answer
				fallthrough
			default:
				events = append(events, m.event)
			}
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case m := <-t.inbox:
			take(m)
		case <-timer.C:
			events = append(events, control.Tick{})
		}
		for more := true; more && len(events)+len(looks) < maxBatch; {
			select {
			case m := <-t.inbox:
				take(m)
			default:
				more = false
			}
		}
		if len(events) > 0 {
			t.master.metrics.step(len(events))
			now := t.master.now()
			effects := core.Step(now, events...)
			if err := t.carryOut(ctx, core, effects, timer); err != nil {
				return err
			}
			if t.wake > now {
				timer.Reset(time.Duration(t.wake.Sub(now))) // also when the timer was early, as clocks do not run alike
			}
			t.master.version.Add(1)
			if len(effects) > 0 || news(events) {
				t.master.touch()
			}
		}
		for _, look := range looks {
			look(core)
		}
	}
}

// news reports whether the events are more than signs of life: only then who watches is woken.
func news(events []control.Event) bool {
	return slices.ContainsFunc(events, func(ev control.Event) bool {
		_, life := ev.(control.NodeSeen)
		return !life
	})
}

// carryOut does what a Step asks for, in order. An error ends the term: the core is ahead of the journal.
func (t *term) carryOut(ctx context.Context, core *control.Core, effects []control.Effect, timer *time.Timer) error {
	m := t.master
	for _, effect := range effects {
		switch e := effect.(type) {
		case control.Record:
			if err := m.record(ctx, e.Entries); err != nil {
				return err
			}
			t.plugins.used(core)
		case control.Send:
			m.link.Send(e.Node, e.Session, e.Assignment)
		case control.Disconnect:
			m.link.Disconnect(e.Node, e.Session, "the node was removed")
		case control.Expand:
			t.plugins.expand(core, e)
		case control.Resolve:
			t.beside.Go(func() { t.resolve(ctx, e) })
		case control.Propose:
			t.beside.Go(func() { t.propose(ctx, e) })
		case control.Policies:
			t.plugins.policies(core, e.Plugins)
		case control.Publish:
			m.story.publish(e.Events)
		case control.Wake:
			t.wake = e.At
			timer.Reset(max(time.Duration(e.At.Sub(m.now())), 0))
		case control.Answer:
			if answer := t.waiting[e.Request]; answer != nil {
				delete(t.waiting, e.Request)
				answer <- e
			}
		default:
			panic(fmt.Sprintf("master: unknown effect %T", effect))
		}
	}
	return nil
}

// propose looks for moves, which takes too long for the loop.
func (t *term) propose(ctx context.Context, e control.Propose) {
	r := reconcile.Rebalance(e.Input, e.Terms)
	if err := t.post(ctx, message{event: control.Proposed{Number: e.Number, Rebalancing: r}}); err != nil {
		t.master.config.Log.Debug("proposal comes too late", "error", err)
	}
}

// errNoTerm is returned to who asks while this master does not decide.
var errNoTerm = errors.New("this master does not decide at the moment")

// post puts a message into the inbox. It waits while the loop is busy.
func (t *term) post(ctx context.Context, m message) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	select {
	case t.inbox <- m:
		return nil
	case <-t.over:
		return errNoTerm
	case <-ctx.Done():
		return ctx.Err()
	}
}

// look runs f on the loop's goroutine, after everything that was posted before.
func (t *term) look(ctx context.Context, f func(*control.Core)) error {
	done := make(chan struct{})
	if err := t.post(ctx, message{look: func(c *control.Core) { f(c); close(done) }}); err != nil {
		return err
	}
	select {
	case <-done:
		return nil
	case <-t.over:
		return errNoTerm
	}
}

// ask posts the event that makes for a request, and waits for its answer.
func (t *term) ask(ctx context.Context, event func(control.Request) control.Event) (control.Answer, error) {
	n := control.Request(t.requests.Add(1))
	m := message{event: event(n), answer: make(chan control.Answer, 1), number: n}
	if err := t.post(ctx, m); err != nil {
		return control.Answer{}, err
	}
	select {
	case a := <-m.answer:
		return a, nil
	case <-t.over:
		return control.Answer{}, fmt.Errorf("%w: whether the wish took effect is not known; look at the status and ask again", errNoTerm)
	case <-ctx.Done():
		return control.Answer{}, ctx.Err()
	}
}

// now is the time by which is decided.
func (m *Master) now() spec.Time {
	m.timing.Lock()
	defer m.timing.Unlock()
	t := m.config.Now()
	return m.clock.Show(spec.TimeOf(t), spec.Duration(t.Sub(m.opened)))
}
