package spec

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// MaxFailureDomains bounds the attributes whose values are looked at as losses.
const MaxFailureDomains = 8

// Cluster is everything a commit says: the desired state. Defaults are filled in and every reference is checked, so
// that nobody downstream asks whether a field was written.
type Cluster struct {
	Name         string        `json:"name"`
	Sync         Sync          `json:"sync"`
	Policy       PolicyRef     `json:"policy"`
	Disruption   Disruption    `json:"disruption"`
	Overcommit   Overcommit    `json:"overcommit,omitzero"`
	Rebalance    *Rebalance    `json:"rebalance,omitempty"`    // nil: only when an operator asks for it
	Preemption   bool          `json:"preemption,omitempty"`   // higher priorities may displace lower ones
	Roles        []Role        `json:"roles,omitempty"`        // sorted by name
	Reservations []Reservation `json:"reservations,omitempty"` // sorted by name
	Pools        []Pool        `json:"pools,omitempty"`        // sorted by name; DefaultPool is there without being written
	Windows      []Window      `json:"windows,omitempty"`      // sorted by name
	Allowances   []Allowance   `json:"allowances,omitempty"`   // sorted by name
	Plugins      []Plugin      `json:"plugins,omitempty"`      // sorted by name
	Apps         []*App        `json:"apps,omitempty"`         // sorted by name; shared and never changed
	Frameworks   []Framework   `json:"frameworks,omitempty"`   // sorted by driver and name
	Moved        []Moved       `json:"moved,omitempty"`        // in the order written
	// NodeClasses are kinds of machine that plans may count with; sorted by name.
	NodeClasses []NodeClass `json:"node_classes,omitempty"`
	// FailureDomains are attributes of nodes: all nodes with one value may fail together. None: those
	// that apps spread over or group by.
	FailureDomains []string `json:"failure_domains,omitempty"`
	// Currency is what prices are told in, such as "EUR"; "": they are told without.
	Currency string `json:"currency,omitempty"`
	Pos      Pos    `json:"pos"`
}

// Sync says how the master follows the repository.
type Sync struct {
	Approval Approval `json:"approval"`
	Prune    bool     `json:"prune"`     // apps that left the repository are stopped
	MaxPrune Percent  `json:"max_prune"` // more apps than this going at once wait for approval
	SignedBy []string `json:"signed_by,omitempty"`
}

// Approval says who lets a commit take effect.
type Approval string

// The ways of approval.
const (
	ApprovalAuto   Approval = "auto"   // every good commit is applied
	ApprovalManual Approval = "manual" // a commit becomes a plan that waits for stowage apply
)

// PolicyRef names a scheduling policy (built in, or a plugin of kind policy) and its settings.
type PolicyRef struct {
	Name   string            `json:"name"`
	Config map[string]string `json:"config,omitempty"`
}

// Disruption is the one budget that rollouts, drains, preemption and rebalancing share.
type Disruption struct {
	MaxUnavailable Percent `json:"max_unavailable"` // of each app's count
	// MaxTotal bounds the slots of all services and system apps together that have no healthy allocation, before another
	// one may be taken from its work; nil: no bound but those of the apps.
	MaxTotal *Percent `json:"max_total,omitempty"`
	// Windows are those that apps keep to which name none themselves; see WindowsOf.
	Windows []WindowName `json:"windows,omitempty"`
}

// Rebalance lets the cluster move allocations by itself to where they are better placed.
type Rebalance struct {
	Windows  []WindowName `json:"windows,omitempty"` // in which moves begin, any of them; none: at any time
	Every    Duration     `json:"every"`             // the time between two looks, unless a window of an app opens before; what was placed less long ago stays
	MinGain  Milli        `json:"min_gain"`          // what a gain has to be worth for each of its moves, in moves
	MaxMoves int          `json:"max_moves"`         // of one look
	Parallel int          `json:"parallel"`          // on their way at a time
}

