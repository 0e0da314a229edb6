package sim

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// Delays of the masters.
const (
	journalFor  = 1 * spec.Millisecond // until an entry is durable
	electionMin = 200 * spec.Millisecond
	electionMax = 1500 * spec.Millisecond
	pluginFor   = 20 * spec.Millisecond
)

// master is the leading master, its journal, and the repository that it follows.
type master struct {
	w       *world
	core    *control.Core
	up      bool
	term    int
	deposed int // leaders
	fresh   bool
	first   int             // nodes that are waited for at the beginning
	held    []control.Event // while frozen
	frozen  bool
	full    bool          // its disk
	trap    string        // what its next decision is to be when another leader takes over: "recorded" or "unrecorded"
	skew    spec.Duration // of the machine's clock
	shows   spec.Clock    // what the leader makes of that

	base    *control.State  // the journal up to here
	journal []control.Entry // after base
	durable int             // of journal
	safe    spec.Generation // the newest that is durable
	doneAt  spec.Time       // when the last effects are carried out: order is kept
	wake    spec.Time

	head        *spec.Revision
	unreachable bool // the repository
	events      []spec.Event
	requests    control.Request
	answers     map[control.Request]control.Answer
}

func newMaster(w *world) *master {
	m := &master{w: w, base: control.NewState(), fresh: true, answers: map[control.Request]control.Answer{}}
	m.lead()
	return m
}

// lead makes a core from the journal.
func (m *master) lead() {
	state, err := m.replay()
	if err != nil {
		m.w.violated("%s: %v", invariantReplay, err)
		return
	}
	m.term++
	m.up, m.frozen, m.held = true, false, nil
	m.doneAt, m.wake = m.w.now, 0
	config := control.Config{Seed: m.w.seed, Fresh: m.fresh, FirstNodes: m.first, Audit: m.w.audit}
	m.skew = 0 // another machine, another clock
	m.shows = spec.Clock{}
	m.core = control.New(config, state, m.now())
	m.w.told = m.w.now // a new leader has heard of nobody
	m.w.beatOn()
	m.step(m.contact())
	if m.head != nil && !m.unreachable {
		m.step(control.RevisionSeen{Revision: *m.head})
	}
	for _, machine := range m.w.machines {
		machine.connectSoon()
	}
}

// contact is how an attempt to reach the repository ends.
func (m *master) contact() control.Event {
	if m.unreachable {
		return control.SourceContact{Err: "the repository's server does not answer"}
	}
	return control.SourceContact{}
}

// replay builds a state from the journal, by way of the bytes that its entries would be on disk. What was replayed
// once becomes the base.
func (m *master) replay() (*control.State, error) {
	state := m.base.Clone()
	for _, e := range m.journal {
		b, err := e.Encode()
		if err != nil {
			return nil, err
		}
		if e, err = control.DecodeEntry(b); err != nil {
			return nil, err
		}
		state.Apply(e)
	}
	m.base, m.journal, m.durable = state.Clone(), nil, 0
	return state, nil
}

// depose ends the leadership. What was not yet durable is lost, or not: both happen.
func (m *master) depose() { m.fall(m.w.random.below(2) == 0, false) }

// fall ends the leadership, with or without what was not yet durable. A core that is ahead has decided what never got
// into the journal.
func (m *master) fall(lost, ahead bool) {
	m.trap = ""
	var live []byte
	if m.deposed++; len(m.core.State().Allocations) < largeFrom || m.deposed%compareEvery == 0 {
		live, _ = m.core.State().Encode()
	}
	whole := m.durable == len(m.journal)
	if !whole && lost {
		m.journal, m.w.newest = m.journal[:m.durable], m.safe
	} else {
		whole = true
	}
	m.up = false
	m.term++
	for _, machine := range m.w.machines {
		machine.breakLink()
	}
	m.w.after(m.w.random.between(electionMin, electionMax), -1, m.lead)
	if whole && !ahead && live != nil {
		m.checkReplay(live)
	}
}

const (
	// snapshotLimit is how many allocations a state has whose snapshots are still read back at every replay.
	snapshotLimit = 1000
	// compareEvery is of how many leaders of a large world one has its state compared with the journal's.
	compareEvery = 8
)

