package spec

// PlanID identifies a plan by its content: "p-" and the first hexadecimal digits of the SHA-256 over its JSON without
// the ID, the apps one by one after the rest.
type PlanID string

// PlanFormatVersion is the version of the plan's JSON. Minor versions only add.
const PlanFormatVersion = "1.2"

// Plan is what would be (or was) done to get from what runs to what a commit says: an artefact, complete, immutable,
// with a reason for each line.
type Plan struct {
	FormatVersion string `json:"format_version"`
	ID            PlanID `json:"id"`
	Commit        Commit `json:"commit"`
	Subject       string `json:"subject,omitempty"` // first line of the commit message
	Signed        bool   `json:"signed,omitempty"`
	// Base is what the plan was computed from. An exact apply is refused when any of it has moved.
	Base Base `json:"base"`
	// Suppose is what the plan assumes of the nodes that is not so. Such a plan is only shown, never applied.
	Suppose  *Supposition    `json:"suppose,omitempty"`
	Policies []PolicyVersion `json:"policies,omitempty"`
	Apps     []AppPlan       `json:"apps,omitempty"` // only apps with a change, a block, a hold or a rollout that has failed, and those to forget; sorted by name
	Capacity CapacityChange  `json:"capacity"`
	Worst    *WorstMoment    `json:"worst,omitempty"` // nil when nothing is started
	Cost     *Cost           `json:"cost,omitempty"`  // nil when no node has a price
	// Schedules are the apps with runs that are new, differ or go. What is under way keeps its version.
	Schedules []SchedulePlan `json:"schedules,omitempty"` // sorted by name
	Failure   *FailureImpact `json:"failure,omitempty"`   // nil without nodes
	Guards    []Guard        `json:"guards,omitempty"`    // what has to be approved by hand even under approval = auto
	Warnings  []Warning      `json:"warnings,omitempty"`  // what the commit asks for and this cluster cannot keep
	// Reservations are those of the commit, by name, as they are once the plan is done.
	Reservations []ReservationState `json:"reservations,omitempty"`
	Summary      Summary            `json:"summary"`
}

// Base names the state that a plan rests on.
type Base struct {
	Commit     Commit     `json:"commit"`           // the revision followed then
	Behind     int        `json:"behind,omitempty"` // commits between it and the plan's
	Generation Generation `json:"generation"`       // the newest decision then
	Nodes      Hash       `json:"nodes"`            // of the nodes: their states, what they have, and the attributes that anything asks for
}

// PolicyVersion names a policy that took part.
type PolicyVersion struct {
	Name    string `json:"name"`
	Version string `json:"version"` // "built in", or the SHA-256 of the plugin
}

// AppPlan is all that happens to one app.
type AppPlan struct {
	App     AppName       `json:"app"`
	Action  ChangeKind    `json:"action"` // the strongest of its changes
	Version Hash          `json:"version"`
	Fields  []FieldChange `json:"fields,omitempty"` // what differs in the spec
	// Images are the images of registries that it starts from, each with its digest: NAME:TAG@DIGEST.
	Images  []string    `json:"images,omitempty"`
	Changes []Change    `json:"changes,omitempty"`
	Stay    []SlotRange `json:"stay,omitempty"` // untouched slots, when others of the app change
	Blocked *Blocked    `json:"blocked,omitempty"`
	Held    string      `json:"held,omitempty"`  // why nothing is done for now, as a sentence
	Waits   *WindowWait `json:"waits,omitempty"` // for a window: nil when nothing does
	Steps   []string    `json:"steps,omitempty"` // what a framework driver will do in which order
	Rollout *Rollout    `json:"rollout,omitempty"`
	// Older is the commit whose version runs while the rollout of this one has failed; "" when none does.
	Older Commit `json:"older,omitempty"`
	// Forget says that the app left the repository while nothing of it ran, as it waits for its next attempt or for a place: there is
	// nothing to stop, and its slots are not tried again.
	Forget bool `json:"forget,omitempty"`
	Run    bool `json:"run,omitempty"` // the app of a run: what the clock or an operator started needs no approval
	Pos    Pos  `json:"pos"`
}

// SchedulePlan is what happens to an app with runs.
type SchedulePlan struct {
	App    AppName        `json:"app"`
	Action ScheduleAction `json:"action"`
	Root   AppName        `json:"root,omitempty"` // of another app's: its runs follow from those of this one
	Spec   *Schedule      `json:"schedule,omitempty"`
	Next   []Time         `json:"next,omitempty"`   // the next firings
	Active []AppName      `json:"active,omitempty"` // runs under way
	Fields []FieldChange  `json:"fields,omitempty"` // what differs in the spec
	Pos    Pos            `json:"pos"`
}

