package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

// table says what may stand in a block that describes a T. It decodes, and it is the source of the reference.
type table[T any] struct {
	doc      string
	args     []argument[T]
	blocks   []nested[T] // decoded in this order
	others   *open[T]    // takes arguments that are not in args; nil: there are none
	defaults func() T    // a T of which nothing was written
	check    func(d *decoder, b *block, t *T)
}

// argument is one line NAME = VALUE.
type argument[T any] struct {
	name, doc string
	kind      string
	values    []string
	required  bool
	onNode    bool // may use what is known on the node only: port.NAME, node.id, …
	set       func(t *T, v cty.Value) error
	show      func(t *T) string
}

// open takes arguments of any name.
type open[T any] struct {
	doc string
	set func(t *T, name string, v cty.Value) error
}

// nested is a block in a block.
type nested[T any] struct {
	name, doc string
	label     string // what its label is, or ""
	many      bool
	table     described
	decode    func(d *decoder, b *block, into *T)
}

// arg makes the line for an argument that is a field of T.
func arg[T, V any](name string, k kind[V], at func(*T) *V, doc string) argument[T] {
	return argument[T]{
		name: name, doc: doc, kind: k.name, values: k.values,
		set: func(t *T, v cty.Value) error {
			x, err := k.read(v)
			if err == nil {
				*at(t) = x
			}
			return err
		},
		show: func(t *T) string { return k.show(*at(t)) },
	}
}

// maybe makes the line for an argument whose field stays nil when it is not written.
func maybe[T, V any](name string, k kind[V], at func(*T) **V, doc string) argument[T] {
	return argument[T]{
		name: name, doc: doc, kind: k.name, values: k.values,
		set: func(t *T, v cty.Value) error {
			x, err := k.read(v)
			if err == nil {
				*at(t) = &x
			}
			return err
		},
	}
}

func (a argument[T]) must() argument[T]   { a.required = true; return a }
func (a argument[T]) atNode() argument[T] { a.onNode = true; return a }

// one makes the line for a block that is a field of T and may stand once. What is not written keeps the defaults.
func one[T, C any](name string, at func(*T) *C, t *table[C], doc string) nested[T] {
	return nested[T]{name: name, doc: doc, table: t, decode: func(d *decoder, b *block, into *T) { t.decode(d, b, at(into)) }}
}

// several makes the line for a block that may stand many times; label is "" for blocks without one.
func several[T, C any](name, label string, t *table[C], add func(d *decoder, b *block, into *T, c C), doc string) nested[T] {
	return nested[T]{
		name: name, label: label, doc: doc, many: true, table: t,
		decode: func(d *decoder, b *block, into *T) {
			c := t.fresh()
			t.decode(d, b, &c)
			add(d, b, into, c)
		},
	}
}

func (t *table[T]) fresh() T {
	if t.defaults == nil {
		var zero T
		return zero
	}
	return t.defaults()
}

// block is a block as the decoder sees it: dynamic ones are expanded.
type block struct {
	*hclsyntax.Block
	env env
	bad []string // arguments that were reported, so that no check stumbles over what was put in their place
}

// label returns the i-th label, or "".
func (b *block) label(i int) string {
	if i < len(b.Labels) {
		return b.Labels[i]
	}
	return ""
}

// place is where the block is blamed: its first label, or its name.
func (b *block) place() hcl.Range {
	if len(b.LabelRanges) > 0 {
		return b.LabelRanges[0]
	}
	return b.TypeRange
}

// placeOf is where an argument's value stands, or the block when it is not written.
func (b *block) placeOf(argument string) hcl.Range {
	if a := b.Body.Attributes[argument]; a != nil {
		return a.Expr.Range()
	}
	return b.place()
}

func (b *block) has(argument string) bool { return b.Body.Attributes[argument] != nil }

