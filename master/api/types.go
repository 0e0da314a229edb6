package api

import (
	"strings"

	"github.com/stowage/stowage/spec"
)

// Error is the body of every answer that is not a success.
type Error struct {
	Status      int               `json:"-"`                     // of HTTP
	Message     string            `json:"error"`                 // what went wrong, as a sentence
	Remedy      string            `json:"remedy,omitempty"`      // what to do about it
	Differs     []string          `json:"differs,omitempty"`     // of a refused approval: what is no longer as the plan says
	Diagnostics []spec.Diagnostic `json:"diagnostics,omitempty"` // of a revision that cannot be used
}

// Error returns the message with its remedy and what differs.
func (e *Error) Error() string {
	text := e.Message
	if e.Remedy != "" {
		text += ": " + e.Remedy
	}
	if len(e.Differs) > 0 {
		text += "\n  " + strings.Join(e.Differs, "\n  ")
	}
	return text
}

// Status is how the cluster and its master are, on one page.
type Status struct {
	Version  string        `json:"version"` // of the master's program
	Started  spec.Time     `json:"started"`
	Now      spec.Time     `json:"now"`
	Cluster  string        `json:"cluster,omitempty"`
	Phase    Phase         `json:"phase"`
	Waiting  string        `json:"waiting,omitempty"` // for what, as a sentence, while Phase is PhaseSettling
	Source   Source        `json:"source"`
	Follows  *Followed     `json:"follows,omitempty"` // nil before the first good revision
	Refused  *Refused      `json:"refused,omitempty"` // the newest revision, when it cannot be used
	Pending  *PendingPlan  `json:"pending,omitempty"` // a plan that waits for approval
	Nodes    NodeCounts    `json:"nodes"`
	Work     WorkCounts    `json:"work"`
	Runs     *RunCounts    `json:"runs,omitempty"`     // nil when no app has runs
	Waits    []WindowWaits `json:"waits,omitempty"`    // windows that changes or drains wait for, by when they open
	Problems []Problem     `json:"problems,omitempty"` // what a person should look at, worst first
	Plan     *spec.Summary `json:"plan,omitempty"`     // what is still to be done for the followed revision
}

// WindowWaits is a window and what waits for it.
type WindowWaits struct {
	spec.WindowWait
	Apps  []spec.AppName `json:"apps,omitempty"`  // the first ten
	More  int            `json:"more,omitempty"`  // apps beyond those
	Nodes []spec.NodeID  `json:"nodes,omitempty"` // that are to be empty
}

// Phase is how far a master has come.
type Phase string

// The phases.
const (
	PhaseStarting  Phase = "starting"  // the journal is being read, or another master leads
	PhaseSettling  Phase = "settling"  // leading, and waiting for what the agents report before anything is decided
	PhaseLeading   Phase = "leading"   // deciding
	PhaseSuspended Phase = "suspended" // the journal cannot be written: nothing is decided, everything runs on
)

// Source is the followed repository.
type Source struct {
	URL     string      `json:"url"`
	Branch  string      `json:"branch,omitempty"`
	Path    string      `json:"path,omitempty"`
	Head    spec.Commit `json:"head,omitempty"`    // of the branch, as last seen
	Contact spec.Time   `json:"contact,omitempty"` // when the repository was last reached
	Error   string      `json:"error,omitempty"`   // why it cannot be reached now
}

// Followed is the revision that decides.
type Followed struct {
	Commit  spec.Commit `json:"commit"`
	Subject string      `json:"subject,omitempty"`
	Author  string      `json:"author,omitempty"`
	Time    spec.Time   `json:"time,omitempty"` // of the commit
	Signed  bool        `json:"signed,omitempty"`
	Plan    spec.PlanID `json:"plan,omitempty"`
	By      string      `json:"by,omitempty"`   // who approved it
	Left    spec.Commit `json:"left,omitempty"` // of a rollback: the head that is not followed
}

// Refused is a revision with errors.
type Refused struct {
	Commit      spec.Commit       `json:"commit"`
	Subject     string            `json:"subject,omitempty"`
	Diagnostics []spec.Diagnostic `json:"diagnostics"`
}