// ScheduleAction is what a commit does to an app with runs.
type ScheduleAction string

// The actions.
const (
	ScheduleNew     ScheduleAction = "new"
	ScheduleChanged ScheduleAction = "changed"
	ScheduleRemoved ScheduleAction = "removed"
)

// FieldChange is one field of the spec that differs.
type FieldChange struct {
	Path   string `json:"path"` // "count", "task.server.image"
	From   string `json:"from"` // "" when it was absent
	To     string `json:"to"`
	Effect string `json:"effect"` // "start 2", "replaces 4, one at a time", "in place"
}

// ChangeKind is what happens to a slot.
type ChangeKind string

// The kinds of change, weakest first.
const (
	ChangeStay    ChangeKind = "stay"
	ChangeUpdate  ChangeKind = "update"  // in place, nothing restarts
	ChangeMove    ChangeKind = "move"    // to another node, spec unchanged
	ChangeReplace ChangeKind = "replace" // a new allocation follows a changed spec
	ChangeStart   ChangeKind = "start"
	ChangeStop    ChangeKind = "stop"
	ChangeBlocked ChangeKind = "blocked"
)

// Change is one step for one slot.
type Change struct {
	Slot
	Kind    ChangeKind    `json:"kind"`
	Old     AllocationID  `json:"old,omitempty"`  // the allocation that stops or is updated
	From    NodeID        `json:"from,omitempty"` // of Old
	Node    NodeID        `json:"node,omitempty"` // where the slot runs afterwards
	Ports   []Port        `json:"ports,omitempty"`
	Devices []DeviceGrant `json:"devices,omitempty"`
	Cores   []CoreGrant   `json:"cores,omitempty"`
	Score   *Score        `json:"score,omitempty"`
	Reason  string        `json:"reason"`
	// Version is what the slot's allocation follows afterwards: the app's new version, or while a rollout waits or goes
	// back, the one before.
	Version Hash     `json:"version,omitempty"`
	Canary  bool     `json:"canary,omitempty"`
	Attempt int      `json:"attempt,omitempty"`
	Victims []Victim `json:"victims,omitempty"` // whom this placement preempts
	// Takeover lists the allocations that must have ended on Node before this one starts there.
	Takeover []AllocationID `json:"takeover,omitempty"`
	// KeepOld says that Old runs on beside the new allocation until that is healthy; otherwise Old stops at once.
	KeepOld bool `json:"keep_old,omitempty"`
	// Now says that the step may be taken at once. Otherwise After says what it waits for.
	Now   bool   `json:"now"`
	After string `json:"after,omitempty"`
}

// Victim is an allocation preempted for a placement.
type Victim struct {
	ID       AllocationID `json:"id"`
	Priority int          `json:"priority"`
}

// Score tells how a node was chosen among the feasible ones. All numbers are thousandths; a higher total wins, ties go
// to the first node by name.
type Score struct {
	Total    Milli       `json:"total"`
	Parts    []ScorePart `json:"parts,omitempty"`
	Next     NodeID      `json:"next,omitempty"` // the runner-up
	NextWhy  string      `json:"next_why,omitempty"`
	NextAt   Milli       `json:"next_total,omitempty"`
	Feasible int         `json:"feasible"` // nodes that passed every filter
}

// ScorePart is one term of a score.
type ScorePart struct {
	Name  string `json:"name"`
	Value Milli  `json:"value"`
}

// Blocked tells which slots of an app have no place, and everything that stands in the way.
type Blocked struct {
	Slots   []int     `json:"slots"`
	Of      int       `json:"of"` // the app's count
	Reasons []Reason  `json:"reasons"`
	Fix     []string  `json:"fix,omitempty"`    // the text of each of Fixes
	Served  []Rival   `json:"served,omitempty"` // who got something meanwhile, and by which right
	Fits    int       `json:"fits,omitempty"`   // of a gang: how many of the slots would have a place without the others
	After   Time      `json:"after,omitzero"`   // waits for this moment (back-off); zero: for a change of the world
	Places  []Missing `json:"places,omitempty"`
	// Leaving counts those of Slots whose allocation works on a node that it must leave, and Kept those whose allocation works on
	// until there is room to replace it: they have a place, and wait for the next one.
	Leaving int `json:"leaving,omitempty"`
	Kept    int `json:"kept,omitempty"`
	// Failed is the newest of the allocations for whose end slots wait before they are tried again.
	Failed *FailedAllocation `json:"failed,omitempty"`
	// Groups are the nodes by the set of rules that they fail, largest first: each node once. With Feasible they add up
	// to Nodes.
	Groups   []NodeGroup `json:"groups,omitempty"`
	Nodes    int         `json:"nodes,omitempty"`    // that were looked at: all, or of a system app those without a place
	Feasible int         `json:"feasible,omitempty"` // of them fail nothing by themselves: what keeps slots off is none of theirs
	// Fixes are changes of which each alone gives all of the slots a place, smallest first: every one was planned and
	// did. None of them may be found though one exists: planning is bounded.
	Fixes []Fix `json:"fixes,omitempty"`
}