// inner returns the first block of the kind that is written out in this one, or nil.
func (b *block) inner(kind string) *block {
	for _, c := range b.Body.Blocks {
		if c.Type == kind {
			return &block{Block: c, env: b.env}
		}
	}
	return nil
}

// sound reports whether none of the arguments was reported.
func (b *block) sound(arguments ...string) bool {
	for _, a := range arguments {
		if slices.Contains(b.bad, a) {
			return false
		}
	}
	return true
}

// env is what the expressions of a block may refer to.
type env struct {
	file    *source
	ctx     *hcl.EvalContext
	node    *hcl.EvalContext // ctx and the names known on the node only; nil where these make no sense
	context string           // the block that complaints name: app "shop/web"
	scope   *scope
	ports   []spec.PortSpec // of the app around it, for checks
}

// with returns an env with more names.
func (e env) with(names map[string]cty.Value) env {
	c := e.ctx.NewChild()
	c.Variables = names
	e.ctx = c
	if e.node != nil {
		n := e.node.NewChild()
		n.Variables = names
		e.node = n
	}
	return e
}

// decode reads a block into t, which holds the defaults.
func (t *table[T]) decode(d *decoder, b *block, into *T) {
	known := 0
	for i := range t.args {
		a := &t.args[i]
		written := b.Body.Attributes[a.name]
		if written == nil {
			if a.required {
				d.at(b.place(), b.env.context, "Missing argument", fmt.Sprintf("%s needs the argument %s.", blockTitle(b), a.name+explained(a.doc)))
			}
			continue
		}
		known++
		if a.set == nil {
			continue // read elsewhere
		}
		e := b.env
		if a.onNode && e.node != nil {
			e.ctx = e.node
		}
		if v, ok := d.eval(written.Expr, e); ok {
			if err := a.set(into, v); err != nil {
				b.bad = append(b.bad, a.name)
				d.wrongValue(written, b.env, err)
			}
		} else if !v.IsNull() {
			b.bad = append(b.bad, a.name)
		} else if a.required {
			d.at(written.Expr.Range(), b.env.context, "Missing argument", fmt.Sprintf("%s needs the argument %s, but here it is null.", blockTitle(b), a.name))
		}
	}
	if known < len(b.Body.Attributes) {
		t.unknownArguments(d, b, into)
	}
	t.nest(d, b, into)
	if t.check != nil {
		t.check(d, b, into)
	}
}

// wrongValue reports an argument whose value does not fit.
func (d *decoder) wrongValue(a *hclsyntax.Attribute, e env, err error) {
	detail := a.Name + " " + err.Error()
	if r, ok := err.(remark); ok {
		detail = strings.ToUpper(r.Error()[:1]) + r.Error()[1:]
	}
	d.at(a.Expr.Range(), e.context, "Wrong value for "+a.Name, sentence(detail), d.valuesIn(a.Expr, e)...)
}

func (t *table[T]) unknownArguments(d *decoder, b *block, into *T) {
	for _, name := range sortedKeys(b.Body.Attributes) {
		if slices.ContainsFunc(t.args, func(a argument[T]) bool { return a.name == name }) {
			continue
		}
		a := b.Body.Attributes[name]
		close := spec.Closest(name, t.argumentNames())
		if t.others != nil && len(name) < 5 {
			close = "" // gpu is not a slip of cpu
		}
		if t.others != nil && close == "" {
			if v, ok := d.eval(a.Expr, b.env); ok {
				if err := t.others.set(into, name, v); err != nil {
					d.wrongValue(a, b.env, err)
				}
			}
			continue
		}
		hint := fmt.Sprintf(" Did you mean %q?", close)
		if close == "" {
			hint = didYouMean(name, t.blockNames())
			switch {
			case slices.Contains(t.blockNames(), name):
				hint = fmt.Sprintf(" It is a block: write %s { … } without \"=\".", name)
			case hint == "" && len(t.args) > 0:
				hint = fmt.Sprintf(" It takes %s.", list(t.argumentNames()))
			case hint == "":
				hint = " It takes no arguments."
			}
		}
		d.at(a.NameRange, b.env.context, "Unknown argument", fmt.Sprintf("%s has no argument named %q.%s", blockTitle(b), name, hint))
	}
}

