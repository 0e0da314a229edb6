package control

import (
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// EntryVersion is the format version of entries and of the encoded State. A reader accepts this and lower ones.
const EntryVersion = 2

// Entry is one line of the journal: exactly one of its pointers is set. Applying the entries in order to an empty
// State gives the same State on every machine.
type Entry struct {
	FormatVersion int       `json:"v"`
	Time          spec.Time `json:"time"`

	Pending    *Pending               `json:"pending,omitempty"`    // a plan waits for approval; replaces the one before
	Dropped    *Dropped               `json:"dropped,omitempty"`    // the waiting plan was overtaken
	Followed   *Followed              `json:"followed,omitempty"`   // a revision decides from now on
	Decided    *reconcile.Decision    `json:"decided,omitempty"`    // allocations start, change, stop
	Ended      *Ended                 `json:"ended,omitempty"`      // allocations have ended
	Retired    *Retired               `json:"retired,omitempty"`    // agents may forget ended allocations
	Forgotten  *Forgotten             `json:"forgotten,omitempty"`  // and did
	Adopted    *Adopted               `json:"adopted,omitempty"`    // allocations that an agent reported and the journal lacks
	Joined     *spec.Node             `json:"joined,omitempty"`     // a node, new or changed
	Removed    *Removed               `json:"removed,omitempty"`    // a node
	Drained    *spec.Drain            `json:"drained,omitempty"`    // an operator's wish
	Undrained  *Undrained             `json:"undrained,omitempty"`  //
	Restart    *reconcile.Restart     `json:"restart,omitempty"`    // an operator's wish
	Scaled     *spec.Scale            `json:"scaled,omitempty"`     // somebody's wish; replaces the app's last one
	Promoted   *Promoted              `json:"promoted,omitempty"`   // an operator's wish
	Hastened   *Hastened              `json:"hastened,omitempty"`   // an operator's wish
	Resolved   *Pinned                `json:"resolved,omitempty"`   // digests that registries told after the revision was recorded
	Resumed    *Resumed               `json:"resumed,omitempty"`    // a rollback is over
	Expanded   *spec.Expansion        `json:"expanded,omitempty"`   // of a block of the followed revision
	Dispatched *Dispatched            `json:"dispatched,omitempty"` // an operator's wish
	Cancelled  *Cancelled             `json:"cancelled,omitempty"`  // an operator's wish
	Rebalance  *reconcile.Rebalancing `json:"rebalance,omitempty"`  // an operator's wish; replaces the one before
	Rebalanced *Rebalanced            `json:"rebalanced,omitempty"` // it is over
}

// Dispatched adds the run that somebody asked for, and those that follow from it.
type Dispatched struct {
	Runs     []spec.Run              `json:"runs"`
	Versions map[spec.Hash]*spec.App `json:"versions"`
}

// Cancelled ends a run.
type Cancelled struct {
	Run spec.AppName `json:"run"`
	Why string       `json:"why"`
}

// Pending is a revision whose plan waits for approval.
type Pending struct {
	Revision   spec.Revision    `json:"revision"`
	Expansions []spec.Expansion `json:"expansions,omitempty"`
	// Images are the digests of images by tag, by image as the revision names it.
	Images map[string]string `json:"images,omitempty"`
	Plan   spec.Plan         `json:"plan"`
	Why    string            `json:"why"` // a sentence: manual approval, or the guards
	Signed bool              `json:"signed,omitempty"`
}

// Pinned adds digests to a revision that waits or is followed. What is recorded already stays.
type Pinned struct {
	Commit spec.Commit       `json:"commit"`
	Images map[string]string `json:"images"` // by image as the revision names it
}

// Dropped says why a plan no longer waits.
type Dropped struct {
	Plan spec.PlanID `json:"plan"`
	Why  string      `json:"why"`
}

// Followed makes a revision the one that decides.
type Followed struct {
	Revision   spec.Revision    `json:"revision"`
	Expansions []spec.Expansion `json:"expansions,omitempty"`
	// Images are the digests of images by tag, by image as the revision names it. What is missing is added by Resolved.
	Images map[string]string `json:"images,omitempty"`
	Plan   spec.Plan         `json:"plan"` // as approved, whole
	Signed bool              `json:"signed,omitempty"`
	By     string            `json:"by,omitempty"` // who approved; "" for approval = auto
	Mode   Mode              `json:"mode,omitempty"`
	Shown  spec.PlanID       `json:"shown,omitempty"`   // the plan that was approved, when Plan differs within bounds
	Left   spec.Commit       `json:"left,omitempty"`    // of a rollback: the head that is not followed
	AtOnce bool              `json:"at_once,omitempty"` // its changes wait for no window
}

// Ended records terminal states, so that they outlive the leader and the node.
type Ended struct {
	Allocations []EndedAllocation `json:"allocations"`
}

// EndedAllocation is one of Ended.
type EndedAllocation struct {
	ID     spec.AllocationID     `json:"id"`
	Status spec.AllocationStatus `json:"status"`
}

// Retired names ended allocations that are kept no longer: assignments stop listing them, so that agents clean up.
type Retired struct {
	IDs []spec.AllocationID `json:"ids"`
}

// Forgotten names retired allocations that their agents have cleaned up.
type Forgotten struct {
	IDs []spec.AllocationID `json:"ids"`
}

// Adopted takes up what an agent holds and the journal does not know or took for lost, because the journal was lost or
// the node removed.
type Adopted struct {
	Generation  spec.Generation         `json:"generation"` // the highest that the agent mentioned
	Allocations []spec.Allocation       `json:"allocations,omitempty"`
	Ended       []EndedAllocation       `json:"ended,omitempty"` // of Allocations
	Versions    map[spec.Hash]*spec.App `json:"versions,omitempty"`
}

// Removed names a node that left for good.
type Removed struct {
	Node spec.NodeID `json:"node"`
}

// Undrained takes a drain back.
type Undrained struct {
	Node spec.NodeID `json:"node"`
}

// Promoted promotes the canaries of an app.
type Promoted struct {
	App spec.AppName `json:"app"`
}

// Rebalanced ends a rebalancing.
type Rebalanced struct {
	ID string `json:"id"`
}

// Hastened lets the changes of the revision that is followed wait for no window.
type Hastened struct {
	Commit spec.Commit `json:"commit"`
	By     string      `json:"by,omitempty"`
}

// Resumed ends a rollback.
type Resumed struct{}