// Overcommit bounds how much more tasks may use than their nodes have, if all of them burst at once.
type Overcommit struct {
	// Memory is the percentage of a node's memory that the memory_max of its allocations may add up to; 0: no limit. A task without
	// memory_max counts with its memory.
	Memory int `json:"memory,omitempty"`
}

// Of returns what the memory_max of a node with so much memory may add up to; 0: no limit.
func (o Overcommit) Of(memory Bytes) Bytes {
	p := Bytes(o.Memory)
	return memory/100*p + memory%100*p/100
}

// Role is a party to fair sharing.
type Role struct {
	Name   RoleName   `json:"name"`
	Weight int        `json:"weight"`          // share in proportion to its siblings'
	Quota  *Resources `json:"quota,omitempty"` // never more than this; nil is no limit
	// Guarantee is capacity that nobody else can take while the role and those below it have not used it.
	Guarantee *Resources `json:"guarantee,omitempty"`
	Pos       Pos        `json:"pos"`
}

// Reservation keeps an amount on every node that its constraints accept for the allocations of a role and of those
// below it: others see so much less free, as far as the role does not use it there.
type Reservation struct {
	Name string   `json:"name"`
	Role RoleName `json:"role"`
	Resources
	Constraints []Constraint `json:"constraints,omitempty"` // over attributes
	Pos         Pos          `json:"pos"`
}

// Pool is a part of the nodes that is kept for the apps that name it. Nodes say themselves which pool they are in.
type Pool struct {
	Name        PoolName   `json:"name"`
	Description string     `json:"description,omitempty"` // for people
	Policy      *PolicyRef `json:"policy,omitempty"`      // of its apps that have none of their own; nil: the cluster's
	Pos         Pos        `json:"pos"`
}

// Plugin is a program shipped by others, run as a subprocess of the master.
type Plugin struct {
	Name    string     `json:"name"`
	Kind    PluginKind `json:"kind"`
	Command string     `json:"command"` // a path in the repository, or an absolute path on the master
	Args    []string   `json:"args,omitempty"`
	SHA256  string     `json:"sha256"` // hexadecimal; what runs is exactly this file
	Pos     Pos        `json:"pos"`
}

// PluginKind is what a plugin does.
type PluginKind string

// The kinds of plugin.
const (
	PluginPolicy    PluginKind = "policy"    // decides where allocations go
	PluginFramework PluginKind = "framework" // turns its blocks into apps
)

// Framework is a block that a framework driver expands to apps. Its body was checked against the driver's schema.
type Framework struct {
	Driver string         `json:"driver"` // a Plugin's name
	Name   AppName        `json:"name"`   // its apps are called Name/…
	Config map[string]any `json:"config"` // decoded by the schema: strings, numbers (float64), bools, lists and maps of them
	// Places tells where each argument stands, so that a driver's complaint points at it; keys as in Config, nested ones joined by ".".
	Places map[string]Pos `json:"places,omitempty"`
	Pos    Pos            `json:"pos"`
}

// NodeClass is a kind of machine: what a node of it would bring. A node says of which class it is by
// the attribute AttributeClass.
type NodeClass struct {
	Name       string            `json:"name"`
	Pool       PoolName          `json:"pool,omitempty"` // "" is DefaultPool
	Capacity   Resources         `json:"capacity"`
	Attributes map[string]string `json:"attributes,omitempty"`
	Devices    []ClassDevice     `json:"devices,omitempty"` // sorted by kind and model
	Price      Price             `json:"price,omitempty"`   // of one node in an hour, in millionths; 0: not told
	Pos        Pos               `json:"pos"`
}

// ClassDevice is so many like devices of a node of a class.
type ClassDevice struct {
	Kind       string            `json:"kind"`
	Count      int               `json:"count"`
	Vendor     string            `json:"vendor,omitempty"`
	Model      string            `json:"model,omitempty"`
	Attributes map[string]string `json:"attributes,omitempty"`
}