// PendingPlan is a plan that waits for approval.
type PendingPlan struct {
	Plan    spec.PlanID  `json:"plan"`
	Commit  spec.Commit  `json:"commit"`
	Subject string       `json:"subject,omitempty"`
	Why     string       `json:"why"`
	Summary spec.Summary `json:"summary"`
}

// NodeCounts counts nodes by state.
type NodeCounts struct {
	Ready    int `json:"ready"`
	Draining int `json:"draining"`
	Drained  int `json:"drained"`
	Unknown  int `json:"unknown"`
	Down     int `json:"down"`
}

// WorkCounts counts apps, and allocations by state.
type WorkCounts struct {
	Apps        int                `json:"apps"`
	Allocations int                `json:"allocations"` // that have not ended
	Running     int                `json:"running"`
	Healthy     int                `json:"healthy"`
	Blocked     int                `json:"blocked"`           // slots without a place
	Leaving     int                `json:"leaving,omitempty"` // slots that work on a node that they must leave, and cannot yet
	Kept        int                `json:"kept,omitempty"`    // slots that work and are to be replaced, for which there is no room yet
	Looping     int                `json:"looping,omitempty"` // slots whose tasks end again and again, see Loop
	Held        int                `json:"held,omitempty"`    // apps that are left exactly as they are
	States      map[spec.State]int `json:"states,omitempty"`
}

// RunCounts sums up the runs.
type RunCounts struct {
	Active int          `json:"active"`          // waiting or running
	App    spec.AppName `json:"app,omitempty"`   // whose firing is next
	Next   spec.Time    `json:"next,omitempty"`  // when that is
	Local  string       `json:"local,omitempty"` // the same, as a clock of the schedule's time zone shows it
}

// Problem is something that a person should look at.
type Problem struct {
	Subject string `json:"subject"` // app, node, plugin, commit …
	What    string `json:"what"`
	Remedy  string `json:"remedy,omitempty"`
	Loop    *Loop  `json:"loop,omitempty"` // of what ends again and again: how often, since when, and when it is tried next
}

// Loop is a slot whose tasks end again and again though they should run.
type Loop struct {
	Slot       spec.Slot         `json:"slot"`
	Allocation spec.AllocationID `json:"allocation"` // the newest of the slot
	Node       spec.NodeID       `json:"node"`       // of Allocation
	Why        string            `json:"why"`        // how it ended last, as a sentence
	Said       string            `json:"said,omitempty"`
	Ends       int               `json:"ends"`           // that are known of, since it was last well
	Since      spec.Time         `json:"since"`          // when the first of the allocations that they are of was placed
	Last       spec.Time         `json:"last,omitempty"` // of the ends
	Next       spec.Time         `json:"next,omitempty"` // when the slot is placed again; 0: it has an allocation
	Logs       string            `json:"logs,omitempty"` // arguments with which stowage logs shows what it said
}

// Node is a node with what runs on it.
type Node struct {
	spec.NodeView
	Used        spec.Resources      `json:"used"` // by allocations that have not ended
	Allocations int                 `json:"allocations"`
	Drain       *spec.DrainProgress `json:"drain,omitempty"`
	// Reservations are what is kept on it for roles; only when one node is asked for.
	Reservations []spec.NodeReservation `json:"reservations,omitempty"`
}

// App is an app with how it is doing.
type App struct {
	Name      spec.AppName     `json:"name"`
	Kind      spec.Kind        `json:"kind"`
	Role      spec.RoleName    `json:"role"`
	Priority  int              `json:"priority"`
	Count     int              `json:"count"`
	Live      int              `json:"live"` // allocations that have not ended
	Running   int              `json:"running"`
	Healthy   int              `json:"healthy"`
	Version   spec.Hash        `json:"version"`             // that is desired
	Commit    spec.Commit      `json:"commit,omitempty"`    // whose version runs: that is followed, or where its rollout failed an older one
	Framework string           `json:"framework,omitempty"` // "driver name" of the block that made it
	Rollout   *spec.Rollout    `json:"rollout,omitempty"`
	Blocked   *spec.Blocked    `json:"blocked,omitempty"`
	Held      string           `json:"held,omitempty"`
	Waits     *spec.WindowWait `json:"waits,omitempty"` // the window that its change waits for
	Loops     []Loop           `json:"loops,omitempty"` // its slots whose tasks end again and again
	Steps     []string         `json:"steps,omitempty"` // of a framework driver
	Pos       spec.Pos         `json:"pos"`
	Spec      *spec.App        `json:"spec,omitempty"` // where one app is asked for
}

