package spec

// NodeGroup is the nodes that fail the same set of rules.
type NodeGroup struct {
	Rules  []string  `json:"rules"`
	Nodes  int       `json:"nodes"`
	Names  []NodeID  `json:"names,omitempty"`  // the first few
	Short  []Missing `json:"short,omitempty"`  // of amounts: what the nearest node of the group lacks, of each
	Detail string    `json:"detail,omitempty"` // the same as a sentence: "n14 is short by 1.2GiB"
}

// Fix is a change with which all blocked slots of an app would have a place.
type Fix struct {
	Text  string `json:"text"`  // as people would do it
	Edits []Edit `json:"edits"` // all of them together
	Size  Milli  `json:"size"`  // how large a change it is, to compare fixes by
	// Price is what the nodes cost in an hour that it adds, where that is known.
	Price Price `json:"price,omitempty"`
}

// EditKind is what an edit changes.
type EditKind string

// The kinds of edit.
const (
	EditCount      EditKind = "count"      // App's count becomes Number
	EditResource   EditKind = "resource"   // Task of App asks for Number of Resource
	EditConstraint EditKind = "constraint" // the constraint of App at Index becomes Constraint; nil: it goes
	EditQuota      EditKind = "quota"      // Role's quota of Resource becomes Number
	EditNodes      EditKind = "nodes"      // Number nodes more, like Like or of Class
)

// Edit is one change of what is written, or of the nodes.
type Edit struct {
	Kind       EditKind    `json:"kind"`
	App        AppName     `json:"app,omitempty"`
	Task       TaskName    `json:"task,omitempty"`
	Role       RoleName    `json:"role,omitempty"`
	Resource   string      `json:"resource,omitempty"`
	Index      int         `json:"index,omitempty"`
	Constraint *Constraint `json:"constraint,omitempty"`
	Number     int64       `json:"number,omitempty"` // a count, bytes, or thousandths of cores and named resources
	// Step is the least by which Number could differ, as people write it; with one step less of a change the fix does
	// not do. Zero where a rule is there or not.
	Step  int64  `json:"step,omitempty"`
	Like  NodeID `json:"like,omitempty"`
	Class string `json:"class,omitempty"`
}
