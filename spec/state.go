package spec

import (
	"slices"
	"strconv"
	"strings"
)

// Node is a machine as its agent describes it.
type Node struct {
	ID         NodeID            `json:"id"`
	Address    string            `json:"address"`        // where others reach the ports of its allocations; an IP address or a host name
	Pool       PoolName          `json:"pool,omitempty"` // "" is DefaultPool
	Attributes map[string]string `json:"attributes,omitempty"`
	Capacity   Resources         `json:"capacity"`          // what tasks may use; what the machine keeps for itself is already taken off
	Devices    []Device          `json:"devices,omitempty"` // sorted by kind and ID; Capacity.Named counts them by kind
	Cores      []CoreGroup       `json:"cores,omitempty"`   // that tasks may have for themselves, by NUMA node; none: the node cannot give any
	Reserved   Resources         `json:"reserved,omitzero"` // what the machine keeps for itself
	Agent      string            `json:"agent,omitempty"`
	// PortFirst to PortLast (included) are given to ports without a number; both zero: DynamicPortFirst to
	// DynamicPortLast. Agents that share a machine's network divide the range among them.
	PortFirst int `json:"port_first,omitempty"`
	PortLast  int `json:"port_last,omitempty"`
}

// DynamicPorts returns the node's range for ports without a number, both ends included.
func (n *Node) DynamicPorts() (first, last int) {
	if n.PortFirst == 0 && n.PortLast == 0 {
		return DynamicPortFirst, DynamicPortLast
	}
	return n.PortFirst, n.PortLast
}

// NodeState is what the master thinks of a node.
type NodeState string

// The states of a node. Ready and draining nodes are in touch; an unknown one has been silent for NodeUnknownAfter;
// a down one has said goodbye or was given up.
const (
	NodeReady    NodeState = "ready"    // takes allocations
	NodeDraining NodeState = "draining" // its allocations are being moved away
	NodeDrained  NodeState = "drained"  // empty, and takes no allocations
	NodeUnknown  NodeState = "unknown"  // silent; its allocations may well run on
	NodeDown     NodeState = "down"     // removed, or lost for longer than every reschedule.after
)

// NodeView is a node with what the master knows of it.
type NodeView struct {
	Node
	State    NodeState `json:"state"`
	LastSeen Time      `json:"last_seen"`
	Since    Time      `json:"since"` // of the state
}

// Want is what the master has decided should become of an allocation.
type Want string

// The two wants. It never goes back from WantStop: a slot that is needed again gets a new allocation.
const (
	WantRun  Want = "run"
	WantStop Want = "stop"
)

// Allocation is a slot on a node in one generation, as decided. Its ID never changes; Version may (an update in
// place), and Want may once.
type Allocation struct {
	ID AllocationID `json:"id"`
	Slot
	Node       NodeID        `json:"node"`
	Generation Generation    `json:"generation"`
	Version    Hash          `json:"version"` // App.Hash of the spec it follows
	Runtime    Hash          `json:"runtime"` // App.RuntimeHash of that
	Commit     Commit        `json:"commit"`  // the revision that Version came from
	Ports      []Port        `json:"ports,omitempty"`
	Devices    []DeviceGrant `json:"devices,omitempty"` // by task, in the order asked for
	Cores      []CoreGrant   `json:"cores,omitempty"`   // by task
	// After lists allocations of the same node whose room, ports, devices or cores this one takes over: the agent starts it only when
	// they have ended, so that a node never holds more than it has.
	After      []AllocationID `json:"after,omitempty"`
	Want       Want           `json:"want"`
	Canary     bool           `json:"canary,omitempty"` // an extra beside the old allocation of its slot, until promotion
	Placed     Time           `json:"placed"`
	Why        string         `json:"why"`                   // the decision: why here, and when stopping why that
	Attempt    int            `json:"attempt,omitempty"`     // how often the slot was placed again after failures since it was last healthy
	StopReason string         `json:"stop_reason,omitempty"` // why Want became stop
}

// Port is a port of the node given to an allocation.
type Port struct {
	Name     string   `json:"name"`
	Number   int      `json:"number"`
	Protocol Protocol `json:"protocol"`
}

// State is how far an allocation or a task has come. States only move forward.
type State string