// BlockedApp is an app with slots that have no place or have one that its rules no longer allow, that is held, whose change waits
// for a window, whose rollout has failed, or whose tasks end again and again.
type BlockedApp struct {
	App       spec.AppName     `json:"app"`
	Blocked   *spec.Blocked    `json:"blocked,omitempty"`
	Misplaced []spec.Misplaced `json:"misplaced,omitempty"`
	Held      string           `json:"held,omitempty"`
	Waits     *spec.WindowWait `json:"waits,omitempty"`
	Rollout   *spec.Rollout    `json:"rollout,omitempty"` // that has failed
	Loops     []Loop           `json:"loops,omitempty"`   // slots whose tasks end again and again
	Pos       spec.Pos         `json:"pos"`
}

// Role is a party to fair sharing and what it has.
type Role struct {
	Name        spec.RoleName   `json:"name"`
	Weight      int             `json:"weight"`
	Quota       *spec.Resources `json:"quota,omitempty"`
	Guarantee   *spec.Resources `json:"guarantee,omitempty"` // what nobody else can take while the role does not use it
	Used        spec.Resources  `json:"used"`                // with the roles below it
	Dominant    string          `json:"dominant,omitempty"`  // the resource that Share is of
	Share       spec.Milli      `json:"share"`               // dominant share: the largest part it has of any resource, in thousandths
	Allocations int             `json:"allocations"`
}

// Explanation tells why something is as it is.
type Explanation struct {
	Subject    string               `json:"subject"` // allocation, slot, app or node, as people write it
	Allocation *spec.AllocationView `json:"allocation,omitempty"`
	Spec       *spec.App            `json:"spec,omitempty"`      // of the version that the allocation follows
	Change     *spec.Change         `json:"change,omitempty"`    // the step of a plan that placed it, while that is kept
	Plan       spec.PlanID          `json:"plan,omitempty"`      // of Change
	Next       *spec.Change         `json:"next,omitempty"`      // what will be done to it
	Again      *spec.Change         `json:"again,omitempty"`     // where it would be placed if it had to be now, with the score
	Blocked    *spec.Blocked        `json:"blocked,omitempty"`   // of its app, when its slot has no place
	Misplaced  []spec.Misplaced     `json:"misplaced,omitempty"` // of it, what runs where its rules no longer allow
	Held       string               `json:"held,omitempty"`
	Scale      *spec.Scale          `json:"scale,omitempty"` // who chose the count of its app
	Waits      *spec.WindowWait     `json:"waits,omitempty"` // the window that its app's change waits for
	Rollout    *spec.Rollout        `json:"rollout,omitempty"`
	Run        *spec.Run            `json:"run,omitempty"`   // that it belongs to
	Runs       *Runs                `json:"runs,omitempty"`  // of an app that has some
	Loops      []Loop               `json:"loops,omitempty"` // of it, slots whose tasks end again and again
	Story      []spec.Event         `json:"story,omitempty"` // oldest first
}

// HistoryEntry is a revision that was followed.
type HistoryEntry struct {
	Time    spec.Time    `json:"time"`
	Commit  spec.Commit  `json:"commit"`
	Subject string       `json:"subject,omitempty"`
	Author  string       `json:"author,omitempty"`
	Signed  bool         `json:"signed,omitempty"`
	By      string       `json:"by,omitempty"`
	Plan    spec.PlanID  `json:"plan"`
	Kept    bool         `json:"kept"` // the whole plan can be shown
	Summary spec.Summary `json:"summary"`
	Nodes   int          `json:"nodes"` // that had joined when it was planned
	Left    spec.Commit  `json:"left,omitempty"`
}

