package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/spec"
)

// described is a table without its type: what the reference needs of it.
type described interface {
	about() string
	argumentRows() []row
	otherArguments() string
	blockRows() []blockRow
}

// row is one argument in the reference.
type row struct {
	name, kind, otherwise, doc string
	values                     []string
	required, onNode           bool
}

// blockRow is one block in a block.
type blockRow struct {
	name, label, doc string
	many             bool
	table            described
}

func (t *table[T]) about() string { return t.doc }

func (t *table[T]) argumentRows() []row {
	fresh := t.fresh()
	rows := make([]row, len(t.args))
	for i, a := range t.args {
		rows[i] = row{name: a.name, kind: a.kind, doc: a.doc, values: a.values, required: a.required, onNode: a.onNode}
		if a.show != nil && !a.required {
			rows[i].otherwise = a.show(&fresh)
		}
	}
	return rows
}

func (t *table[T]) otherArguments() string {
	if t.others == nil {
		return ""
	}
	return t.others.doc
}

func (t *table[T]) blockRows() []blockRow {
	rows := make([]blockRow, len(t.blocks))
	for i, b := range t.blocks {
		rows[i] = blockRow{name: b.name, label: b.label, doc: b.doc, many: b.many, table: b.table}
	}
	return rows
}

// chapters is the order of the reference.
var chapters = []string{"cluster", "role", "reservation", "pool", "window", "allowance", "node_class", "plugin", "variable", "locals", "app", "framework", "module", "moved"}

// Doc returns docs/reference/language.md: every block, argument, default and function, from the tables that decode.
func Doc() string {
	var b strings.Builder
	b.WriteString(`# The language

<!-- Written by "go test ./spec/hcl -run TestReference -update" from the tables that decode; do not edit. -->

A repository describes one cluster in *.hcl files. All files of the followed folder and its subfolders are read as one;
where a block stands changes nothing. Folders and files whose names begin with a dot are left out.

Sizes are texts such as "256MiB", "1.5GiB" or "2GB"; durations are texts such as "500ms", "10s", "1m30s", "2h" or "7d".
A block on one line holds at most one argument.

`)
	for _, name := range chapters {
		t := top[name]
		title := name
		for _, l := range t.labels {
			title += fmt.Sprintf(" %q", strings.ToUpper(l))
		}
		fmt.Fprintf(&b, "## %s\n\n%s\n\n", title, t.doc)
		if t.table != nil {
			writeTable(&b, t.table, name)
		}
	}
	writeNames(&b)
	writeFunctions(&b)
	writeLimits(&b)
	return b.String()
}

// writeTable prints the arguments of a block, then the blocks in it.
func writeTable(b *strings.Builder, t described, path string) {
	if rows := t.argumentRows(); len(rows) > 0 {
		b.WriteString("| argument | value | when not written | |\n|---|---|---|---|\n")
		for _, r := range rows {
			kind := r.kind
			if len(r.values) > 0 {
				kind = "`\"" + strings.Join(r.values, "\"` `\"") + "\"`"
			}
			otherwise := ""
			switch {
			case r.required:
				otherwise = "must be written"
			case r.otherwise != "":
				otherwise = "`" + r.otherwise + "`"
			}
			fmt.Fprintf(b, "| `%s` | %s | %s | %s |\n", r.name, cell(kind), otherwise, cell(sentence(r.doc)))
		}
		b.WriteString("\n")
	}
	if o := t.otherArguments(); o != "" {
		fmt.Fprintf(b, "Other arguments: %s.\n\n", o)
	}
	for _, n := range t.blockRows() {
		title := n.name
		if n.label != "" {
			title += fmt.Sprintf(" %q", strings.ToUpper(n.label))
		}
		often := "At most one."
		if n.many {
			often = "Any number."
		}
		fmt.Fprintf(b, "%s %s: %s\n\n%s %s\n\n", strings.Repeat("#", min(6, 3+strings.Count(path, "/"))), path, title, n.doc, often)
		if n.table != nil {
			writeTable(b, n.table, path+"/"+n.name)
		}
	}
}

func cell(s string) string { return strings.ReplaceAll(s, "|", "\\|") }

func writeNames(b *strings.Builder) {
	b.WriteString(`## Names in expressions

| name | where | |
|---|---|---|
| ` + "`var.NAME`" + ` | everywhere but in defaults | a variable |
| ` + "`local.NAME`" + ` | everywhere but in defaults | a local |
| ` + "`each.key`, `each.value`" + ` | in blocks with for_each | the element |
`)
	for _, n := range []struct{ name, doc string }{
		{"port.NAME", "the number of a port of the app's network"},
		{"node.id", "the node it runs on"},
		{"node.address", "the address of that node"},
		{"app", "the app's name"},
		{"slot", "the number of the slot, from 0"},
		{"allocation", "the allocation's ID"},
		{"param.NAME", "the value of a parameter of the run"},
		{"run.name", "the run, as in 20261126-0300: when it was due, in UTC"},
		{"run.time", "the same as in 2026-11-26T03:00:00Z"},
	} {
		fmt.Fprintf(b, "| `%s` | command, env, dir and check of a task | %s; filled in on the node |\n", n.name, n.doc)
	}
	b.WriteString(`
A dynamic block writes a block once for each element of a list, set or map. Inside content, the block's own name (or
the one given by iterator) has the attributes key and value; labels gives the block its labels.

` + "```hcl" + `
dynamic "constraint" {
  for_each = { zone = "eu-1", disk = "ssd" }
  content {
    attribute = constraint.key
    value     = constraint.value
  }
}
` + "```" + `

`)
}

func writeFunctions(b *strings.Builder) {
	b.WriteString("## Functions\n\nThere is no clock, random, network or environment: a commit means one thing.\n\n| function | |\n|---|---|\n")
	all := allFunctions()
	for _, name := range functionNames {
		fmt.Fprintf(b, "| `%s(%s)` | %s |\n", name, parameters(name), cell(sentence(all[name])))
	}
	b.WriteString("\n")
}

// parameters lists the parameters of a function as they are called.
func parameters(name string) string {
	f, ok := pure[name]
	if !ok {
		if name == "templatefile" {
			return "path, names"
		}
		return "path"
	}
	var names []string
	for _, p := range f.call.Params() {
		names = append(names, p.Name)
	}
	if v := f.call.VarParam(); v != nil {
		names = append(names, v.Name+"…")
	}
	return strings.Join(slices.DeleteFunc(names, func(s string) bool { return s == "" }), ", ")
}

func writeLimits(b *strings.Builder) {
	fmt.Fprintf(b, `## Limits

The repository is not trusted. Beyond these a commit is refused, with the place.

| | |
|---|---|
| one file | %d KiB, %d words and signs |
| all *.hcl files | %d MiB, %d words and signs |
| depth of brackets, blocks and templates | %d |
| operators in one expression, at one depth | %d |
| variables and locals | %d |
| what expressions build in all | %d MiB, %d steps |
| apps | %d |
| count of one app; allocations of all | %d; %d |
| tasks of one app | %d |
| modules; depth of modules in modules | %d; %d |
`, MaxFileSize>>10, MaxFileTokens, MaxTotalSize>>20, MaxTotalTokens, MaxDepth, MaxOperators, MaxLocals,
		MaxEvaluatedBytes>>20, MaxSteps, spec.MaxApps, spec.MaxCount, spec.MaxAllocations, spec.MaxTasks, MaxModules, MaxModuleDepth)
}