// The states in order. A restart of a task is a new attempt of the same allocation: the allocation stays running.
const (
	StatePending   State = "pending"   // wanted, no node yet
	StatePlaced    State = "placed"    // decided, not yet acknowledged by the agent
	StatePreparing State = "preparing" // the agent gets images and folders ready
	StateStarting  State = "starting"  // containers are being started
	StateRunning   State = "running"   // all main tasks run (or wait for a restart)
	StateStopping  State = "stopping"  // asked to end
	StateComplete  State = "complete"  // ended as wanted: exit 0 of a batch app, or stopped on request
	StateFailed    State = "failed"    // ended otherwise; Reason says how
	StateLost      State = "lost"      // its node is gone, or the agent no longer knows it
)

// Terminal reports whether nothing of the allocation runs any more (or, for lost, nothing that is known).
func (s State) Terminal() bool { return s == StateComplete || s == StateFailed || s == StateLost }

// Rank numbers the states so that "only forward" can be checked: a later state never has a lower rank.
func (s State) Rank() int {
	switch s {
	case StatePending:
		return 0
	case StatePlaced:
		return 1
	case StatePreparing:
		return 2
	case StateStarting:
		return 3
	case StateRunning:
		return 4
	case StateStopping:
		return 5
	}
	return 6
}

// AllocationStatus is what the agent last observed of an allocation.
type AllocationStatus struct {
	State        State        `json:"state"`
	Healthy      bool         `json:"healthy"`                 // running, and every gate check passes
	HealthySince Time         `json:"healthy_since,omitempty"` // zero while not healthy
	Since        Time         `json:"since"`                   // of the state
	Reason       string       `json:"reason,omitempty"`        // why the state is what it is, as a sentence
	Restarts     int          `json:"restarts"`                // of tasks, since the allocation began
	Tasks        []TaskStatus `json:"tasks,omitempty"`         // in the order of the spec
}

// TaskStatus is what the agent last observed of a task.
type TaskStatus struct {
	Name     TaskName `json:"name"`
	State    State    `json:"state"`
	Pid      int      `json:"pid,omitempty"` // on the node; 0 when not running
	Started  Time     `json:"started,omitempty"`
	Finished Time     `json:"finished,omitempty"` // of the last run
	Restarts int      `json:"restarts"`
	Exit     *Exit    `json:"exit,omitempty"` // of the last run that ended
	Reason   string   `json:"reason,omitempty"`
	Output   string   `json:"output,omitempty"` // the last line that the last run printed, if that failed; at most MaxOutput bytes
	Checks   []Result `json:"checks,omitempty"`
}

// MaxOutput bounds what is told of a task's or a check's output, in bytes.
const MaxOutput = 200

// Exit is how a run of a task ended.
type Exit struct {
	Code        int    `json:"code"`                   // 128 + signal when a signal ended it
	Signal      string `json:"signal,omitempty"`       // "SIGKILL"
	OOM         bool   `json:"oom,omitempty"`          // killed for memory
	MemoryLimit Bytes  `json:"memory_limit,omitempty"` // at this limit, when OOM
	DiskUsed    Bytes  `json:"disk_used,omitempty"`    // that its folder held when it was ended for it
	DiskLimit   Bytes  `json:"disk_limit,omitempty"`   // what it had asked for, then
	FilesLimit  int64  `json:"files_limit,omitempty"`  // how many files a disk of DiskLimit may hold there, when it was ended for having more
	Unknown     bool   `json:"unknown,omitempty"`      // nobody was there to collect the code
	Rebooted    bool   `json:"rebooted,omitempty"`     // it ended with its machine, which has started anew since; Unknown too
}

// String says how the run ended, as people say it: "exit code 3", "killed for memory at 64MiB".
func (e Exit) String() string {
	switch {
	case e.Rebooted:
		return "ended when the node restarted"
	case e.Unknown:
		return "exit code unknown: nobody was there to collect it"
	case e.OOM && e.MemoryLimit > 0:
		return "killed for memory at " + e.MemoryLimit.String()
	case e.OOM:
		return "killed for memory"
	case e.FilesLimit > 0:
		return "ended for its files: more than the " + strconv.FormatInt(e.FilesLimit, 10) + " that a disk of " + e.DiskLimit.String() + " may hold"
	case e.DiskLimit > 0 && e.DiskUsed.String() == e.DiskLimit.String():
		return "ended for its disk: more than " + e.DiskLimit.String() + " used"
	case e.DiskLimit > 0:
		return "ended for its disk: " + e.DiskUsed.String() + " of " + e.DiskLimit.String() + " used"
	case e.Signal != "":
		return "killed by " + e.Signal
	}
	return "exit code " + strconv.Itoa(e.Code)
}