// checkReplay compares a live state with what the journal gives, and with what a snapshot of it gives.
func (m *master) checkReplay(live []byte) {
	state, err := m.replay()
	if err != nil {
		m.w.violated("%s: %v", invariantReplay, err)
		return
	}
	if len(state.Allocations) <= snapshotLimit {
		if state, err = control.DecodeState(live); err != nil {
			m.w.violated("%s: %v", invariantReplay, err)
			return
		}
		m.compare(live, state)
	}
	m.compare(live, m.base)
}

func (m *master) compare(live []byte, state *control.State) {
	if again, err := state.Encode(); err != nil || !bytes.Equal(live, again) {
		m.w.violated("%s, but:\n%s\nis not\n%s", invariantReplay, again, live)
	}
}

// lose forgets everything that the masters had.
func (m *master) lose() {
	m.up = false
	m.term++
	for _, machine := range m.w.machines {
		machine.breakLink()
	}
	m.base, m.journal, m.durable, m.fresh = control.NewState(), nil, 0, false
	m.w.newest = 0
	for _, machine := range m.w.machines {
		for _, id := range sortedKeys(machine.disk) {
			m.w.newest = max(m.w.newest, machine.disk[id].Decided.Generation)
		}
	}
	m.w.after(m.w.random.between(electionMin, electionMax), -1, m.lead)
}

// step gives events to the core, and has its effects carried out once they may be.
func (m *master) step(events ...control.Event) {
	if !m.up || m.w.violates != "" {
		return
	}
	if m.frozen {
		m.held = append(m.held, events...)
		return
	}
	if m.w.now >= m.w.told.Add(heartbeat) {
		events = append([]control.Event{m.w.alive()}, events...)
	}
	effects := m.core.Step(m.now(), events...)
	if len(effects) == 0 {
		return
	}
	if r, ok := effects[0].(control.Record); ok {
		if m.full {
			m.fall(true, true) // what cannot be recorded is not done: the next leader begins with the journal
			return
		}
		m.write(r.Entries)
		effects = effects[1:]
	}
	var later []control.Effect
	for _, e := range effects {
		if w, ok := e.(control.Wake); ok {
			m.wakeAt(w.At)
		} else {
			later = append(later, e)
		}
	}
	if len(later) == 0 {
		return
	}
	if m.doneAt <= m.w.now {
		m.carryOut(later)
		return
	}
	term := m.term
	m.w.at(m.doneAt, -1, func() {
		if m.term == term {
			m.carryOut(later)
		}
	})
}

// now is the time by which the leader goes.
func (m *master) now() spec.Time { return m.shows.Show(m.w.now.Add(m.skew), m.w.now.Sub(epoch)) }

// wakeAt has the core asked again at a time by the leader's clock.
func (m *master) wakeAt(t spec.Time) {
	m.wake = t
	term := m.term
	m.w.atIdle(m.w.now.Add(max(0, t.Sub(m.now()))), func() {
		if m.term != term || m.wake != t {
			return
		}
		if m.now() < t {
			m.wakeAt(t) // the clock was set meanwhile
			return
		}
		if next := m.core.Next(); !m.w.beating && (next == 0 || next > t) {
			if next != 0 {
				m.wakeAt(next) // what was due is a look for silent nodes, and there are none
			}
			return
		}
		m.step(control.Tick{})
	})
}

// write puts entries into the journal.
func (m *master) write(entries []control.Entry) {
	m.journal = append(m.journal, entries...)
	m.w.changed = m.w.now
	for i := range entries {
		b, err := entries[i].Encode()
		if err != nil {
			m.w.violated("an entry does not encode: %v", err)
		}
		m.w.trace.Write(b)
		m.w.checkEntry(&entries[i])
		m.w.meter.entry(&entries[i])
	}
	m.doneAt = max(m.doneAt, m.w.now.Add(journalFor))
	term, upTo, newest := m.term, len(m.journal), m.w.newest
	if m.trap == "unrecorded" && decides(entries) {
		m.w.after(0, -1, func() {
			if m.term == term {
				m.fall(true, false)
			}
		})
	}
	recorded := m.trap == "recorded" && decides(entries)
	m.w.at(m.doneAt, -1, func() {
		if m.term != term {
			return
		}
		m.durable, m.safe = max(m.durable, upTo), newest
		if recorded {
			m.fall(false, false)
		}
	})
}

