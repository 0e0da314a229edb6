package node

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// MemoryVersion is the format version of Header and Record. A reader accepts this and lower ones.
const MemoryVersion = 1

// Memory is what a core must remember over a restart of the agent.
type Memory struct {
	Header  Header   `json:"header"`
	Records []Record `json:"records,omitempty"` // in any order
}

// Header is what is remembered of the node as a whole.
type Header struct {
	FormatVersion int             `json:"format_version"`
	Generation    spec.Generation `json:"generation"` // of the assignment that is followed
	Boot          string          `json:"boot,omitempty"`
}

// Record is what is remembered of one allocation, complete in itself.
type Record struct {
	FormatVersion int                   `json:"format_version"`
	Decided       spec.Allocation       `json:"decided"`
	App           *spec.App             `json:"app"`
	Status        spec.AllocationStatus `json:"status"`
	Tasks         []TaskRecord          `json:"tasks,omitempty"`    // in the order of Status.Tasks
	Prepare       Retry                 `json:"prepare,omitzero"`   // of a Prepare that failed
	Failing       string                `json:"failing,omitempty"`  // why it will end as failed, once all has stopped
	Cleaning      bool                  `json:"cleaning,omitempty"` // it ended, and the master has heard of it
}

// TaskRecord is what is remembered of one task beside its status.
type TaskRecord struct {
	Retry
	Attempt  int  `json:"attempt"`            // of the present or next run
	Begun    bool `json:"begun,omitempty"`    // the attempt was asked to start, and its end is not known
	Finished bool `json:"finished,omitempty"` // it will not be started again
	Attempted
}

// Attempted is what is remembered of the present run only.
type Attempted struct {
	Up        bool      `json:"up,omitempty"`        // every start check has passed
	Asked     spec.Time `json:"asked,omitempty"`     // when its stop began
	Until     spec.Time `json:"until,omitempty"`     // it works on until then though its stop has begun
	Commanded spec.Time `json:"commanded,omitempty"` // when the command of its stop was begun first
	Signalled spec.Time `json:"signalled,omitempty"` // when the signal was sent
	Killed    spec.Time `json:"killed,omitempty"`    // when the kill followed
	Again     string    `json:"again,omitempty"`     // it stops to be started again: the operator's reason
	Ill       string    `json:"ill,omitempty"`       // it stops because of this, and has failed then
}

// Retry counts what is tried again by the rules of spec.Restart.
type Retry struct {
	Recent []spec.Time   `json:"recent,omitempty"` // failures within the interval, oldest first
	Delay  spec.Duration `json:"delay,omitempty"`  // the last one, without jitter
	Next   spec.Time     `json:"next,omitempty"`   // when the next try is due
}

// ParseRun reads what Run.String prints.
func ParseRun(name string) (Run, error) {
	bad := fmt.Errorf("%q is not a container name: it looks like shop.web-3-17..server.0", name)
	id, rest, ok := strings.Cut(name, "..")
	j := strings.LastIndexByte(rest, '.')
	if !ok || j <= 0 {
		return Run{}, bad
	}
	attempt, err := strconv.Atoi(rest[j+1:])
	if _, _, wrong := spec.AllocationID(id).Parse(); wrong != nil || err != nil || attempt < 0 {
		return Run{}, bad
	}
	return Run{spec.AllocationID(id), spec.TaskName(rest[:j]), attempt}, nil
}