// Result is the last answer of a check.
type Result struct {
	Check   string `json:"check"`
	Passing bool   `json:"passing"`
	Output  string `json:"output,omitempty"` // the first line, at most MaxOutput bytes
	Since   Time   `json:"since,omitempty"`
	// Row is how many bad answers there were in a row, at least: it is told when it doubles.
	Row int `json:"row,omitempty"`
}

// AllocationView joins what was decided and what was last observed of one allocation.
type AllocationView struct {
	Allocation
	AllocationStatus
}

// Trouble says what is wrong with an allocation, as its agent saw it: why it ended, or of one that runs and is not
// healthy, what its tasks and checks say. "" when nothing is.
func (s *AllocationStatus) Trouble() string {
	if s.Reason != "" || s.State == StateRunning && s.Healthy {
		return s.Reason
	}
	for i := range s.Tasks {
		t := &s.Tasks[i]
		if t.State == StateComplete {
			continue // it did what it was there for
		}
		if t.Reason != "" {
			return "task " + string(t.Name) + ": " + t.Reason
		}
		for _, c := range t.Checks {
			if !c.Passing && c.Output != "" {
				return "check " + c.Check + ": " + c.Output
			}
		}
	}
	return ""
}

// Said is the last line that a task printed whose last run failed, of the first such task that does not run well by now; "" when there is none.
func (s *AllocationStatus) Said() string {
	for i := range s.Tasks {
		if t := &s.Tasks[i]; t.Output != "" && t.State != StateRunning {
			return t.Output
		}
	}
	return ""
}

// Logs are the arguments with which stowage logs shows what a failed allocation with this ID said, with the task that is to blame
// where there are several. "" when that did not run: it said nothing.
func (s *AllocationStatus) Logs(id AllocationID) string {
	blamed := slices.IndexFunc(s.Tasks, func(t TaskStatus) bool { return t.State == StateFailed })
	if blamed < 0 {
		blamed = slices.IndexFunc(s.Tasks, func(t TaskStatus) bool {
			failing := slices.ContainsFunc(t.Checks, func(c Result) bool { return !c.Passing })
			return t.State != StateComplete && (t.Reason != "" || failing)
		})
	}
	ran := func(t TaskStatus) bool { return t.Started != 0 }
	switch {
	case blamed < 0 && !slices.ContainsFunc(s.Tasks, ran), blamed >= 0 && !ran(s.Tasks[blamed]):
		return ""
	case blamed >= 0 && len(s.Tasks) > 1:
		return string(id) + " --task " + string(s.Tasks[blamed].Name)
	}
	return string(id)
}

// Misplaced is an allocation that runs where the rules of its app would not let it be placed now.
type Misplaced struct {
	Slot  Slot         `json:"slot"`
	ID    AllocationID `json:"id"`
	Node  NodeID       `json:"node"`
	Rules []string     `json:"rules"` // that the node does not meet, as reasons give them
}

// String says so in a sentence.
func (m *Misplaced) String() string {
	return m.Slot.String() + " on " + string(m.Node) + " no longer meets " + strings.Join(m.Rules, ", and ")
}

// RolloutState is how far a rollout has come.
type RolloutState string

// The states of a rollout: rolling → done, or rolling → failed (→ reverted when the old version is back).
const (
	RolloutRolling   RolloutState = "rolling"
	RolloutCanaries  RolloutState = "canaries" // canaries run; promotion is waited for
	RolloutDone      RolloutState = "done"
	RolloutReverting RolloutState = "reverting" // it failed, and the last good version is being restored
	RolloutFailed    RolloutState = "failed"    // it failed and stays failed until another version is committed
)

