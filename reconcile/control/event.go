package control

import (
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// Event is something that happened to the master. The shell passes it to Core.Step in the order in which it happened;
// many at once cost one plan.
type Event interface{ event() }

// Request numbers a person's wish, so that its Answer finds the way back. 0 wants no answer.
type Request uint64

// Mode says how strictly an approval holds to the plan that was shown.
type Mode string

// The modes.
const (
	ModeBounded Mode = "bounded" // the same changes or fewer, perhaps on other nodes
	ModeExact   Mode = "exact"   // exactly the plan, and nothing it rests on has moved
)

// RevisionSeen says what the head of the followed branch is: when the master begins, and each time it moved. A
// revision whose Diagnostics hold an error is only remembered as the last error.
type RevisionSeen struct {
	Revision spec.Revision
	Signed   bool
	Behind   int // commits from the followed revision to this one; 0 when unknown
}

// SourceContact tells of each attempt to reach the repository. Err is a sentence, "" when it was reached.
type SourceContact struct{ Err string }

// NodeConnected opens a session: one link of an agent. Sessions of one node only grow; what an older session still
// says is ignored. A full report is expected first.
type NodeConnected struct {
	Node    spec.NodeID
	Session uint64
}

// NodeReported is a report on a session.
type NodeReported struct {
	Node    spec.NodeID
	Session uint64
	Report  spec.Report
}

// NodeSeen is a sign of life without news: a heartbeat. At least one each third of spec.NodeUnknownAfter is expected.
type NodeSeen struct {
	Node    spec.NodeID
	Session uint64
}

// NodesSeen is a sign of life of every open session at once, but for the nodes that are named: what NodeSeen of each
// of them would say, at the cost of those that are silent. Time runs on meanwhile as if each had been heard of until now.
type NodesSeen struct {
	Silent []spec.NodeID
}

// NodeDisconnected ends a session. Nothing changes until the node has been silent for spec.NodeUnknownAfter.
type NodeDisconnected struct {
	Node    spec.NodeID
	Session uint64
}

// Approve lets a waiting plan take effect. Either ID names the plan that waits (or the one that was applied already,
// which is no error), or Plan is a saved plan of the revision that waits or is followed.
type Approve struct {
	Request Request
	ID      spec.PlanID
	Plan    *spec.Plan
	Mode    Mode // "" is ModeBounded
	Now     bool // its changes wait for no window. Without ID and Plan: those of the revision that is followed
	By      string
}

// Drain asks that nodes become empty: those of Nodes, and those that have every attribute of Where. All of them begin to
// drain at once, so that nothing moves from one to another. A second one replaces deadline and reason.
type Drain struct {
	Request  Request
	Nodes    []spec.NodeID
	Where    map[string]string
	Deadline spec.Duration   // from now, or from when the window opens; 0: none
	Window   spec.WindowName // in which what is there leaves; "": at once
	Reason   string
}

// Undrain takes drains back: what still runs there stays, and successors that are not healthy yet stop.
type Undrain struct {
	Request Request
	Nodes   []spec.NodeID
	Where   map[string]string
}

// RemoveNode forgets a node that is empty or out of touch: of one in touch that has work it is refused, as the work would
// run on beside its replacement. Its allocations count as lost. If its agent connects again, it joins anew with what runs
// there.
type RemoveNode struct {
	Request Request
	Node    spec.NodeID
}

// Restart asks that all allocations of an app be replaced, within its budget.
type Restart struct {
	Request Request
	App     spec.AppName
	Reason  string
}

// Scale asks for another count of an app, within the bounds that its specification gives.
type Scale struct {
	Request Request
	App     spec.AppName
	Count   int
	Reason  string
	By      string
}

// Dispatch asks for a run of an app with a schedule.
type Dispatch struct {
	Request    Request
	App        spec.AppName
	Parameters map[string]string
	Token      string // asking again with the same one asks once, for as long as the run is remembered; "": none
	By         string
}

// Cancel ends a run: what is left of it is stopped.
type Cancel struct {
	Request Request
	Run     spec.AppName
	Reason  string
	By      string
}

// Rebalance proposes moves on the present state and has them carried out: replacement first, a few at a time.
type Rebalance struct {
	Request  Request
	Moves    int    // most; 0: reconcile.DefaultMoves
	Parallel int    // on their way at a time; 0: reconcile.DefaultParallel
	ID       string // of the proposal that was seen; "": whatever is proposed now
	By       string
	auto     *spec.Rebalance // nobody asked: the commit lets the cluster do it
}

// Proposed is the answer to a Propose effect.
type Proposed struct {
	Number      uint64 // of the Propose
	Rebalancing reconcile.Rebalancing
}

// CancelRebalance ends the rebalancing under way.
type CancelRebalance struct{ Request Request }

// Promote lets the canaries of an app's rollout take the place of the rest.
type Promote struct {
	Request Request
	App     spec.AppName
}

// Rollback follows an older revision until a commit arrives that is newer than Head, or Resume.
type Rollback struct {
	Request  Request
	Revision spec.Revision // read by the shell from the repository
	Signed   bool
	Head     spec.Commit // head of the branch now
	By       string
}

// Resume ends a rollback: the head of the branch is followed again. The shell sends RevisionSeen for it right after.
type Resume struct{ Request Request }

// Expanded is a framework driver's answer to an Expand effect. While the driver cannot answer, the shell sends one
// with Held set; Apps are then ignored and the last good ones stay.
type Expanded struct {
	Commit    spec.Commit // of the Expand
	Expansion spec.Expansion
}

// Resolved is a registry's answer to one image of a Resolve effect. Without a Digest, Err is a sentence; the shell asks again
// as long as Core.Unresolved names the image.
type Resolved struct {
	Commit spec.Commit // of the Resolve
	Image  string
	Digest string // sha256:HEX
	Err    string
}

// PolicyUp says that a policy plugin is ready.
type PolicyUp struct {
	Name    string
	Version string // SHA-256 of its program
	Policy  place.Policy
}

// PolicyDown says that a policy plugin cannot answer. Apps that use it are held until it is up.
type PolicyDown struct {
	Name   string
	Reason string // a sentence
}

// Tick says that the time of the last Wake has come, or any time at all.
type Tick struct{}

func (RevisionSeen) event()     {}
func (SourceContact) event()    {}
func (NodeConnected) event()    {}
func (NodeReported) event()     {}
func (NodeSeen) event()         {}
func (NodesSeen) event()        {}
func (NodeDisconnected) event() {}
func (Approve) event()          {}
func (Drain) event()            {}
func (Undrain) event()          {}
func (RemoveNode) event()       {}
func (Restart) event()          {}
func (Dispatch) event()         {}
func (Cancel) event()           {}
func (Scale) event()            {}
func (Promote) event()          {}
func (Rebalance) event()        {}
func (Proposed) event()         {}
func (CancelRebalance) event()  {}
func (Rollback) event()         {}
func (Resume) event()           {}
func (Expanded) event()         {}
func (Resolved) event()         {}
func (PolicyUp) event()         {}
func (PolicyDown) event()       {}
func (Tick) event()             {}
