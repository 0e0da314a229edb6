package reconcile

import (
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
)

// Input is everything that a plan depends on. Nothing is changed by planning, and the same input gives the same bytes.
// It can be saved and replayed, all but Policies: a bug report is an input. See Save.
type Input struct {
	Now     spec.Time                 `json:"now"`
	Seed    uint64                    `json:"seed"`
	Commit  spec.Commit               `json:"commit"` // of Desired
	Subject string                    `json:"subject,omitempty"`
	Signed  bool                      `json:"signed,omitempty"`
	Base    spec.Base                 `json:"base"`    // Nodes is filled in by Plan
	Desired *spec.Cluster             `json:"desired"` // with the apps of frameworks expanded into Apps
	Steps   map[spec.AppName][]string `json:"steps,omitempty"`
	Held    map[spec.AppName]string   `json:"held,omitempty"` // apps that are left exactly as they are, with the reason
	Nodes   []spec.NodeView           `json:"nodes"`          // sorted by ID
	Drains  []spec.Drain              `json:"drains,omitempty"`
	// Suppose is what of Nodes is not so; see Suppose. Nil: all of it is.
	Suppose *spec.Supposition `json:"suppose,omitempty"`
	// Current is sorted by slot, then generation. Allocations that have ended stay in it as long as they matter: the last
	// completed one of each slot of a batch app (or the work would be done again), the last failed one of each slot (or
	// its back-off would be forgotten), and those that others name in After.
	Current   []spec.AllocationView   `json:"current"`
	Versions  map[spec.Hash]*spec.App `json:"versions"`            // every version that Current, Rollouts, Agendas and unended Runs mention
	Rollouts  []spec.Rollout          `json:"rollouts,omitempty"`  // sorted by app
	Failures  []Failure               `json:"failures,omitempty"`  // the last few minutes'
	Runs      []spec.Run              `json:"runs,omitempty"`      // sorted by name
	Agendas   []spec.Agenda           `json:"agendas,omitempty"`   // sorted by app
	Restarts  []Restart               `json:"restarts,omitempty"`  // wished by operators, not yet done
	Policies  map[string]place.Policy `json:"-"`                   // by name; the built-in ones are always there
	Rebalance *Rebalancing            `json:"rebalance,omitempty"` // wished by an operator, not yet done
	// PolicyVersions tells what each of Policies is; see spec.PolicyVersion.
	PolicyVersions map[string]string `json:"policy_versions,omitempty"`
	// Hashes are HashApps(Desired.Apps), for a caller that plans the same commit many times. What is missing is computed.
	Hashes map[spec.AppName]AppHashes `json:"-"`
	// Originals are the hashes that apps had before something of them was hidden, by those that they have now; see Save.
	Originals map[spec.Hash]spec.Hash `json:"originals,omitempty"`
	// Memory, when not nil, makes this plan faster and is made ready for the next one.
	Memory *Memory `json:"-"`
	// Brief leaves out of the plan what only people read of it: Capacity, Failure and the hash of the nodes, which look at
	// the whole cluster, what of an app stays and which fields of it changed, and the fixes of what is blocked, which are
	// planned to see whether they do.
	Brief bool `json:"brief,omitempty"`
	// Gathering, when not nil, says that the cluster is new and more nodes are about to join: nothing starts before.
	Gathering *Gathering `json:"gathering,omitempty"`
	// AtOnce says that changes of the commit wait for no window: an operator wants it so, or has gone back to an older commit.
	// Moves of a rebalancing wait all the same.
	AtOnce bool `json:"at_once,omitempty"`
}

// Gathering is how far a new cluster is whose nodes still join. See docs/decisions/0028-the-first-nodes.md.
type Gathering struct {
	Joined   int       `json:"joined"`
	Expected int       `json:"expected"` // more than Joined
	Until    spec.Time `json:"until"`    // they are waited for until then, unless another one joins; 0: none has joined
}