// Moved renames an app without restarting anything.
type Moved struct {
	From AppName `json:"from"`
	To   AppName `json:"to"`
	Pos  Pos     `json:"pos"`
}

// NewName follows the moves of an app from name to name, as one may be moved again before anybody saw that it was, and
// returns the first that has reports; or the last.
func NewName(moved []Moved, name AppName, has func(AppName) bool) AppName {
	for range moved {
		i := slices.IndexFunc(moved, func(m Moved) bool { return m.From == name })
		if i < 0 || has(name) {
			break
		}
		name = moved[i].To
	}
	return name
}

// Kind is what an app is for.
type Kind string

// The kinds of app.
const (
	KindService Kind = "service" // runs until told to stop; restarted when it exits
	KindBatch   Kind = "batch"   // runs until its tasks exit with 0
	KindSystem  Kind = "system"  // a service with one allocation on every node that its constraints accept
)

// App is a set of like allocations: count slots, each with the same tasks. The fields in Runtime change only by
// replacing allocations; all others are updated in place.
type App struct {
	Name        AppName      `json:"name"`
	Kind        Kind         `json:"kind"`
	Count       int          `json:"count"`             // slots; 0 for KindSystem, where the nodes decide
	Scaling     *Scaling     `json:"scaling,omitempty"` // nil: Count is what Git says
	Role        RoleName     `json:"role"`              // DefaultRole when not written
	Pool        PoolName     `json:"pool,omitempty"`    // runs on nodes of this pool only; "" is DefaultPool, AllPools is for KindSystem
	Priority    int          `json:"priority"`
	Gang        bool         `json:"gang,omitempty"`       // all missing slots get a place at once, or none does
	Policy      *PolicyRef   `json:"policy,omitempty"`     // nil: the pool's, or else the cluster's
	Schedule    *Schedule    `json:"schedule,omitempty"`   // nil: no runs, unless it depends on an app that has them
	Parameters  []Parameter  `json:"parameters,omitempty"` // sorted by name
	Run         *Run         `json:"run,omitempty"`        // of the app of a run: what the run is, as it was when it was made
	Pinned      bool         `json:"pinned,omitempty"`     // rebalancing leaves its allocations where they are
	DependsOn   []Dependency `json:"depends_on,omitempty"`
	Constraints []Constraint `json:"constraints,omitempty"`
	Affinities  []Affinity   `json:"affinities,omitempty"`
	Spreads     []Spread     `json:"spreads,omitempty"` // the first counts most
	Update      Update       `json:"update"`
	Restart     Restart      `json:"restart"`
	Reschedule  Reschedule   `json:"reschedule"`
	Network     Network      `json:"network"`
	Tasks       []Task       `json:"tasks"`               // in the order written; those without a lifecycle are main
	Framework   string       `json:"framework,omitempty"` // "driver name" of the framework block that made this app
	Pos         Pos          `json:"pos"`
}

// Scaling leaves the count of an app, within bounds, to whoever scales it. Count is then where it begins.
type Scaling struct {
	Min int `json:"min"` // slots
	Max int `json:"max"` // slots, at least Min
}

// Clamp returns the count nearest to n that the bounds allow.
func (s *Scaling) Clamp(n int) int { return min(max(n, s.Min), s.Max) }

// Dependency makes an app wait until another is healthy, or a run until another has completed.
type Dependency struct {
	App       AppName   `json:"app"`
	Deadline  Duration  `json:"deadline"`             // after this much waiting it counts as failed; 0: when the other run ends
	OnFailure OnFailure `json:"on_failure,omitempty"` // "": OnFailureStop
}

// Operator compares a node's attribute with a value, or counts over the allocations of one app.
type Operator string

