package control

import (
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// Effect is something that the shell does for the core, in the order of the list.
type Effect interface{ effect() }

// Record appends entries to the journal, all or none. What follows in the list must not be done before they are
// durable. The core has applied them already: when recording fails, the shell throws the core away and makes a new one
// from the journal's state.
type Record struct{ Entries []Entry }

// Send gives an agent its assignment. The newest one counts: an older one that still waits in a queue may be dropped.
type Send struct {
	Node       spec.NodeID
	Session    uint64
	Assignment spec.Assignment
}

// Expand asks a framework driver what its block means now. Owned are the allocations of the block's apps. The newest
// Expand of a block counts; answer: Expanded.
type Expand struct {
	Commit spec.Commit
	Block  spec.Framework
	Plugin spec.Plugin // the driver, as the commit names it
	Owned  []spec.AllocationView
}

// Resolve asks registries what images by tag are now, for one commit. Answer to each: Resolved.
type Resolve struct {
	Commit spec.Commit
	Images []string // as the commit names them, sorted
}

// Propose asks for a reconcile.Rebalance of an input that shares nothing which changes, beside the core: it takes longer than a
// step may. The newest one counts; answer: Proposed.
type Propose struct {
	Number uint64
	Input  reconcile.Input
	Terms  reconcile.Terms
}

// Policies names the policy plugins that the followed and the waiting revision use, whenever that changed. The shell
// starts what is missing, stops what is not named, and answers with PolicyUp and PolicyDown.
type Policies struct{ Plugins []spec.Plugin }

// Publish tells the story to whoever listens. Core.Events keeps the last MaxEvents of it.
type Publish struct{ Events []spec.Event }

// Wake asks for a Tick at this time. Only the last Wake counts; there is one in every Step that changed it.
type Wake struct{ At spec.Time }

// Answer ends a request. With Err (full sentences, the last says what to do) nothing was done.
type Answer struct {
	Request     Request
	Err         string
	Differs     []string               // of a refused approval: what would be done now that the plan does not say, or the other way round
	Plan        *spec.Plan             // the plan that took effect or waits now; nil when the request is not about one
	NoOp        bool                   // it was so already
	Run         *spec.Run              // of a dispatch
	Nodes       []spec.NodeID          // that a wish about nodes was carried out for
	Rebalancing *reconcile.Rebalancing // proposed, begun or ended
}

// Disconnect ends a session: the node was removed. Its agent may come back with a new one.
type Disconnect struct {
	Node    spec.NodeID
	Session uint64
}

func (Disconnect) effect() {}
func (Propose) effect()    {}
func (Record) effect()     {}
func (Send) effect()       {}
func (Resolve) effect()    {}
func (Expand) effect()     {}
func (Policies) effect()   {}
func (Publish) effect()    {}
func (Wake) effect()       {}
func (Answer) effect()     {}
