package node

import "github.com/stowage/stowage/spec"

// Run names one run of a task: one container. Attempt is 0 for the first and grows by one with each restart, so that
// what is told late of an earlier run is never taken for the present one. Container IDs are made of a Run by its
// String.
type Run struct {
	ID      spec.AllocationID `json:"id"`
	Task    spec.TaskName     `json:"task"`
	Attempt int               `json:"attempt"`
}

// Event is something that happened to the node. The shell passes it to Core.Step, in the order in which it happened.
type Event interface{ event() }

// Restored hands over what was saved before the agent began: every Record of earlier Save effects that was not
// dropped. It is the first event, also with an empty Memory. Until the first Inventory nothing is started or stopped.
type Restored struct {
	Memory Memory
	Boot   string // names the machine's start; another one than is remembered says that nothing runs any more. "": not known
}

// Inventory is all that the executor has, exited containers included: when the agent begins, and each time the
// executor was lost and is reached again. A run that should be there and is not has ended with an unknown exit.
// Containers that nobody knows are removed once they have exited, and left alone while they run.
type Inventory struct{ Containers []Container }

// Container is one container of the executor.
type Container struct {
	Run     Run
	Running bool
	Parked  bool       // it was parked and never released; then neither Running nor Exit is set
	Pid     int        // on the node, while it runs
	Started spec.Time  // when the process was started; 0 when it never was
	Exit    *spec.Exit // when it does not run
	Ended   spec.Time  // when it does not run
	Output  string     // when it does not run: see Exited
}

// ExecutorLost says that the executor cannot be reached. Tasks run on; nothing is started or stopped until the next
// Inventory.
type ExecutorLost struct{}

// Assigned is the master's word. Older or equal generations are ignored.
type Assigned struct{ Assignment spec.Assignment }

// Connected says that the link to the master is up: a full report is sent.
type Connected struct{}

// Disconnected says that the link is down: nothing is sent until Connected. Nothing else changes.
type Disconnected struct{}

// Prepared answers a Prepare effect. Err is a sentence, "" when all went well.
type Prepared struct {
	ID  spec.AllocationID
	Err string
}

// Progressed tells what a Prepare under way is at, as a sentence. The last one counts.
type Progressed struct {
	ID   spec.AllocationID
	What string
}

// Started answers a Start effect. With Err (a sentence) there is no container, and Pid and At are not set.
type Started struct {
	Run Run
	Pid int
	At  spec.Time
	Err string
}

// Exited says that a container's process ended, for whatever reason. The same exit may be told twice. Output is the last line that it
// printed, if the exit is not 0.
type Exited struct {
	Run    Run
	Exit   spec.Exit
	At     spec.Time
	Output string
}

// Commanded answers a Command effect. Err is a sentence, "" when it exited with 0.
type Commanded struct {
	Run Run
	Err string
}

// Checked is the verdict of a check that a Probe effect asked for. The shell's prober has counted failures in a row
// already (Check.Failures): the core takes each verdict as it is. A verdict that repeats the last one changes nothing. Row is how many bad
// answers there were in a row by now; a check that restarts its task is told when that reaches Check.Failures.
type Checked struct {
	Run     Run
	Check   string
	Passing bool
	Output  string
	Row     int
}

// Cleaned answers a Clean effect. With Err the folder may still be there; the core asks again later.
type Cleaned struct {
	ID  spec.AllocationID
	Err string
}

// NodeChanged is the node's new description.
type NodeChanged struct{ Node spec.Node }

// RestartTask is an operator's wish that a task be stopped and started again, in place. It does not count against the
// restart policy. Task "" means all tasks of the allocation.
type RestartTask struct {
	ID     spec.AllocationID
	Task   spec.TaskName
	Reason string
}

// Tick says that the time of the last Wake has come, or any time at all.
type Tick struct{}

func (Restored) event()     {}
func (Inventory) event()    {}
func (ExecutorLost) event() {}
func (Assigned) event()     {}
func (Connected) event()    {}
func (Disconnected) event() {}
func (Prepared) event()     {}
func (Progressed) event()   {}
func (Started) event()      {}
func (Exited) event()       {}
func (Commanded) event()    {}
func (Checked) event()      {}
func (Cleaned) event()      {}
func (NodeChanged) event()  {}
func (RestartTask) event()  {}
func (Tick) event()         {}