// FailedAllocation is an allocation that ended though it should not have.
type FailedAllocation struct {
	ID   AllocationID `json:"id"`
	Slot Slot         `json:"slot"`
	Node NodeID       `json:"node"`
	At   Time         `json:"at"`
	Why  string       `json:"why"`            // a sentence
	Logs string       `json:"logs,omitempty"` // as AllocationStatus.Logs gives them
}

// Rival is an app or a role that was served in the plan while another app waits.
type Rival struct {
	App      AppName  `json:"app,omitempty"`
	Role     RoleName `json:"role,omitempty"`
	Placed   int      `json:"placed"`             // allocations that the plan places for it of what is missing, where the waiting app could use it
	Priority int      `json:"priority,omitempty"` // when it came first by priority
	// When it came first by shares: what it has afterwards of the resource that it is compared by, and what the waiting app
	// (or its role, where the two meet) has of its own, in thousandths of all there is.
	Share       Milli  `json:"share,omitempty"`
	Own         Milli  `json:"own,omitempty"`
	Resource    string `json:"resource,omitempty"`
	OwnResource string `json:"own_resource,omitempty"`
	Weight      int    `json:"weight,omitempty"`
	Why         string `json:"why"` // a sentence
}

// Reason is one rule and the nodes that fail it. A node counts for every rule it fails.
type Reason struct {
	Rule   string   `json:"rule"`
	Nodes  int      `json:"nodes"`
	Names  []NodeID `json:"names,omitempty"`  // the first few
	Detail string   `json:"detail,omitempty"` // "n14 is short by 1.2GiB"
}

// Missing says how far the nearest node is from taking one more allocation.
type Missing struct {
	Node     NodeID `json:"node"`
	Resource string `json:"resource"`
	Short    string `json:"short"`            // as people write it, rounded up
	Amount   int64  `json:"amount,omitempty"` // exactly: bytes, or thousandths
}

// SlotRange is a run of slots of one app on their nodes.
type SlotRange struct {
	First int      `json:"first"`
	Last  int      `json:"last"`
	Nodes []NodeID `json:"nodes"` // of each, or the distinct ones when there are many
}

// CapacityChange is how full the ready nodes are before and after.
type CapacityChange struct {
	Total   Resources `json:"total"`
	Before  Resources `json:"before"` // used
	After   Resources `json:"after"`
	Largest Resources `json:"largest"` // the largest task that still fits on one node afterwards
	// Pools are the same by pool, where nodes are in more than one: what is free in one pool is of no use to another's apps.
	Pools []PoolCapacity `json:"pools,omitempty"` // sorted by name
}

// PoolCapacity is how full the ready nodes of a pool are before and after.
type PoolCapacity struct {
	Pool    PoolName  `json:"pool"`
	Total   Resources `json:"total"`
	Before  Resources `json:"before"`
	After   Resources `json:"after"`
	Largest Resources `json:"largest"`
}

// WorstMoment is when most of the nodes that take allocations is in use while the plan is carried out, by the scarcer of cpu and
// memory: as if every allocation became healthy as soon as it can, and ended as soon as it is told.
type WorstMoment struct {
	Used  Resources  `json:"used"` // cpu, memory and disk
	Total Resources  `json:"total"`
	Step  int        `json:"step"`            // in which it is; 1 is what is done at once
	Steps int        `json:"steps"`           // that were rehearsed
	Whole bool       `json:"whole"`           // until nothing was left to do; otherwise there are more steps
	Tight []TightApp `json:"tight,omitempty"` // apps that have too little room on the way, by name
}

// TightApp is an app that has too little room while a plan is carried out.
type TightApp struct {
	App       AppName  `json:"app"`
	StopFirst int      `json:"stop_first,omitempty"` // allocations that stop before their successor runs, as there is no room for both
	Waits     int      `json:"waits,omitempty"`      // that start only when others have left their node
	Missing   int      `json:"missing,omitempty"`    // slots at once that have no place for a while
	Nodes     []NodeID `json:"nodes,omitempty"`      // where that is, the first few
}