// Diff is what differs between two plans, one sentence for each step that only one of them has.
type Diff struct {
	From    spec.PlanID `json:"from"`
	To      spec.PlanID `json:"to"`
	Only    []string    `json:"only_from,omitempty"`
	New     []string    `json:"only_to,omitempty"`
	Changed []string    `json:"changed,omitempty"`
}

// Applied is the answer to an approval and to every other wish.
type Applied struct {
	Plan  *spec.Plan    `json:"plan,omitempty"`  // that took effect, or waits now
	NoOp  bool          `json:"no_op,omitempty"` // it was so already
	Nodes []spec.NodeID `json:"nodes,omitempty"` // of a wish about nodes: those it was carried out for
}

// Validation is the answer to an uploaded tree.
type Validation struct {
	Cluster     string            `json:"cluster,omitempty"`
	Apps        int               `json:"apps"`
	Diagnostics []spec.Diagnostic `json:"diagnostics,omitempty"`
}

// ApplyRequest approves a plan: either ID or Plan is set. With Now and neither, it is about what is followed already.
type ApplyRequest struct {
	ID   spec.PlanID `json:"id,omitempty"`
	Plan *spec.Plan  `json:"plan,omitempty"` // saved earlier with stowage plan --out
	Mode string      `json:"mode,omitempty"` // "exact" or "bounded"; "" is bounded
	Now  bool        `json:"now,omitempty"`  // the changes of this commit wait for no window
}

// DrainRequest says how nodes are to become empty.
type DrainRequest struct {
	Nodes    []spec.NodeID     `json:"nodes,omitempty"`    // with Where: those too. Not where the path names the node
	Where    map[string]string `json:"where,omitempty"`    // nodes that have all these attributes
	Deadline spec.Duration     `json:"deadline,omitempty"` // from now, or from when the window opens; what is left then is stopped all the same. 0: none
	Window   spec.WindowName   `json:"window,omitempty"`   // in which what is there leaves; "": at once
	Reason   string            `json:"reason,omitempty"`
}

// UndrainRequest names nodes.
type UndrainRequest struct {
	Nodes []spec.NodeID     `json:"nodes,omitempty"`
	Where map[string]string `json:"where,omitempty"` // nodes that have all these attributes
}

// RebalanceRequest asks for moves that make the cluster better.
type RebalanceRequest struct {
	DryRun   bool   `json:"dry_run,omitempty"`  // only propose
	Moves    int    `json:"moves,omitempty"`    // most; 0: 50
	Parallel int    `json:"parallel,omitempty"` // on their way at a time; 0: 4
	ID       string `json:"id,omitempty"`       // of the proposal that was seen: other moves are refused. Needed under approval = manual
}

// Rebalancing is moves with what they are good for: proposed, or under way.
type Rebalancing struct {
	ID       string    `json:"id,omitempty"`
	Begun    bool      `json:"begun"` // false: only proposed
	Since    spec.Time `json:"since,omitempty"`
	By       string    `json:"by,omitempty"`
	Auto     bool      `json:"auto,omitempty"` // nobody asked for it: the commit lets the cluster rebalance itself
	Parallel int       `json:"parallel,omitempty"`
	Gains    []Gain    `json:"gains,omitempty"`
	Moves    []Move    `json:"moves,omitempty"` // in order; of one under way, those not done yet
	Of       int       `json:"of"`              // moves in all
}

// Gain is one thing that a rebalancing is good for.
type Gain struct {
	What  string `json:"what"`
	Moves int    `json:"moves"` // that it takes
	Worth int    `json:"worth"` // in moves; what costs more is not proposed
}

// Move is one allocation that goes to another node, replacement first.
type Move struct {
	ID   spec.AllocationID `json:"id"`
	Slot spec.Slot         `json:"slot"`
	From spec.NodeID       `json:"from"`
	To   spec.NodeID       `json:"to"`
	Why  string            `json:"why"`
}

// AppRequest names an app.
type AppRequest struct {
	App    spec.AppName `json:"app"`
	Reason string       `json:"reason,omitempty"`
}

// ScaleRequest asks for another count of an app, within its bounds.
type ScaleRequest struct {
	App    spec.AppName `json:"app"`
	Count  *int         `json:"count"`
	Reason string       `json:"reason,omitempty"`
}