// nest decodes the blocks in a block, in the order of the table.
func (t *table[T]) nest(d *decoder, b *block, into *T) {
	if len(b.Body.Blocks) == 0 {
		return
	}
	inner := d.expand(b, t.blockNames())
	for i := range t.blocks {
		n := &t.blocks[i]
		var first *block
		for _, c := range inner {
			if c.Type != n.name || !d.checkLabels(c, n.label) {
				continue
			}
			if first != nil && !n.many {
				d.at(c.TypeRange, c.env.context, "Duplicate block", fmt.Sprintf("%s has a %s block already, at %s. Merge the two.", blockTitle(b), n.name, where(position(first.TypeRange))))
				continue
			}
			first = c
			n.decode(d, c, into)
		}
	}
	for _, c := range inner {
		if slices.ContainsFunc(t.blocks, func(n nested[T]) bool { return n.name == c.Type }) {
			continue
		}
		hint := didYouMean(c.Type, t.blockNames())
		switch {
		case slices.Contains(t.argumentNames(), c.Type):
			hint = fmt.Sprintf(" It is an argument: write %s = … instead.", c.Type)
		case hint == "" && len(t.blocks) > 0:
			hint = fmt.Sprintf(" It takes %s.", list(t.blockNames()))
		case hint == "":
			hint = " It takes no blocks."
		}
		d.at(c.TypeRange, c.env.context, "Unknown block", fmt.Sprintf("%s has no block named %q.%s", blockTitle(b), c.Type, hint))
	}
}

// checkLabels reports whether the block has the labels it needs: none when label is "", else one.
func (d *decoder) checkLabels(b *block, labels ...string) bool {
	want := slices.DeleteFunc(slices.Clone(labels), func(s string) bool { return s == "" })
	form := b.Type
	for _, w := range want {
		form += fmt.Sprintf(" %q", strings.ToUpper(w))
	}
	switch {
	case len(b.Labels) > len(want):
		d.at(b.LabelRanges[len(want)], b.env.context, "Superfluous label", fmt.Sprintf("A %s block is written %s { … }. Remove this label.", b.Type, form))
	case len(b.Labels) < len(want):
		d.at(b.TypeRange, b.env.context, "Missing label", fmt.Sprintf("A %s block is written %s { … }. Add the %s.", b.Type, form, want[len(b.Labels)]))
	default:
		return true
	}
	return false
}

func (t *table[T]) argumentNames() []string {
	names := make([]string, len(t.args))
	for i, a := range t.args {
		names[i] = a.name
	}
	return names
}

func (t *table[T]) blockNames() []string {
	names := make([]string, len(t.blocks))
	for i, b := range t.blocks {
		names[i] = b.name
	}
	return names
}

// blockTitle names a block in a sentence: app "shop/web".
func blockTitle(b *block) string {
	title := b.Type
	for _, l := range b.Labels {
		title += fmt.Sprintf(" %q", shorten(l, 60))
	}
	return title
}

// sentence makes sure that a detail ends as one.
func sentence(s string) string {
	if strings.HasSuffix(s, ".") || strings.HasSuffix(s, "?") {
		return s
	}
	return s + "."
}

// explained appends what an argument is for.
func explained(doc string) string {
	if doc == "" {
		return ""
	}
	return ": " + uncapital(doc)
}

func uncapital(s string) string {
	s = strings.TrimSuffix(s, ".")
	if len(s) > 1 && s[1] >= 'a' && s[1] <= 'z' || strings.HasPrefix(s, "A ") {
		return strings.ToLower(s[:1]) + s[1:]
	}
	return s
}