// The operators. Ordered comparisons treat both sides as numbers when both are, else as versions when both are, else
// as text.
const (
	OpEqual        Operator = "="
	OpNotEqual     Operator = "!="
	OpLess         Operator = "<"
	OpLessEqual    Operator = "<="
	OpGreater      Operator = ">"
	OpGreaterEqual Operator = ">="
	OpIn           Operator = "in"
	OpNotIn        Operator = "not_in"
	OpRegexp       Operator = "regexp"
	OpNotRegexp    Operator = "not_regexp"
	OpSet          Operator = "set"
	OpUnset        Operator = "unset"
	OpDistinct     Operator = "distinct" // no two allocations of the app share the attribute's value
	OpMaxPer       Operator = "max_per"  // at most Value allocations of the app per value of the attribute
	OpGroupBy      Operator = "group_by" // spread evenly over Value values of the attribute; 0: as many as there are
	OpSame         Operator = "same"     // all allocations of the app share the attribute's value
	OpNear         Operator = "near"     // some allocation of another app shares the attribute's value
	OpApart        Operator = "apart"    // no allocation of another app shares the attribute's value
)

// AttributeID is the attribute that is a node's name, so that what shares its value shares the node.
const AttributeID = "node.id"

// AttributeClass is the attribute of a node that names its NodeClass.
const AttributeClass = "node.class"

// Constraint is a rule that a node must meet. Without the attribute, a node fails every operator but !=, not_in,
// not_regexp and unset. Rules that look at allocations hold when a place is chosen: nothing that runs is moved for them.
type Constraint struct {
	Attribute string   `json:"attribute"`     // of near and apart: AttributeID when not written
	App       AppName  `json:"app,omitempty"` // of near and apart: whose allocations are meant
	Operator  Operator `json:"operator"`
	Value     string   `json:"value,omitempty"`
	Values    []string `json:"values,omitempty"` // of in and not_in
	Number    int      `json:"number,omitempty"` // of max_per and group_by
	Pos       Pos      `json:"pos"`
}

// String prints the rule as a person would say it: kernel.version >= 5.10.
func (c Constraint) String() string {
	if c.App != "" {
		return describeBeside(c.Operator == OpApart, c.App, c.Attribute)
	}
	return describeRule(c.Attribute, c.Operator, c.Value, c.Values, c.Number)
}

// Affinity is a wish: nodes that meet it score Weight more (or less, when negative). It compares an attribute, or it names
// an app whose allocations to share the attribute's value with.
type Affinity struct {
	Attribute string   `json:"attribute,omitempty"` // with App: AttributeID when empty
	Operator  Operator `json:"operator,omitempty"`
	Value     string   `json:"value,omitempty"`
	Values    []string `json:"values,omitempty"`
	App       AppName  `json:"app,omitempty"` // near (or apart from) the allocations of this app
	Weight    int      `json:"weight"`        // -100 to 100
	Pos       Pos      `json:"pos"`
}

// String prints the wish as a person would say it.
func (a Affinity) String() string {
	if a.App != "" {
		return describeBeside(a.Weight < 0, a.App, a.Attribute)
	}
	return describeRule(a.Attribute, a.Operator, a.Value, a.Values, 0)
}

// Spread asks for allocations evenly over the values of an attribute, or in the proportions of Targets.
type Spread struct {
	Attribute string         `json:"attribute"`
	Weight    int            `json:"weight"`            // 1 to 100
	Targets   map[string]int `json:"targets,omitempty"` // percent per value; what is missing to 100 goes to the others
	Pos       Pos            `json:"pos"`
}

// Strategy is how an app's allocations are replaced.
type Strategy string

// The strategies.
const (
	StrategyRolling   Strategy = "rolling"    // max_parallel at a time, each waits for health
	StrategyCanary    Strategy = "canary"     // a few extra first; promotion replaces the rest
	StrategyBlueGreen Strategy = "blue_green" // as many new ones as old ones first; promotion stops the old
	StrategyRecreate  Strategy = "recreate"   // all at once
)

