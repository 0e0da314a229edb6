package spec

// Schema describes what may stand in the block of a framework driver. The language checks a block against it before
// anything starts, so that an error points at file and line; docs are generated from it.
type Schema struct {
	Description string      `json:"description,omitempty"`
	Arguments   []Argument  `json:"arguments,omitempty"` // sorted by name
	Blocks      []BlockType `json:"blocks,omitempty"`    // sorted by name
}

// Argument is one argument of a block.
type Argument struct {
	Name        string       `json:"name"`
	Type        ArgumentType `json:"type"`
	Required    bool         `json:"required,omitempty"`
	Default     any          `json:"default,omitempty"` // of the Go type that Framework.Config would hold
	Description string       `json:"description,omitempty"`
	Min         *float64     `json:"min,omitempty"` // of numbers, sizes (bytes) and durations (seconds)
	Max         *float64     `json:"max,omitempty"`
	OneOf       []string     `json:"one_of,omitempty"` // of strings
}

// ArgumentType is the type of an argument, and how Framework.Config holds its value.
type ArgumentType string

// The types of arguments.
const (
	TypeString     ArgumentType = "string"   // string
	TypeNumber     ArgumentType = "number"   // float64
	TypeBool       ArgumentType = "bool"     // bool
	TypeSize       ArgumentType = "size"     // float64, bytes; written as "2GiB"
	TypeDuration   ArgumentType = "duration" // float64, seconds; written as "10s"
	TypeStringList ArgumentType = "list(string)"
	TypeStringMap  ArgumentType = "map(string)"
)

// BlockType is a block that may be nested once, or many times when Labelled (then Config holds a map by label).
type BlockType struct {
	Name     string `json:"name"`
	Labelled bool   `json:"labelled,omitempty"`
	Schema   Schema `json:"schema"`
}

// Revision is one commit as the master takes it up: the cluster it describes, or what is wrong with it.
type Revision struct {
	Commit      Commit       `json:"commit"`
	Subject     string       `json:"subject,omitempty"`
	Author      string       `json:"author,omitempty"`
	Time        Time         `json:"time,omitempty"`
	Cluster     *Cluster     `json:"cluster,omitempty"` // nil when Diagnostics has an error
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`
}

// Expansion is what a framework driver made of its block.
type Expansion struct {
	Driver string  `json:"driver"`
	Name   AppName `json:"name"`
	Apps   []*App  `json:"apps"`            // their names begin with Name and "/"
	Steps  []Step  `json:"steps,omitempty"` // in order
	// Held is why the apps stay as they are for now (the driver is down, or its answer was refused); Apps is then the
	// last good answer, and nil if there never was one.
	Held        string       `json:"held,omitempty"`
	Diagnostics []Diagnostic `json:"diagnostics,omitempty"`
}

// Step is one stage of what a framework driver is doing.
type Step struct {
	Title  string `json:"title"` // "primary", "replicas after the primary is healthy"
	Done   bool   `json:"done"`
	Detail string `json:"detail,omitempty"`
}
