package spec

// The defaults, each with its reason. docs/reference is generated from here and the schema.
const (
	// DefaultRole is the role of apps that name none, so that they share among themselves like any other party.
	DefaultRole RoleName = "default"
	// DefaultPool is the pool of nodes and apps that name none, so that a cluster without pools is one with a single pool.
	DefaultPool PoolName = "default"
	// AllPools is no pool: a system app that names it runs on the nodes of every pool.
	AllPools PoolName = "all"
	// DefaultPolicy packs: a private cluster is paid for whether used or not, and large free pieces stay free.
	DefaultPolicy = "binpack"
	// DefaultPriority is the middle of 0 to 100.
	DefaultPriority = 50
	// PreemptionGap is how much higher a priority must be to displace another: small differences order, only large ones stop work.
	PreemptionGap = 10
	// DefaultWeight is a role's share when not written.
	DefaultWeight = 1
	// DefaultMaxPrune lets ordinary clean-ups through and stops an emptied repository.
	DefaultMaxPrune = 20
	// DefaultMaxUnavailable leaves nine of ten allocations of an app alone at any time.
	DefaultMaxUnavailable = 10
	// DefaultRebalanceEvery is long enough to see what the last moves were good for.
	DefaultRebalanceEvery = 1 * Hour
	// DefaultMinGain wants two moves' worth for each: what just pays is left to people.
	DefaultMinGain = 2000
	// DefaultRebalanceMoves and DefaultRebalanceParallel keep what moves by itself small.
	DefaultRebalanceMoves    = 10
	DefaultRebalanceParallel = 2
	// DefaultDependencyDeadline ends waiting for an app that never gets healthy: nobody waits for ever.
	DefaultDependencyDeadline = 10 * Minute

	// DefaultMaxParallel replaces one at a time: the least that can go wrong at once.
	DefaultMaxParallel = 1
	// DefaultHealthyFor is long enough to see most crashes at start, short enough not to be felt.
	DefaultHealthyFor = 10 * Second
	// DefaultUpdateDeadline is without progress; slow starts of databases fit in.
	DefaultUpdateDeadline = 10 * Minute

	// DefaultRestartAttempts within DefaultRestartInterval tells a crash loop from a hiccup.
	DefaultRestartAttempts = 3
	// DefaultRestartInterval is the window in which restarts are counted.
	DefaultRestartInterval = 10 * Minute
	// DefaultRestartDelay keeps a crashing task from eating the node.
	DefaultRestartDelay = 1 * Second
	// DefaultRestartMaxDelay bounds the growth of the delay.
	DefaultRestartMaxDelay = 1 * Minute

	// DefaultRescheduleAfter outlasts a reboot of a switch but not of a patient person.
	DefaultRescheduleAfter = 30 * Second
	// DefaultRescheduleDelay is before a failed allocation is placed again.
	DefaultRescheduleDelay = 1 * Second
	// DefaultRescheduleMaxDelay bounds the growth of that delay.
	DefaultRescheduleMaxDelay = 5 * Minute

	// DefaultMaxAttempts places a slot of a run that failed once more: elsewhere if that can be.
	DefaultMaxAttempts = 2
	// DefaultCatchUp outlasts a change of leaders and a restart of the machine, so that neither costs a firing.
	DefaultCatchUp = 5 * Minute
	// MinCatchUp is longer than a new leader takes.
	MinCatchUp = 1 * Minute
	// MaxCatchUp bounds how far back a new leader looks.
	MaxCatchUp = 7 * 24 * Hour
	// DefaultRunDeadline is a day: what fires daily should be done by then.
	DefaultRunDeadline = 24 * Hour
	// KeepComplete is how many completed runs of an app are remembered, with their allocations and logs.
	KeepComplete = 3
	// KeepFailed is how many failed ones are: those are looked at.
	KeepFailed = 5
	// KeepOthers is how many cancelled, skipped and missed ones are.
	KeepOthers = 5
	// MaxRuns is how many runs of one app may be under way at once: beyond it firings are skipped and dispatches refused.
	MaxRuns = 100

	// NodeUnknownAfter is the silence after which a node is unknown: several missed heartbeats, never one.
	NodeUnknownAfter = 10 * Second
	// GatherFor is how long a new cluster waits for its next node after the last one has joined: one that never comes must not
	// keep the others idle.
	GatherFor = 1 * Minute
	// FaultyFailures of one app on one node within FaultyWindow make that node the last choice for it.
	FaultyFailures = 5
	// FaultyWindow is the window for FaultyFailures.
	FaultyWindow = 5 * Minute

	// DefaultCPU is a tenth of a core: most small services need less.
	DefaultCPU MilliCPU = 100
	// DefaultMemory fits a small service.
	DefaultMemory = 128 * MiB
	// MinMemory is what a container needs to start at all.
	MinMemory = 4 * MiB
	// DefaultPids stops fork bombs and leaves room for threads.
	DefaultPids = 4096

	// DefaultShmSize of /dev/shm, and of a tmpfs: what other container systems give.
	DefaultShmSize = 64 * MiB

	// DefaultCheckInterval between two questions to a task.
	DefaultCheckInterval = 5 * Second
	// DefaultCheckTimeout for one answer.
	DefaultCheckTimeout = 2 * Second
	// DefaultCheckFailures in a row: one lost answer is no illness.
	DefaultCheckFailures = 3

	// DefaultCheckWithin is how long a task with a start check may take to start: half of what a rollout waits for progress.
	DefaultCheckWithin = 5 * Minute

	// DefaultStopSignal is what every init system sends.
	DefaultStopSignal = "SIGTERM"
	// DefaultStopTimeout is the grace before the kill.
	DefaultStopTimeout = 10 * Second
	// DefaultStopCommandTimeout is as long again for a command before the signal.
	DefaultStopCommandTimeout = 10 * Second
	// DefaultPoststopMaxRun keeps a clean-up that hangs from holding its slot.
	DefaultPoststopMaxRun = 1 * Minute
	// DefaultLogSize and DefaultLogFiles keep 30 MiB per stream.
	DefaultLogSize = 10 * MiB
	// DefaultLogFiles counts the newest file too.
	DefaultLogFiles = 3

	// DefaultArtifactDeadline is enough for what fits on a disk: a gigabyte at less than a megabyte in a second.
	DefaultArtifactDeadline = 30 * Minute

	// DynamicPortFirst to DynamicPortLast are given to ports without a number. The range lies below the kernel's
	// ephemeral ports (32768–60999), so that an outgoing connection never holds a port that was planned.
	DynamicPortFirst = 20000
	// DynamicPortLast is included.
	DynamicPortLast = 32000
)