// Update says how a change to what runs is rolled out.
type Update struct {
	Strategy    Strategy `json:"strategy"`
	MaxParallel int      `json:"max_parallel"` // at least 1
	Canary      int      `json:"canary,omitempty"`
	HealthyFor  Duration `json:"healthy_for"` // so long without a break, and it is settled: a rollout goes on
	Deadline    Duration `json:"deadline"`    // without progress for this long the rollout has failed
	AutoPromote bool     `json:"auto_promote"`
	AutoRevert  bool     `json:"auto_revert"`
	// MinHealthy is the part of count, in thousandths, that stays healthy throughout; Surge the part that may be
	// started on top. With both zero, max_parallel alone decides.
	MinHealthy Milli `json:"min_healthy,omitempty"`
	Surge      Milli `json:"surge,omitempty"`
	// Windows are those that a change of the app waits for, any of them: nil: the cluster's; empty: none. See WindowsOf.
	Windows []WindowName `json:"windows,omitzero"`
}

// Restart says what happens on the node when a task exits.
type Restart struct {
	Attempts int      `json:"attempts"` // restarts within Interval before the allocation has failed; -1: no limit
	Interval Duration `json:"interval"`
	Delay    Duration `json:"delay"` // before the first restart; grows by half each time
	MaxDelay Duration `json:"max_delay"`
	// Mode says what follows when Attempts are used up; "": RestartFail.
	Mode RestartMode `json:"mode,omitempty"`
}

// RestartMode is what follows when a task ended more often than Restart allows.
type RestartMode string

// The modes of restart.
const (
	RestartFail  RestartMode = "fail"  // the allocation has failed, and its slot is placed again
	RestartDelay RestartMode = "delay" // the task waits until the interval allows the next restart
)

// Reschedule says what happens in the cluster when an allocation failed or its node is lost.
type Reschedule struct {
	After    Duration `json:"after"` // of silence of a node before its allocations are replaced
	Delay    Duration `json:"delay"` // before a failed allocation is placed again; doubles each time
	MaxDelay Duration `json:"max_delay"`
	// MaxAttempts is how often a slot of a run is placed before the run has failed; 0: DefaultMaxAttempts.
	MaxAttempts int `json:"max_attempts,omitempty"`
}

// NetworkMode is where an allocation's sockets live.
type NetworkMode string

// The network modes.
const (
	NetworkHost NetworkMode = "host" // the node's own network
	NetworkNone NetworkMode = "none" // a network of its own with nothing but loopback
)

// Network is the network of an allocation; its tasks share it.
type Network struct {
	Mode  NetworkMode `json:"mode"`
	Ports []PortSpec  `json:"ports,omitempty"` // sorted by name
}

// PortSpec asks for a port of the node.
type PortSpec struct {
	Name     string   `json:"name"`
	Static   int      `json:"static,omitempty"` // this very port; 0: any of the node's dynamic range
	Protocol Protocol `json:"protocol"`
	Pos      Pos      `json:"pos"`
}

// Protocol is the transport of a port.
type Protocol string

// The protocols.
const (
	TCP Protocol = "tcp"
	UDP Protocol = "udp"
)

// Lifecycle is when a task runs in its allocation's life.
type Lifecycle string

// The lifecycles.
const (
	LifecycleMain      Lifecycle = "main"      // the allocation lives as long as its main tasks
	LifecycleSidecar   Lifecycle = "sidecar"   // starts before the main tasks and is stopped after them
	LifecyclePrestart  Lifecycle = "prestart"  // runs to exit 0 before the next one, and before sidecars and main tasks
	LifecyclePoststart Lifecycle = "poststart" // runs to exit 0 once the allocation has become healthy
	LifecyclePoststop  Lifecycle = "poststop"  // runs once after the main tasks have ended, however that came
)