// decides reports whether agents have to hear of one of the entries.
func decides(entries []control.Entry) bool {
	return slices.ContainsFunc(entries, func(e control.Entry) bool { return e.Decided != nil })
}

func (m *master) carryOut(effects []control.Effect) {
	for _, e := range effects {
		switch e := e.(type) {
		case control.Send:
			if machine := m.w.named[e.Node]; machine != nil {
				machine.receive(e.Session, e.Assignment)
			}
		case control.Disconnect:
			if machine := m.w.named[e.Node]; machine != nil && machine.session == e.Session {
				machine.breakLink()
			}
		case control.Publish:
			m.events = append(m.events, e.Events...)
			for _, ev := range e.Events {
				fmt.Fprintf(m.w.trace, "%s %s %s\n", ev.Subject, ev.What, ev.Why)
			}
		case control.Answer:
			m.answers[e.Request] = e
		case control.Policies:
			m.policies(e.Plugins)
		case control.Expand:
			m.expand(e)
		case control.Resolve:
			m.resolve(e)
		case control.Propose:
			m.propose(e)
		}
	}
}

func (m *master) policies(plugins []spec.Plugin) {
	for _, p := range plugins {
		var ev control.Event = control.PolicyDown{Name: p.Name, Reason: "the simulator has no such policy"}
		if up := m.w.options.Policies[p.Name]; up != nil {
			ev = control.PolicyUp{Name: p.Name, Version: p.SHA256, Policy: up}
		}
		m.later(ev)
	}
}

func (m *master) expand(e control.Expand) {
	x := spec.Expansion{Driver: e.Block.Driver, Name: e.Block.Name, Held: "the simulator runs no framework drivers"}
	if m.w.options.Expand != nil {
		x = m.w.options.Expand(e.Block, e.Owned)
		withChecks(x.Apps)
	}
	m.later(control.Expanded{Commit: e.Commit, Expansion: x})
}

// resolve answers for registries in which no tag ever moves.
func (m *master) resolve(e control.Resolve) {
	for _, image := range e.Images {
		m.later(control.Resolved{Commit: e.Commit, Image: image, Digest: fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(image)))})
	}
}

// How long it takes to look for moves.
const (
	proposeMin = 50 * spec.Millisecond
	proposeMax = 5 * spec.Second
)

// propose looks for moves while the world goes on.
func (m *master) propose(e control.Propose) {
	r := reconcile.Rebalance(e.Input, e.Terms)
	m.laterBy(m.w.random.between(proposeMin, proposeMax), control.Proposed{Number: e.Number, Rebalancing: r})
}

// later gives an event to the same leader after the time that a plugin takes.
func (m *master) later(ev control.Event) { m.laterBy(pluginFor, ev) }

func (m *master) laterBy(d spec.Duration, ev control.Event) {
	term := m.term
	m.w.after(d, -1, func() {
		if m.term == term {
			m.step(ev)
		}
	})
}

// answerWithin bounds the wait for the answer to a request: a master may stand still for a while, or another may begin
// to lead.
const answerWithin = 5 * spec.Minute

// ask has a request carried out, and waits for its answer. When the leader goes in between, the next one is asked.
func (m *master) ask(make func(control.Request) control.Event) (control.Answer, error) {
	m.requests++
	id := m.requests
	limit := m.w.now.Add(answerWithin)
	for asked := -1; m.w.violates == ""; {
		if m.up && asked != m.term {
			asked = m.term
			m.step(make(id))
		}
		if a, ok := m.answers[id]; ok {
			delete(m.answers, id)
			return a, nil
		}
		if !m.w.next(limit) {
			return control.Answer{}, fmt.Errorf("the master does not answer")
		}
	}
	return control.Answer{}, nil
}

// freeze has the master stand still for a while. What is said to it meanwhile waits.
func (m *master) freeze(d spec.Duration) {
	m.frozen = true
	term := m.term
	m.w.after(d, -1, func() {
		if m.term == term && m.frozen {
			held := m.held
			m.frozen, m.held = false, nil
			m.step(append(held, control.Tick{})...)
		}
	})
}
