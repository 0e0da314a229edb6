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
}

// Record is what is remembered of one allocation, complete in itself.
type Record struct {
	FormatVersion int                   `json:"format_version"`
	Decided       spec.Allocation       `json:"decided"`
	App           *spec.App             `json:"app"`
	Status        spec.AllocationStatus `json:"status"`
	Tasks         []TaskRecord          `json:"tasks,omitempty"` // in the order of Status.Tasks
	Unlisted      bool                  `json:"unlisted,omitempty"`
}

// TaskRecord is what is remembered of one task beside its status.
type TaskRecord struct {
	Attempt  int           `json:"attempt"`            // of the present or next run
	Begun    bool          `json:"begun,omitempty"`    // the attempt was asked to start
	Recent   []spec.Time   `json:"recent,omitempty"`   // restarts within the policy's interval, oldest first
	Next     spec.Time     `json:"next,omitempty"`     // when the next attempt may start
	Asked    spec.Time     `json:"asked,omitempty"`    // when it was asked to stop
	Killed   bool          `json:"killed,omitempty"`   // and the kill followed
	Again    bool          `json:"again,omitempty"`    // it stops to be started again, as an operator wished
	Finished bool          `json:"finished,omitempty"` // it will not be started again
	Delay    spec.Duration `json:"delay,omitempty"`    // before the last restart, without jitter
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
