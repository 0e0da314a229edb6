package control

import (
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// Limits on what the state keeps.
const (
	// MaxHistory is how many followed revisions are remembered, with the summaries of their plans.
	MaxHistory = 200
	// MaxPlans is how many of those keep the whole plan.
	MaxPlans = 10
	// MaxFailures bounds the window of failures.
	MaxFailures = 10_000
)

// State is the hard state of a master: what the journal says, and nothing else. It is changed by Apply only, and what
// it points to is never changed.
type State struct {
	FormatVersion int                              `json:"format_version"`
	Generation    spec.Generation                  `json:"generation"` // grows with everything that an agent must hear of
	Following     *Followed                        `json:"following,omitempty"`
	Pending       *Pending                         `json:"pending,omitempty"`
	Expansions    map[spec.AppName]*spec.Expansion `json:"expansions,omitempty"` // of Following, by block name
	Nodes         map[spec.NodeID]*NodeRecord      `json:"nodes,omitempty"`
	Allocations   map[spec.AllocationID]*Held      `json:"allocations,omitempty"`
	Versions      map[spec.Hash]*spec.App          `json:"versions,omitempty"`
	Rollouts      []spec.Rollout                   `json:"rollouts,omitempty"`  // sorted by app
	Restarts      []reconcile.Restart              `json:"restarts,omitempty"`  // sorted by app
	Scales        []spec.Scale                     `json:"scales,omitempty"`    // sorted by app; of apps that Following lets be scaled
	Failures      []reconcile.Failure              `json:"failures,omitempty"`  // oldest first, of the last window
	Runs          []spec.Run                       `json:"runs,omitempty"`      // sorted by name
	Agendas       []spec.Agenda                    `json:"agendas,omitempty"`   // sorted by app
	History       []HistoryEntry                   `json:"history,omitempty"`   // oldest first
	Rebalance     *reconcile.Rebalancing           `json:"rebalance,omitempty"` // never changed, only replaced
	references    map[spec.Hash]int
}

// NodeRecord is a node that has joined.
type NodeRecord struct {
	Node   spec.Node   `json:"node"`
	Joined spec.Time   `json:"joined"`
	Drain  *spec.Drain `json:"drain,omitempty"`
}

// Held is an allocation from its decision until it is forgotten.
type Held struct {
	Allocation spec.Allocation        `json:"allocation"`
	Ended      *spec.AllocationStatus `json:"ended,omitempty"`   // its terminal state
	Retired    bool                   `json:"retired,omitempty"` // its agent may forget it
}

// HistoryEntry is one revision that was followed.
type HistoryEntry struct {
	Time    spec.Time    `json:"time"`
	Commit  spec.Commit  `json:"commit"`
	Subject string       `json:"subject,omitempty"`
	Author  string       `json:"author,omitempty"`
	Signed  bool         `json:"signed,omitempty"`
	By      string       `json:"by,omitempty"`
	Plan    spec.PlanID  `json:"plan"`
	Shown   spec.PlanID  `json:"shown,omitempty"` // the plan that was approved, when Plan differs within bounds
	Summary spec.Summary `json:"summary"`
	Nodes   int          `json:"nodes,omitempty"` // that had joined then
	Left    spec.Commit  `json:"left,omitempty"`  // of a rollback
	// Images are the digests of images by tag that are others than in the entry before; "" for an image that went.
	Images map[string]string `json:"images,omitempty"`
	Full   *spec.Plan        `json:"full,omitempty"` // of the newest MaxPlans
}