// Main reports whether the allocation lives as long as tasks with this lifecycle.
func (l Lifecycle) Main() bool { return l == LifecycleMain || l == "" }

// Rootfs is where a task's root file system comes from.
type Rootfs string

// RootfsHost gives the node's system folders, read-only, below a writable layer of the allocation's own.
const RootfsHost Rootfs = "host"

// Task is one container of an allocation. Text in Command, Env and Check paths may refer to ${port.NAME},
// ${node.id}, ${node.address}, ${app}, ${slot} and ${allocation}; the agent fills them in (see Expand).
type Task struct {
	Name      TaskName          `json:"name"`
	Lifecycle Lifecycle         `json:"lifecycle"`
	Rootfs    Rootfs            `json:"rootfs,omitempty"`       // exactly one of Rootfs and Image is set
	Image     string            `json:"image,omitempty"`        // of a registry (NAME:TAG; in what runs NAME:TAG@DIGEST), oci:PATH or archive:PATH in the repository, or the URL of an archive
	ImageSHA  string            `json:"image_sha256,omitempty"` // checksum of the archive behind a URL
	Command   []string          `json:"command,omitempty"`      // empty: the image's own
	Env       map[string]string `json:"env,omitempty"`
	Dir       string            `json:"dir,omitempty"`
	User      string            `json:"user,omitempty"`   // name, uid or uid:gid; empty: root in the container, or the image's
	Groups    []string          `json:"groups,omitempty"` // beside the user's own: names or numbers
	UserNS    bool              `json:"user_namespace,omitempty"`
	Hostname  string            `json:"hostname,omitempty"` // may refer to what the node knows; empty: made of app and slot
	CPU       MilliCPU          `json:"cpu"`                // with Cores: a thousand for each
	Cores     int               `json:"cores,omitempty"`    // whole cores that nobody else uses
	Memory    Bytes             `json:"memory"`
	MemoryMax Bytes             `json:"memory_max,omitempty"` // may burst to here; 0: Memory
	Disk      Bytes             `json:"disk,omitempty"`
	Pids      int               `json:"pids,omitempty"`     // most processes; DefaultPids when not written
	CPUMax    MilliCPU          `json:"cpu_max,omitempty"`  // never more than this; 0: what nobody else wants
	Swap      Bytes             `json:"swap,omitempty"`     // that may be swapped out, beyond the limit of memory
	ShmSize   Bytes             `json:"shm_size,omitempty"` // of /dev/shm; DefaultShmSize when not written
	Tmpfs     []Tmpfs           `json:"tmpfs,omitempty"`    // sorted by target
	Ulimits   []Ulimit          `json:"ulimits,omitempty"`  // sorted by name
	IO        IO                `json:"io,omitzero"`
	Isolation Isolation         `json:"isolation,omitzero"`
	Artifacts []Artifact        `json:"artifacts,omitempty"` // fetched before it starts; sorted by destination
	Resources map[string]Milli  `json:"resources,omitempty"` // named resources, in thousandths
	Devices   []DeviceAsk       `json:"devices,omitempty"`   // at most one for each kind
	MaxRun    Duration          `json:"max_run,omitempty"`   // of one run; after it the task is stopped, and has failed; 0: no limit
	Checks    []Check           `json:"checks,omitempty"`
	Stop      Stop              `json:"stop"`
	Logs      Logs              `json:"logs"`
	Pos       Pos               `json:"pos"`
}

// CheckType is how a check asks.
type CheckType string

// The types of check.
const (
	CheckHTTP  CheckType = "http"  // Path answers with a status that counts as well
	CheckHTTPS CheckType = "https" // the same over TLS
	CheckTCP   CheckType = "tcp"   // the port accepts a connection
	CheckGRPC  CheckType = "grpc"  // grpc.health.v1.Health/Check answers SERVING
	CheckGRPCS CheckType = "grpcs" // the same over TLS
	CheckExec  CheckType = "exec"  // Command exits with 0 inside the task
)