// Limits on what a commit may ask for; the repository is not trusted.
const (
	// MaxApps a commit may expand to.
	MaxApps = 50_000
	// MaxAllocations a commit may ask for over all apps.
	MaxAllocations = 2_000_000
	// MaxCount of one app.
	MaxCount = 1_000_000
	// MaxRebalanceMoves bounds what one look for moves may begin, and MinRebalanceEvery the time between two.
	MaxRebalanceMoves = 1_000
	MinRebalanceEvery = 1 * Minute
	// MaxReservations of a commit: each is looked at on every node.
	MaxReservations = 1_000
	// MaxNodeClasses of a commit.
	MaxNodeClasses = 1_000
	// MaxMoreNodes bounds how many nodes a plan may suppose beside those that are there.
	MaxMoreNodes = 10_000
	// MaxSuppositions bounds of how many kinds of node that is, and of how many that are there it may do without.
	MaxSuppositions = 100
	// MaxAllowances of a commit, and MaxPoints of each list in them and in an isolation block.
	MaxAllowances = 1_000
	MaxPoints     = 100
	// MaxTasks of one app.
	MaxTasks = 32
	// MaxChecks of one task, and MaxCheckHeaders of one check.
	MaxChecks       = 32
	MaxCheckHeaders = 32
	// MaxCheckText bounds what a check may send or compare, in bytes: certificates are the longest.
	MaxCheckText = 64 << 10
	// MaxArtifacts of one task: each is a layer of its root file system.
	MaxArtifacts = 16
	// MaxArtifactStrip is deeper than anybody packs.
	MaxArtifactStrip = 32
	// MaxRules of one app: constraints, affinities and spreads, each.
	MaxRules = 200
	// MaxCPU of one task: a thousand cores.
	MaxCPU MilliCPU = 1_000_000
)
