package hcl

// described is a table without its type: what the reference needs.
type described interface {
	argumentNames() []string
	blockNames() []string
}