// HTTP reports whether it asks by HTTP and looks at the status.
func (t CheckType) HTTP() bool { return t == CheckHTTP || t == CheckHTTPS }

// GRPC reports whether it asks by the health protocol of gRPC.
func (t CheckType) GRPC() bool { return t == CheckGRPC || t == CheckGRPCS }

// TLS reports whether it asks over TLS.
func (t CheckType) TLS() bool { return t == CheckHTTPS || t == CheckGRPCS }

// Check asks a task whether it is well. What follows from its answers is said by Start, Gate and Restart; a check with none of
// them is only shown.
type Check struct {
	Name    string    `json:"name"`
	Type    CheckType `json:"type"`
	Port    string    `json:"port,omitempty"` // a port of the app's network
	Path    string    `json:"path,omitempty"`
	Command []string  `json:"command,omitempty"`

	Method     string            `json:"method,omitempty"`  // of http and https; "": GET
	Headers    map[string]string `json:"headers,omitempty"` // of http and https; Host is the host that is asked for
	Status     []string          `json:"status,omitempty"`  // of http and https, that count as well: "204", "200-299"; nil: "200-399"
	Body       string            `json:"body,omitempty"`    // of http and https: a regular expression (RE2) that the beginning of the body must match
	Service    string            `json:"service,omitempty"` // of grpc and grpcs; "": the server as a whole
	CA         string            `json:"ca,omitempty"`      // of https and grpcs: certificates (PEM) that may sign the task's; "": those of the node
	SkipVerify bool              `json:"skip_verify,omitempty"`
	ServerName string            `json:"server_name,omitempty"` // that the certificate must have; "": the address that is asked

	Interval Duration `json:"interval"`
	Timeout  Duration `json:"timeout"`
	Failures int      `json:"failures"` // in a row before a passing check counts as failing

	Successes int `json:"successes,omitempty"` // in a row before a check that does not pass counts as passing; 0: 1

	Gate    bool     `json:"gate"`              // the allocation is healthy only while this passes
	Start   bool     `json:"start,omitempty"`   // until this has passed once, the task's other checks wait, and the allocation is not healthy
	Within  Duration `json:"within,omitempty"`  // with Start: a task of which it has not passed by then is restarted; 0: DefaultCheckWithin
	Restart bool     `json:"restart,omitempty"` // Failures bad answers in a row restart the task
}

// MaxCheckStatus and MinCheckStatus bound what an http check may wait for.
const (
	MinCheckStatus = 100
	MaxCheckStatus = 599
)

// ParseStatus reads "204" or "200-299", both ends included.
func ParseStatus(text string) (low, high int, err error) {
	first, last, ranged := strings.Cut(text, "-")
	low, err = strconv.Atoi(first)
	if high = low; ranged && err == nil {
		high, err = strconv.Atoi(last)
	}
	if err != nil || low > high || low < MinCheckStatus || high > MaxCheckStatus {
		return 0, 0, fmt.Errorf("%q is no HTTP status: write one such as \"204\", or a range such as \"200-299\"", text)
	}
	return low, high, nil
}

// Stop says how a task is asked to end: what asks it for work hears that it is not healthy any more, Delay passes, Command runs
// inside the task, Signal is sent, and after Timeout all its processes are killed.
type Stop struct {
	Signal  string   `json:"signal"`
	Timeout Duration `json:"timeout"` // after it, the whole group is killed
	// Delay is before anything is asked of a task whose allocation was healthy.
	Delay          Duration `json:"delay,omitempty"`
	Command        []string `json:"command,omitempty"`
	CommandTimeout Duration `json:"command_timeout,omitempty"` // 0: DefaultStopCommandTimeout
}

// Logs bounds what is kept of a task's output, for stdout and stderr each.
type Logs struct {
	MaxSize  Bytes `json:"max_size"`
	MaxFiles int   `json:"max_files"`
}