// Runs is an app with runs and what is remembered of them.
type Runs struct {
	App      spec.AppName   `json:"app"`
	Root     spec.AppName   `json:"root,omitempty"`       // from whose runs its own follow, when that is another
	Schedule *spec.Schedule `json:"schedule,omitempty"`   // nil: it has none of its own
	Next     spec.Time      `json:"next,omitempty"`       // the next firing
	Local    string         `json:"next_local,omitempty"` // the same, as a clock of the schedule's time zone shows it
	Runs     []spec.Run     `json:"runs,omitempty"`       // oldest first
}

// DispatchRequest asks for a run.
type DispatchRequest struct {
	App        spec.AppName      `json:"app"`
	Parameters map[string]string `json:"parameters,omitempty"` // no place for secrets: they are kept and shown
	Token      string            `json:"token,omitempty"`      // asking again with the same one starts nothing more, for as long as the run is remembered
}

// Dispatched is the answer to a DispatchRequest.
type Dispatched struct {
	Run  spec.Run `json:"run"`
	NoOp bool     `json:"no_op,omitempty"` // a run with this token is there already
}

// CancelRequest names a run.
type CancelRequest struct {
	Run    spec.AppName `json:"run"`
	Reason string       `json:"reason,omitempty"`
}

// RollbackRequest names the commit to follow: a branch, a tag, or (the beginning of) a hash.
type RollbackRequest struct {
	Ref string `json:"ref"`
}

// TokenRequest asks for a token.
type TokenRequest struct {
	Kind string `json:"kind"`           // operator, reader or agent
	Name string `json:"name,omitempty"` // whose it is
	TTL  string `json:"ttl,omitempty"`  // "12h"; "": a day for agents, else for ever; "never": for ever
}

// Token is a token without its secret.
type Token struct {
	ID      string    `json:"id"`
	Kind    string    `json:"kind"`
	Name    string    `json:"name,omitempty"`
	Created spec.Time `json:"created"`
	Expires spec.Time `json:"expires,omitempty"`
}

// NewToken is a token with its secret, which is told this once.
type NewToken struct {
	Token
	Secret string `json:"secret"`
	Join   string `json:"join,omitempty"` // of kind agent: what stowage agent --join takes, with the master's fingerprint
	Link   string `json:"link,omitempty"` // address of the agents' link
}

// JoinRequest is how an agent asks for its certificate. The Authorization header holds its token, or it uses its
// present certificate (on the route renew).
type JoinRequest struct {
	Node spec.NodeID `json:"node"`
	CSR  string      `json:"csr"` // PEM, ECDSA P-256; only its key counts
}

// JoinAnswer is an agent's certificate and where to go with it.
type JoinAnswer struct {
	Certificate string `json:"certificate"` // PEM
	CA          string `json:"ca"`          // PEM
	Link        string `json:"link"`        // host:port of the agents' link
}

// Plugin is a plugin of the followed or waiting revision as its host sees it.
type Plugin struct {
	Name     string          `json:"name"`
	Kind     spec.PluginKind `json:"kind"`
	SHA256   string          `json:"sha256"`
	State    string          `json:"state"`
	Reason   string          `json:"reason,omitempty"`
	Version  string          `json:"version,omitempty"`
	Pid      int             `json:"pid,omitempty"`
	Restarts int             `json:"restarts"`
	Override string          `json:"override,omitempty"` // the file that runs in place of the checked one, for development
}

// Event is one line of the story with its place in the stream.
type Event struct {
	ID string `json:"id"`
	spec.Event
}

// Change is what the watch stream tells: allocations and apps that are new or different, and what is gone.
type Change struct {
	Allocations []spec.AllocationView `json:"allocations,omitempty"`
	Gone        []spec.AllocationID   `json:"gone,omitempty"`
	Apps        []App                 `json:"apps,omitempty"`
	// Settled says that nothing is left to do for the followed revision: every app has what it asks for.
	Settled bool        `json:"settled"`
	Commit  spec.Commit `json:"commit,omitempty"` // followed now
	Pending spec.PlanID `json:"pending,omitempty"`
}