// Cost is what the nodes cost in an hour, before and after, and what part of that each app has: of each node by the
// resource of which it has most.
type Cost struct {
	Currency string    `json:"currency,omitempty"`
	Before   Price     `json:"before"` // of all nodes that are not down
	After    Price     `json:"after"`
	Idle     Price     `json:"idle"`               // of After, what no app has
	Unpriced int       `json:"unpriced,omitempty"` // nodes that nobody says a price of
	Apps     []AppCost `json:"apps,omitempty"`     // the dearest ones, dearest first
}

// AppCost is an app's part of what the nodes cost in an hour.
type AppCost struct {
	App    AppName `json:"app"`
	Before Price   `json:"before"`
	After  Price   `json:"after"`
}

// FailureImpact is what the loss of nodes would do after the plan. Node, Displaced and Homeless are of the node that
// would hurt most.
type FailureImpact struct {
	Node      NodeID `json:"node"`
	Displaced int    `json:"displaced"`
	Homeless  int    `json:"homeless"` // of them would find no other node
	// Slots are the first few without another node.
	Slots   []Slot         `json:"slots,omitempty"`
	Nodes   []Loss         `json:"nodes,omitempty"`   // the worst ones, worst first
	Looked  int            `json:"looked,omitempty"`  // nodes whose loss was looked at, those with most allocations first
	Of      int            `json:"of,omitempty"`      // nodes that take allocations
	Domains []DomainImpact `json:"domains,omitempty"` // in the order of the cluster's failure_domains
}

// DomainImpact is what the loss of all nodes with one value of an attribute would do.
type DomainImpact struct {
	Attribute string `json:"attribute"`
	Values    []Loss `json:"values,omitempty"` // the worst ones, worst first
	Looked    int    `json:"looked"`           // values whose loss was looked at, those with most allocations first
	Of        int    `json:"of"`               // values that nodes which take allocations have
}

// Loss is what the loss of one node, or of all nodes with one value, would do.
type Loss struct {
	Name      string `json:"name"`            // of the node, or the value
	Nodes     int    `json:"nodes"`           // that are lost
	Displaced int    `json:"displaced"`       // allocations on them, but those of system apps
	Homeless  int    `json:"homeless"`        // of them would find no other node
	Slots     []Slot `json:"slots,omitempty"` // the first few without another node
}

// Guard is a limit that the plan would cross.
type Guard struct {
	Rule   string `json:"rule"`
	Detail string `json:"detail"`
}

// ReservationState is a reservation on the nodes that take allocations.
type ReservationState struct {
	Name   string    `json:"name"`
	Role   RoleName  `json:"role"`
	Nodes  int       `json:"nodes"`  // that its constraints accept
	Each   Resources `json:"each"`   // kept on each of them
	Unused Resources `json:"unused"` // of that, over all of them, what the role does not use
}

// NodeReservation is a reservation on one node.
type NodeReservation struct {
	Name   string    `json:"name"`
	Role   RoleName  `json:"role"`
	Amount Resources `json:"amount"`
	Unused Resources `json:"unused"` // of that, what the role does not use there: nobody else has it
}

// Warning tells of something that the commit promises and the cluster as it is cannot keep.
type Warning struct {
	Rule   string `json:"rule"`
	Detail string `json:"detail"`
	Pos    Pos    `json:"pos,omitzero"`
}

// Summary counts the changes by kind.
type Summary struct {
	Start   int `json:"start"`
	Update  int `json:"update"`
	Replace int `json:"replace"`
	Stop    int `json:"stop"`
	Move    int `json:"move"`
	Preempt int `json:"preempt,omitempty"` // allocations that stop so that others have room
	Blocked int `json:"blocked"`
	Failed  int `json:"failed,omitempty"` // apps that are not as the commit says, as their rollout has failed
	Held    int `json:"held,omitempty"`   // apps that are left exactly as they are, see AppPlan.Held
	Forget  int `json:"forget,omitempty"` // apps that left the repository while nothing of them ran, see AppPlan.Forget
}

// Homeless counts the slots without any allocation that works.
func (b *Blocked) Homeless() int { return len(b.Slots) - b.Leaving - b.Kept }

// Unfinished reports whether the app is not as the commit says though nothing is to be done about it: its rollout has
// failed, and what is committed next is waited for.
func (a *AppPlan) Unfinished() bool {
	return a.Rollout != nil && (a.Rollout.State == RolloutFailed || a.Rollout.State == RolloutReverting)
}

// Idle reports whether nothing happens to the app, and nothing stands in the way of anything.
func (a *AppPlan) Idle() bool {
	return len(a.Changes) == 0 && a.Blocked == nil && a.Held == "" && !a.Forget
}

// Changes returns how many steps the plan has, blocked slots not counted.
func (s Summary) Changes() int { return s.Start + s.Update + s.Replace + s.Stop + s.Move }
