// Package hcl is the language: it reads the *.hcl files of a folder and returns the spec.Cluster they describe, or what
// is wrong with them. It is the only importer of hashicorp/hcl and go-cty.
//
// The way of a commit through the package:
//
//	fs.FS ─ files.go ─► guard.go ─► parser ─► meter.go ─► scope.go ─► table.go, tables_*.go ─► check.go ─► spec.Cluster
//	        links,      depth,     (HCL)     counts      variables,   arguments and blocks      references
//	        sizes       tokens               the work    locals       by declarative tables     between blocks
//
// What may stand in a block is one table per block type (tables_*.go). The tables decode, fill in defaults, suggest
// names for misspelt ones, and print docs/reference/language.md (reference.go). A field that users see costs two edits:
// the field in package spec and its line in a table.
//
// The repository is not trusted. Everything that a commit could make large is counted: bytes and tokens of files, depth
// of nesting, length of expressions, bytes and steps of evaluation, apps and allocations. Going over is a diagnostic.
//
// All errors of a commit are reported at once, sorted by place. An expression whose value depends on something already
// reported is not reported again: such a value is unknown, and nothing else ever is.
package hcl