// Failure is one failed allocation of an app on a node.
type Failure struct {
	App  spec.AppName `json:"app"`
	Node spec.NodeID  `json:"node"`
	Time spec.Time    `json:"time"`
}

// Restart is an operator's wish that an app's allocations older than a generation be replaced, within the budget.
type Restart struct {
	App    spec.AppName    `json:"app"`
	Before spec.Generation `json:"before"`
	Reason string          `json:"reason"`
}

// Report is what planning learned beside the plan itself.
type Report struct {
	// Next is the earliest moment at which planning again could give another plan though nothing else happened: a
	// back-off that ends, a deadline, a health period. Zero when there is none.
	Next spec.Time `json:"next,omitempty"`
	// NextOfApps is the same without what the clock alone brings for ever: the firings and deadlines of runs, and the
	// openings of windows.
	NextOfApps spec.Time `json:"next_of_apps,omitempty"`
	// Rollouts are the rollouts after this plan's steps that may be taken now; all of them, sorted by app.
	Rollouts []spec.Rollout `json:"rollouts,omitempty"`
	// Events tell what the plan decided that no Change shows: a rollout that failed, was promoted, was overtaken.
	Events []spec.Event `json:"events,omitempty"`
	// MovesDone are the moves of Input.Rebalance that nothing is left to do for.
	MovesDone []spec.AllocationID `json:"moves_done,omitempty"`
	// RestartsDone are the wishes of Input.Restarts that nothing is left to do for.
	RestartsDone []Restart `json:"restarts_done,omitempty"`
	// Runs is what is to be recorded of runs and agendas; nil for nothing.
	Runs *runs.Change `json:"runs,omitempty"`
	// Versions are those that Runs mentions and Input.Versions lacks.
	Versions map[spec.Hash]*spec.App `json:"versions,omitempty"`
}

// Decision is the part of a plan that is carried out now, as it stands in the journal. Applying it is adding Start,
// replacing what Update and Stop name, and replacing Rollouts.
type Decision struct {
	Plan       spec.PlanID             `json:"plan"`
	Commit     spec.Commit             `json:"commit"`
	Generation spec.Generation         `json:"generation"` // of the allocations in Start
	Time       spec.Time               `json:"time"`
	Start      []spec.Allocation       `json:"start,omitempty"`
	Update     []Update                `json:"update,omitempty"`
	Stop       []Stop                  `json:"stop,omitempty"`
	Renamed    []Rename                `json:"renamed,omitempty"`
	Versions   map[spec.Hash]*spec.App `json:"versions,omitempty"` // those of Start, Update, Rollouts and Runs that Input.Versions lacks
	Rollouts   []spec.Rollout          `json:"rollouts,omitempty"` // all of them afterwards, when RolloutsChanged
	Changed    bool                    `json:"rollouts_changed,omitempty"`
	Done       []Restart               `json:"restarts_done,omitempty"`
	Runs       *runs.Change            `json:"runs,omitempty"`
	Moved      []spec.AllocationID     `json:"moves_done,omitempty"` // of the rebalancing under way
}

// Update gives a running allocation another version without a restart.
type Update struct {
	ID      spec.AllocationID `json:"id"`
	Version spec.Hash         `json:"version"`
	Commit  spec.Commit       `json:"commit"`
	Why     string            `json:"why"`
	Promote bool              `json:"promote,omitempty"` // a canary becomes the allocation of its slot
}

// Stop ends an allocation.
type Stop struct {
	ID     spec.AllocationID `json:"id"`
	Reason string            `json:"reason"`
}

// Rename gives the allocations of one app to another, as a moved block asks. Their IDs stay.
type Rename struct {
	From spec.AppName `json:"from"`
	To   spec.AppName `json:"to"`
}

// Empty reports whether the decision changes nothing.
func (d *Decision) Empty() bool {
	return len(d.Start)+len(d.Update)+len(d.Stop)+len(d.Renamed)+len(d.Done)+len(d.Moved) == 0 && !d.Changed && d.Runs == nil
}
