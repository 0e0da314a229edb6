package node

import (
	"strconv"

	"github.com/stowage/stowage/spec"
)

// Effect is something that the shell does for the core. The effects of one Step are begun in order; all but Save and
// Remove may go on in the background, and answer with their event. Effects about the same Run are done one after the
// other.
type Effect interface{ effect() }

// Save writes to disk before any effect that follows it in the list is begun. Putting replaces the record of the same
// allocation; records are independent of each other, so one file per allocation will do. A failed Save is fatal to
// the agent (tasks run on): what follows must not be done.
type Save struct {
	Header *Header // when it changed
	Put    []Record
	Drop   []spec.AllocationID
}

// Prepare gets everything ready that the allocation's tasks need: folders, images. It is asked again after a restart
// of the agent, and must then find its own work. Answer: Prepared.
type Prepare struct {
	Allocation spec.Allocation
	App        *spec.App
}

// Start creates and starts a container. If there is one already for the run (the answer was lost), that is the
// answer. Answer: Started, and Exited when it ends.
type Start struct {
	Run        Run
	Allocation spec.Allocation
	App        *spec.App
}

// Park creates the container of the next run of a task while the present one runs, and leaves it parked before its command: the Start of that run,
// once the present one has exited, finds it and is quick. It is no more than that: without it, or if it comes to nothing, Start makes the
// container. It has no answer. Remove takes it away again.
type Park struct {
	Run        Run
	Present    Run
	Allocation spec.Allocation
	App        *spec.App
}

// Command runs a command inside the task of a run, for Timeout at most. It may be asked again for the same run after the agent or the
// executor died in it. Answer: Commanded, unless the executor could not be reached.
type Command struct {
	Run        Run
	Allocation spec.Allocation
	Command    []string
	Timeout    spec.Duration
}

// Signal sends a signal to the main process of the run, by name ("SIGTERM"). The container may have ended already.
type Signal struct {
	Run    Run
	Signal string
}

// Kill ends all processes of the run at once. The container may have ended already, or never have started.
type Kill struct{ Run Run }

// Remove makes the executor forget a container that has exited, its exit code included; the exit was saved before. One that is parked ends. A
// container that is not there is no error.
type Remove struct{ Run Run }

// Probe begins a check of a running task, or replaces the one of the same run and name. Answers: Checked.
type Probe struct {
	Run        Run
	Check      spec.Check
	Allocation spec.Allocation
}

// Unprobe ends a check. An answer under way may still be told.
type Unprobe struct {
	Run   Run
	Check string
}

// Clean removes the allocation's folder and whatever else Prepare made for it. Answer: Cleaned.
type Clean struct{ ID spec.AllocationID }

// Send tells the master. It is only asked for between Connected and Disconnected. What is lost with the link is told
// again by the full report after the next Connected.
type Send struct{ Report spec.Report }

// Wake asks for a Tick at this time. Only the last Wake counts; there is one in every Step that changed it.
type Wake struct{ At spec.Time }

func (Save) effect()    {}
func (Prepare) effect() {}
func (Start) effect()   {}
func (Park) effect()    {}
func (Command) effect() {}
func (Signal) effect()  {}
func (Kill) effect()    {}
func (Remove) effect()  {}
func (Probe) effect()   {}
func (Unprobe) effect() {}
func (Clean) effect()   {}
func (Send) effect()    {}
func (Wake) effect()    {}

// String is the container's name: shop.web-3-17..server.0. Two dots never occur inside a name, so that ParseRun can
// take it apart again.
func (r Run) String() string {
	return string(r.ID) + ".." + string(r.Task) + "." + strconv.Itoa(r.Attempt)
}
