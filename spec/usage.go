package spec

// NodeUsage is what a machine and the allocations of its agent use at a moment, as the kernel counts it. It is taken when somebody asks. Times
// of processors only grow: a rate is the difference of two.
type NodeUsage struct {
	Node     NodeID   `json:"node"`
	At       Time     `json:"at,omitempty"`        // by the clock of the node
	CPUs     int      `json:"cpus,omitempty"`      // processors of the machine
	CPUNanos uint64   `json:"cpu_nanos,omitempty"` // time that all processors were busy since the boot, in nanoseconds
	Memory   Bytes    `json:"memory,omitempty"`    // of the machine that cannot be had without swapping
	Total    Bytes    `json:"total,omitempty"`     // memory of the machine
	Pressure Pressure `json:"pressure,omitzero"`   // of the machine
	// Allocations are those that have not ended, by ID; those of older agents have a task that runs.
	Allocations []AllocationUsage `json:"allocations"`
	// Error says why nothing is known, as a sentence.
	Error string `json:"error,omitempty"`
}

// AllocationUsage is what the tasks of an allocation use that run.
type AllocationUsage struct {
	ID AllocationID `json:"id"`
	Slot
	Tasks []TaskUsage `json:"tasks"` // that run
	// What is set aside for it, whether its tasks run or not; zero from older agents.
	CPUAsked    MilliCPU `json:"cpu_asked,omitempty"`
	MemoryAsked Bytes    `json:"memory_asked,omitempty"`
}

// TaskUsage is what a task uses, beside what it asked for.
type TaskUsage struct {
	Task    TaskName `json:"task"`
	Started Time     `json:"started,omitempty"` // what is counted is counted since then

	CPUNanos       uint64 `json:"cpu_nanos"`                 // of processors, in nanoseconds
	ThrottledNanos uint64 `json:"throttled_nanos,omitempty"` // that it had to wait for the bound on its processors
	Memory         Bytes  `json:"memory"`                    // in use, without what of the page cache can be dropped at once
	MemoryPeak     Bytes  `json:"memory_peak,omitempty"`     // the most there was, page cache included; 0: not counted here
	Pids           int    `json:"pids"`                      // processes and threads
	ReadBytes      uint64 `json:"read_bytes,omitempty"`      // from disks
	WrittenBytes   uint64 `json:"written_bytes,omitempty"`   // to disks
	OOMKills       int    `json:"oom_kills,omitempty"`       // processes that the kernel killed for memory

	Pressure Pressure `json:"pressure,omitzero"`

	CPUAsked    MilliCPU `json:"cpu_asked"`            // what is set aside for it
	MemoryAsked Bytes    `json:"memory_asked"`         // likewise
	MemoryMax   Bytes    `json:"memory_max,omitempty"` // its bound; 0: what is set aside
	PidsMax     int      `json:"pids_max,omitempty"`

	// Error says why nothing is counted, as a sentence.
	Error string `json:"error,omitempty"`
}

// Pressure is how much of the last ten seconds was lost waiting for something, in percent, as the kernel's documentation of PSI
// defines it: the part in which at least one of the processes waited. It is zero too where the kernel does not count it.
type Pressure struct {
	CPU    float64 `json:"cpu,omitempty"`
	Memory float64 `json:"memory,omitempty"`
	IO     float64 `json:"io,omitempty"`
}
