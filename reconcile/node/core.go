package node

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Timings of the core that no spec sets.
const (
	// KillAgain is how long a killed task may take to be gone before the kill is repeated: a process in an uninterruptible wait
	// needs a second one, and a lost effect must not leave a task for ever.
	KillAgain = 10 * spec.Second
	// CleanAgain is the pause before a folder that could not be removed is tried again.
	CleanAgain = 30 * spec.Second
	// MaxRecent bounds the failures that are remembered of one task; no policy that counts more means them.
	MaxRecent = 1000
)

// Config is what a core is made of.
type Config struct {
	Node spec.Node
}

// Core is the state machine of one agent. It is not safe for use by several goroutines: one owns it.
type Core struct {
	node        spec.Node
	header      Header
	allocations map[spec.AllocationID]*allocation
	order       []spec.AllocationID // sorted
	restored    bool
	ready       bool // the executor can be reached, and its containers are known
	rebooted    bool // the machine has started anew since what is remembered was saved: nothing of that runs
	blank       bool // rebooted, and the executor has not been reached since
	connected   bool
	parked      int // runs that wait behind others
	wake        spec.Time

	// What one Step collects.
	now         spec.Time
	acts        []Effect
	dropped     []spec.AllocationID
	gone        []spec.ReportAllocation
	full        bool // a full report is due
	acknowledge bool // the generation has to be told
	described   bool // the node has to be told
	saveHeader  bool
	ended       bool // an allocation ended: what waits for it may go on
}

// New returns a core that waits for Restored.
func New(c Config) *Core {
	return &Core{node: c.Node, header: Header{FormatVersion: MemoryVersion}, allocations: map[spec.AllocationID]*allocation{}}
}

// Step takes what happened by now and returns what to do, in order: first what to save, then what to carry out, then
// what to tell. Time never goes back; a now before the last one counts as the last one.
func (c *Core) Step(now spec.Time, events ...Event) []Effect {
	c.now = max(c.now, now)
	for _, ev := range events {
		c.take(ev)
		for c.ended {
			c.ended = false
			c.advanceGated()
		}
	}
	return c.effects()
}

func (c *Core) take(ev Event) {
	if r, ok := ev.(Restored); ok {
		c.restore(r.Memory, r.Boot)
		return
	}
	if !c.restored {
		panic("node: the first event is not Restored")
	}
	switch e := ev.(type) {
	case Inventory:
		c.inventory(e.Containers)
	case ExecutorLost:
		c.ready = false
	case Assigned:
		c.assign(&e.Assignment)
	case Connected:
		c.connected, c.full = true, true
	case Disconnected:
		c.connected, c.full = false, false
	case Progressed:
		c.onProgressed(e)
	case Prepared:
		c.onPrepared(e)
	case Started:
		c.onStarted(e)
	case Exited:
		c.onExited(e)
	case Commanded:
		c.onCommanded(e)
	case Checked:
		c.onChecked(e)
	case Cleaned:
		c.onCleaned(e)
	case NodeChanged:
		c.node, c.described = e.Node, true
	case RestartTask:
		c.onRestart(e)
	case Tick:
		for _, id := range c.order {
			c.advance(c.allocations[id])
		}
	default:
		panic("node: unknown event")
	}
}

// effects closes the Step.
func (c *Core) effects() []Effect {
	var out []Effect
	save := Save{Drop: c.dropped}
	if c.saveHeader {
		h := c.header
		save.Header = &h
	}
	report := spec.Report{FormatVersion: 1, Sent: c.now, Generation: c.header.Generation, Full: c.full, Allocations: c.gone}
	for _, id := range c.order {
		a := c.allocations[id]
		if a.unsaved {
			save.Put = append(save.Put, a.record())
			a.unsaved = false
		}
		if a.changed && !c.full {
			report.Allocations = append(report.Allocations, spec.ReportAllocation{ID: id, Status: a.status()})
		}
		a.changed = false
	}
	if save.Header != nil || len(save.Put) > 0 || len(save.Drop) > 0 {
		out = append(out, save)
	}
	out = append(out, c.acts...)
	if c.full {
		report.Allocations = append(report.Allocations, c.everything()...)
	}
	if c.full || c.described {
		n := c.node
		report.Node = &n
	}
	if c.connected && (c.full || c.described || c.acknowledge || len(report.Allocations) > 0) {
		out = append(out, Send{report})
	}
	if next := c.Next(); next != c.wake {
		c.wake = next
		if next != 0 {
			out = append(out, Wake{next})
		}
	}
	c.acts, c.dropped, c.gone = nil, nil, nil
	c.full, c.acknowledge, c.described, c.saveHeader = false, false, false, false
	return out
}

// everything is the body of a full report.
func (c *Core) everything() []spec.ReportAllocation {
	told := map[spec.Hash]bool{}
	all := make([]spec.ReportAllocation, 0, len(c.order))
	for _, id := range c.order {
		a := c.allocations[id]
		decided := a.Decided
		ra := spec.ReportAllocation{ID: id, Status: a.status(), Decided: &decided}
		if !told[decided.Version] {
			told[decided.Version] = true
			ra.Spec = a.App
		}
		all = append(all, ra)
	}
	return all
}

// Next is the earliest moment at which something is due without any event; 0: nothing is. A shell may keep a Wake that it no
// longer needs: a moment that has passed is asked for once more only if it is not the present one's own doing.
func (c *Core) Next() spec.Time {
	var next spec.Time
	for _, id := range c.order {
		if at := c.allocations[id].due; at != 0 && (next == 0 || at < next) {
			next = at
		}
	}
	return next
}

func (c *Core) act(e Effect) { c.acts = append(c.acts, e) }

func (c *Core) insert(a *allocation) {
	id := a.Decided.ID
	if _, ok := c.allocations[id]; !ok {
		i, _ := slices.BinarySearch(c.order, id)
		c.order = slices.Insert(c.order, i, id)
	}
	c.allocations[id] = a
}

func (c *Core) forget(id spec.AllocationID) {
	delete(c.allocations, id)
	if i, ok := slices.BinarySearch(c.order, id); ok {
		c.order = slices.Delete(c.order, i, i+1)
	}
	c.dropped = append(c.dropped, id)
}

// Generation is that of the assignment which the core follows.
func (c *Core) Generation() spec.Generation { return c.header.Generation }

// Allocations returns what the core holds, sorted by ID, as a full report would tell it.
func (c *Core) Allocations() []spec.AllocationView {
	views := make([]spec.AllocationView, len(c.order))
	for i, id := range c.order {
		a := c.allocations[id]
		views[i] = spec.AllocationView{Allocation: a.Decided, AllocationStatus: a.status()}
	}
	return views
}

// Memory returns everything that Save effects have told so far, as one value.
func (c *Core) Memory() Memory {
	m := Memory{Header: c.header}
	for _, id := range c.order {
		m.Records = append(m.Records, c.allocations[id].record())
	}
	return m
}
