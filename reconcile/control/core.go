package control

import (
	"slices"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// Timings and limits of the core that no spec sets.
const (
	// SettleFor is how long a master with an empty journal waits for agents that may hold allocations: they come back
	// within a few seconds of finding it.
	SettleFor = 15 * spec.Second
	// AnswerWithin bounds the wait for plugins before a commit is planned without them; their apps are then held.
	AnswerWithin = 30 * spec.Second
	// PlanGap is the least time between two plans for each thousand allocations, so that planning never takes a whole core.
	PlanGap = 5 * spec.Millisecond
	// RenewAfter is how long after a change of the nodes a plan that waits for approval is made again, and ten times the
	// gap of that cluster where that is longer: nobody reads faster.
	RenewAfter = 100 * spec.Millisecond
	// KeepEnded is how long an ended allocation that means nothing any more is kept for people to look at.
	KeepEnded = 10 * spec.Minute
	// RetireGap is the least time between two looks for allocations that have been kept for long enough.
	RetireGap = 1 * spec.Minute
	// KeepEndedPerSlot bounds them for each slot.
	KeepEndedPerSlot = 3
	// MaxEvents is how many lines of the story are kept.
	MaxEvents = 10_000
	// Overslept is how late a Tick may be before the silence of nodes is blamed on this master having stood still.
	Overslept = 2 * spec.Second
)

// Config is what a core is made of.
type Config struct {
	Seed  uint64
	Fresh bool // the cluster is new: an empty journal is not a lost one
	// FirstNodes is how many nodes a new cluster is expected to have: nothing is placed before so many have joined, but for
	// spec.GatherFor. 0: what joins first may get all.
	FirstNodes int
	// Audit, when set, sees every plan with its input, and what of it is carried out (nil: nothing). It changes nothing.
	Audit func(in reconcile.Input, p spec.Plan, r reconcile.Report, d *reconcile.Decision)
}

// Core is the state machine of the leading master. It is not safe for use by several goroutines: one owns it.
type Core struct {
	config Config
	state  *State
	now    spec.Time
	began  spec.Time

	nodes     map[spec.NodeID]*node
	nodeOrder []spec.NodeID   // sorted
	inOrder   []*node         // those of nodeOrder
	allSeen   spec.Time       // when every open session but those of mute was last heard of
	mute      []*node         // not covered by allSeen
	round     int             // counts NodesSeen
	views     []spec.NodeView // see nodeViews; nil: to be made again
	wishes    []spec.Drain    // those of views
	memory    reconcile.Memory
	cells     map[spec.AllocationID]*cell
	orphans   map[spec.NodeID][]*cell // of removed nodes
	current   []spec.AllocationView   // sorted by slot, then generation; without retired ones
	places    []*cell                 // the cell of each of current

	settled  bool
	settleAt spec.Time // when it stops waiting for agents
	lost     bool      // the journal is not whole: how many generations there were is not known

	planned   bool // planAt counts
	dirty     bool // something happened that may change the plan
	planAt    spec.Time
	nextPlan  spec.Time // when time alone may change it
	silenceAt spec.Time // when a node may become unknown or down
	blackout  spec.Time // when anybody was last heard of, while nobody is; zero otherwise
	retireAt  spec.Time
	renewAt   spec.Time // when what waits for approval is planned again
	plan      spec.Plan // the last one of what is followed
	report    reconcile.Report

	proposing *proposing // moves that are being looked for
	proposals uint64     // that were asked for so far
	looked    spec.Time  // when the cluster last looked for moves by itself
	leftOut   spec.Time  // when an app that was left out then may be moved; 0: there was none
	lookAt    spec.Time  // when it does so again, as far as time alone decides

	candidate *candidate // a revision that is not followed and does not wait
	head      spec.Commit
	failure   *spec.Revision // the last revision seen, when it was bad
	contact   Contact
	desired   *desired // of what is followed; nil: to be made again
	asked     map[spec.AppName]bool
	lookups   map[lookedUp]bool   // images that the shell was asked to look up, and has not answered
	failed    map[lookedUp]string // why there is no digest
	waiting   waitingImages
	policies  map[string]policy
	wanted    []spec.Plugin // the last Policies
	events    []spec.Event
	wake      spec.Time

	// What one Step collects.
	entries []Entry
	story   []spec.Event
	acts    []Effect
	ended   []EndedAllocation
	gone    []spec.AllocationID
	sends   []*node
}

// Contact tells how the last attempts to reach the repository went.
type Contact struct {
	At    spec.Time `json:"at,omitempty"`    // of the last success
	Tried spec.Time `json:"tried,omitempty"` // of the last attempt
	Err   string    `json:"error,omitempty"` // of the last attempt
}

type policy struct {
	up      bool
	version string
	policy  place.Policy
	reason  string // why it is down
}

// New returns a core that leads from now on. It owns the state from here.
func New(config Config, state *State, now spec.Time) *Core {
	c := &Core{
		config: config, state: state, now: now, began: now,
		nodes: map[spec.NodeID]*node{}, cells: map[spec.AllocationID]*cell{}, orphans: map[spec.NodeID][]*cell{},
		asked: map[spec.AppName]bool{}, lookups: map[lookedUp]bool{}, failed: map[lookedUp]string{}, policies: map[string]policy{}, dirty: true,
	}
	for id := range state.Nodes { // any order: addNode keeps them sorted
		c.addNode(id, now)
	}
	c.rebuild()
	c.settleAt = now.Add(spec.NodeUnknownAfter)
	if len(state.Nodes) == 0 {
		// Where a commit is followed or waits, the journal was not lost, or is known to have been: nothing is recorded of
		// commits before agents had time to come back.
		c.settled, c.lost = config.Fresh, !config.Fresh && state.Following == nil && state.Pending == nil
		c.settleAt = now.Add(SettleFor)
	}
	c.silenceAt = now.Add(spec.NodeUnknownAfter)
	for name := range state.Expansions { // any order: a set
		c.asked[name] = false
	}
	return c
}

// Step takes what happened by now, plans at most once, and returns what to do, in order: what to record, then the
// rest. Time never goes back; a now before the last one counts as the last one.
func (c *Core) Step(now spec.Time, events ...Event) []Effect {
	c.clock(now)
	for _, ev := range events {
		c.take(ev)
	}
	c.flushEnded()
	c.silence()
	c.settle()
	c.lookForMoves()
	return c.effects()
}

// clock moves time on. A core that was asked for long after its Wake has not listened meanwhile: the silence of its
// nodes is its own. The Wake may have been for the very end of a silence, so that each gets the time of one more sign of life.
func (c *Core) clock(now spec.Time) {
	const oneMore = spec.Time(spec.NodeUnknownAfter / 3)
	now = max(c.now, now)
	if c.wake != 0 && now > c.wake.Add(Overslept) {
		late := spec.Time(now.Sub(c.wake))
		for _, n := range c.inOrder {
			if n.state != spec.NodeUnknown && n.state != spec.NodeDown {
				n.seen = min(c.lastSeen(n)+late+oneMore, now)
			}
		}
		c.silenceAt = max(c.silenceAt, min(c.silenceAt+late, now.Add(spec.NodeUnknownAfter)))
		if !c.settled {
			c.settleAt += late
		}
	}
	c.now = now
}

func (c *Core) take(ev Event) {
	switch e := ev.(type) {
	case NodeReported:
		c.onReport(e)
	case NodeSeen:
		if n := c.session(e.Node, e.Session); n != nil {
			c.see(n)
		}
	case NodesSeen:
		c.onNodesSeen(e)
	case NodeConnected:
		c.onConnected(e)
	case NodeDisconnected:
		if n := c.session(e.Node, e.Session); n != nil {
			n.seen, n.connected = c.lastSeen(n), false
		}
	case RevisionSeen:
		c.onRevision(e)
	case SourceContact:
		c.contact.Tried, c.contact.Err = c.now, e.Err
		if e.Err == "" {
			c.contact.At = c.now
		}
	case Expanded:
		c.onExpanded(e)
	case Resolved:
		c.onResolved(e)
	case PolicyUp:
		c.policies[e.Name] = policy{up: true, version: e.Version, policy: e.Policy}
		c.dirty = true
		c.outdate()
	case PolicyDown:
		if old, ok := c.policies[e.Name]; !ok || old.up || old.reason != e.Reason {
			c.tell("policy "+e.Name, "down", e.Reason)
		}
		c.policies[e.Name] = policy{reason: e.Reason}
		c.dirty = true
		c.outdate()
	case Approve:
		c.onApprove(e)
	case Rollback:
		c.onRollback(e)
	case Resume:
		c.onResume(e)
	case Drain:
		c.onDrain(e)
	case Undrain:
		c.onUndrain(e)
	case RemoveNode:
		c.onRemove(e)
	case Restart:
		c.onRestart(e)
	case Scale:
		c.onScale(e)
	case Promote:
		c.onPromote(e)
	case Dispatch:
		c.onDispatch(e)
	case Cancel:
		c.onCancel(e)
	case Rebalance:
		c.onRebalance(e)
	case Proposed:
		c.onProposed(e)
	case CancelRebalance:
		c.onCancelRebalance(e)
	case Tick:
	default:
		panic("control: unknown event")
	}
}

// record applies an entry, and remembers to have it written.
func (c *Core) record(e Entry) {
	e.FormatVersion, e.Time = EntryVersion, c.now
	c.state.Apply(e)
	switch {
	case e.Joined != nil, e.Removed != nil:
		c.views = nil
	case c.views == nil:
	case e.Drained != nil:
		c.wishes = c.drains()
	case e.Undrained != nil:
		c.reviewNode(e.Undrained.Node)
		c.wishes = c.drains()
	}
	c.entries = append(c.entries, e)
	if e.Retired == nil && e.Forgotten == nil { // those mean nothing to a plan
		c.dirty = true
	}
}

func (c *Core) act(e Effect) { c.acts = append(c.acts, e) }

func (c *Core) tell(subject, what, why string) {
	c.story = append(c.story, spec.Event{Time: c.now, Subject: subject, What: what, Why: why})
}

// tellOf tells of an allocation.
func (c *Core) tellOf(a *spec.Allocation, what, why string) {
	c.story = append(c.story, spec.Event{Time: c.now, Subject: a.Slot.String(), What: what, Why: why, Allocation: a.ID})
}

// effects closes the Step.
func (c *Core) effects() []Effect {
	c.askPlugins()
	c.askRegistries()
	var out []Effect
	if len(c.entries) > 0 {
		out = append(out, Record{c.entries})
	}
	for _, n := range c.sends {
		n.queued = false
		if n.connected && n.full {
			out = append(out, Send{n.id, n.session, c.assignment(n)})
		}
	}
	out = append(out, c.acts...)
	if len(c.story) > 0 {
		out = append(out, Publish{c.story})
		c.events = append(c.events, c.story...)
		if over := len(c.events) - MaxEvents; over > 0 && len(c.events) >= MaxEvents+MaxEvents/4 {
			c.events = slices.Delete(c.events, 0, over)
		}
	}
	if w := c.due(); w != c.wake {
		c.wake = w
		if w != 0 {
			out = append(out, Wake{w})
		}
	}
	c.entries, c.story, c.acts, c.sends = nil, nil, nil, c.sends[:0]
	return out
}

// due is when something has to be done without an event.
func (c *Core) due() spec.Time { return earliest(c.silenceAt, c.Next()) }

// Next is when something has to be done though nothing happens and every node stays in touch; 0: never. A shell that
// knows that all are, and that those which are not are down, need not keep a Wake that comes before.
func (c *Core) Next() spec.Time {
	w := c.retireAt
	if !c.settled {
		return earliest(w, c.settleAt)
	}
	if c.state.Pending != nil && c.candidate == nil {
		w = earliest(w, c.renewAt)
	}
	if c.candidate != nil && !c.candidate.planned {
		w = earliest(w, c.candidate.until)
	}
	if c.state.Following == nil {
		return w // what the first commit waits for comes as an event
	}
	w = earliest(w, c.lookAt)
	if c.dirty {
		return earliest(w, max(c.gapEnds(), c.now+1))
	}
	if c.nextPlan != 0 {
		w = earliest(w, max(c.nextPlan, c.gapEnds(), c.now+1))
	}
	return w
}

func earliest(a, b spec.Time) spec.Time {
	if a == 0 || (b != 0 && b < a) {
		return b
	}
	return a
}

// gapEnds is the earliest moment for the next plan.
func (c *Core) gapEnds() spec.Time {
	if !c.planned {
		return 0
	}
	return c.planAt.Add(PlanGap * spec.Duration(len(c.current)) / 1000)
}

// State is the hard state. It must not be changed, and changes with the next Step.
func (c *Core) State() *State { return c.state }

// Idle reports whether time alone would change nothing but the age of things: every node is in touch or given up, and
// no plan is due but for what the clock brings for ever: the next firing of a schedule, the deadline of a run, the opening
// of a window, and the look for moves that a rebalance block has the cluster take by itself.
func (c *Core) Idle() bool { return c.Awaits() == "" }

// Awaits says what keeps the core from being idle; "" when it is.
func (c *Core) Awaits() string {
	switch {
	case !c.settled:
		return "agents that may come back"
	case c.candidate != nil:
		return "plugins, before a commit is planned"
	case c.proposing != nil:
		return "moves that are being looked for"
	case c.state.Rebalance != nil:
		return "a rebalancing under way"
	case c.state.Pending != nil && c.renewAt != 0:
		return "a plan that waits for approval to be made again"
	case c.report.NextOfApps != 0:
		return "a plan in " + c.report.NextOfApps.Sub(c.now).String()
	case c.dirty && c.state.Following != nil:
		return "a plan at once"
	}
	for _, n := range c.inOrder {
		if n.state != spec.NodeDown && (n.state != spec.NodeReady || !n.connected || !n.full) {
			return "node " + string(n.id)
		}
	}
	return ""
}