// Rollout is the change of one app from one version to another. There is at most one per app; the newest replaces an
// older one that was overtaken.
type Rollout struct {
	App      AppName      `json:"app"`
	Target   Hash         `json:"target"`         // the version being rolled out
	Good     Hash         `json:"good,omitempty"` // the last version that became healthy; "" for a first deployment
	Commit   Commit       `json:"commit"`
	State    RolloutState `json:"state"`
	Started  Time         `json:"started"`
	Progress Time         `json:"progress"` // last time an allocation of Target became healthy, or Started
	Healthy  int          `json:"healthy"`  // allocations of Target seen healthy at once, at most
	Promoted bool         `json:"promoted,omitempty"`
	Reason   string       `json:"reason,omitempty"` // of a failure
	Failed   AllocationID `json:"failed,omitempty"` // of Target, that ended last or is not healthy: what a failure is due to, if anything is known
	Logs     string       `json:"logs,omitempty"`   // of Failed, as AllocationStatus.Logs gives them
}

// Scale is the count that somebody, a person or a program, chose for an app within the bounds of its Scaling.
type Scale struct {
	App    AppName `json:"app"`
	Count  int     `json:"count"`
	By     string  `json:"by,omitempty"`
	Reason string  `json:"reason,omitempty"`
	At     Time    `json:"at"`
}

// Drain is the wish of an operator that a node become empty.
type Drain struct {
	Node     NodeID `json:"node"`
	Since    Time   `json:"since"`
	Deadline Time   `json:"deadline,omitempty"` // after it, what is left is stopped all the same; zero: never
	// Window is the one in which work leaves the node; until it opens, and after it has closed, what has not begun to leave
	// stays. "": any time will do.
	Window WindowName `json:"window,omitempty"`
	Reason string     `json:"reason,omitempty"`
}

// DrainProgress is a drain with how far it has come, in allocations of the node that have not ended.
type DrainProgress struct {
	Drain
	Wait      *WindowWait `json:"wait,omitempty"` // the window that it waits for; nil: for none
	Left      int         `json:"left"`
	Leaving   int         `json:"leaving"`         // told to stop
	Moving    int         `json:"moving"`          // a successor on another node is on its way
	Finishing int         `json:"finishing"`       // batch work that may end by itself
	Last      int         `json:"last"`            // of system apps: they leave when the others have
	Waiting   int         `json:"waiting"`         // with no place to go to, or held
	Stays     []DrainStay `json:"stays,omitempty"` // the first ten of Waiting
}

// DrainStay is an allocation that cannot leave a draining node yet.
type DrainStay struct {
	Slot    Slot     `json:"slot"`
	Why     string   `json:"why"`
	Blocked *Blocked `json:"blocked,omitempty"` // of its app, when no other node has a place
}

// Assignment is everything one node should do, in one message: an agent obeys it if Generation is newer than what it
// holds. Allocations that it does not mention are left alone and reported, never stopped: only WantStop stops.
type Assignment struct {
	FormatVersion int           `json:"format_version"`
	Node          NodeID        `json:"node"`
	Generation    Generation    `json:"generation"`
	Allocations   []Allocation  `json:"allocations"` // sorted by ID
	Versions      map[Hash]*App `json:"versions"`    // every version that Allocations mentions
}

// Report is what an agent says of itself and its allocations. A full one replaces all that was known of the node; the
// others carry only what changed.
type Report struct {
	FormatVersion int        `json:"format_version"`
	Node          *Node      `json:"node,omitempty"` // when it changed, and in a full report
	Full          bool       `json:"full,omitempty"`
	Generation    Generation `json:"generation"` // of the assignment that the agent follows
	// Sent is when it was, by the agent's clock: the times in it are by that clock too.
	Sent        Time               `json:"sent,omitempty"`
	Allocations []ReportAllocation `json:"allocations,omitempty"`
}

// ReportAllocation is one allocation in a report. A full report also carries what was decided about it, so that a
// master that lost its journal can rebuild it.
type ReportAllocation struct {
	ID      AllocationID     `json:"id"`
	Status  AllocationStatus `json:"status"`
	Decided *Allocation      `json:"decided,omitempty"` // in a full report
	Spec    *App             `json:"spec,omitempty"`    // in a full report, once per version
	Gone    bool             `json:"gone,omitempty"`    // cleaned up after it ended; the agent has forgotten it
}

// Event is one line of the story: what happened to whom, and why.
type Event struct {
	Time    Time   `json:"time"`
	Subject string `json:"subject"` // app, slot, node or commit, as people write it
	What    string `json:"what"`    // a few words: "started", "killed for memory at 64MiB"
	Why     string `json:"why,omitempty"`
	// Allocation is which allocation of a slot it happened to; "" when it is about none.
	Allocation AllocationID `json:"allocation,omitempty"`
}
