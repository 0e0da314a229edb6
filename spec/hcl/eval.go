package hcl

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

// decoder carries what all blocks of one commit share.
type decoder struct {
	*complaints
	meter  *meter
	later  []func() // checks between blocks, run when all are decoded
	loader *loader
}

// eval returns the value of an expression. It returns false for null (which counts as not written; the value is then
// null), and when the expression fails: it was then reported, or hangs on something that was.
func (d *decoder) eval(expr hclsyntax.Expression, e env) (cty.Value, bool) {
	if t, ok := expr.(*hclsyntax.TemplateExpr); ok && t.IsStringLiteral() {
		v, _ := t.Parts[0].Value(nil)
		return v, true
	}
	if l, ok := expr.(*hclsyntax.LiteralValueExpr); ok {
		return l.Val, !l.Val.IsNull()
	}
	if !d.references(expr, e) {
		return cty.DynamicVal, false
	}
	v, diags := expr.Value(e.ctx)
	if diags.HasErrors() {
		d.hclErrors(diags, e)
		return cty.DynamicVal, false
	}
	if v.IsNull() {
		return v, false
	}
	v, _ = v.UnmarkDeep()
	if !v.IsWhollyKnown() {
		return cty.DynamicVal, false
	}
	return v, true
}

// references reports names in an expression that do not exist, before it is evaluated: all of them, with what was meant.
func (d *decoder) references(expr hclsyntax.Expression, e env) bool {
	good := true
	for _, t := range expr.Variables() {
		root, found := lookup(e.ctx, t.RootName())
		if !found {
			d.unknownRoot(t, e)
			good = false
			continue
		}
		if step, object, missing := missingStep(root, t); missing && step == 1 { // deeper ones may stand in try
			d.unknownAttribute(t[:step+1], object, e)
			good = false
		}
	}
	return good
}

// lookup finds a name in the innermost context that has it.
func lookup(ctx *hcl.EvalContext, name string) (cty.Value, bool) {
	for ; ctx != nil; ctx = ctx.Parent() {
		if v, ok := ctx.Variables[name]; ok {
			return v, true
		}
	}
	return cty.NilVal, false
}

// missingStep finds the first step of a traversal that asks an object for an attribute it has not.
func missingStep(v cty.Value, t hcl.Traversal) (step int, object cty.Value, missing bool) {
	for i, s := range t[1:] {
		if !v.IsKnown() || v.IsNull() {
			return 0, v, false
		}
		name := ""
		switch s := s.(type) {
		case hcl.TraverseAttr:
			name = s.Name
		case hcl.TraverseIndex:
			if s.Key.Type() == cty.String && s.Key.IsKnown() {
				name = s.Key.AsString()
			}
		}
		switch t := v.Type(); {
		case name == "":
			return 0, v, false
		case t.IsObjectType():
			if !t.HasAttribute(name) {
				return i + 1, v, true
			}
			v = v.GetAttr(name)
		case t.IsMapType():
			key := cty.StringVal(name)
			if !v.HasIndex(key).True() {
				return i + 1, v, true
			}
			v = v.Index(key)
		default:
			return 0, v, false
		}
	}
	return 0, v, false
}

// onNodeOnly are the names that stand for what only the agent knows.
var onNodeOnly = []string{"port", "node", "app", "slot", "allocation"}

func (d *decoder) unknownRoot(t hcl.Traversal, e env) {
	name := t.RootName()
	var names []string
	for ctx := e.ctx; ctx != nil; ctx = ctx.Parent() {
		names = append(names, slices.Sorted(maps.Keys(ctx.Variables))...)
	}
	slices.Sort(names)
	names = slices.Compact(names)
	detail := fmt.Sprintf("There is no %q here.", name)
	switch {
	case slices.Contains(onNodeOnly, name):
		detail = fmt.Sprintf("%s is known on the node only, so it can stand in command, env, dir and check of a task and nowhere else.", name)
	case name == "param" || name == "run":
		detail = fmt.Sprintf("%s is known when a run begins, so it can stand in command, env, dir and check of a task and nowhere else.", name)
	case name == "each":
		detail += " It exists in blocks with for_each: add for_each, or write the value out."
	case spec.Closest(name, names) != "":
		detail += didYouMean(name, names)
	case len(t) == 1:
		detail += fmt.Sprintf(" If it is text, put it in quotes: %q.", name)
	case e.scope != nil && e.scope.variables[name] != nil:
		detail += fmt.Sprintf(" Did you mean \"var.%s\"?", name)
	default:
		detail += fmt.Sprintf(" There are %s.", list(names))
	}
	d.at(t.SourceRange(), e.context, "Unknown name", detail)
}

// nouns are what the attributes of the well-known objects are called.
var nouns = map[string]string{"var": "variable", "local": "local", "port": "port", "param": "parameter"}

// unknownAttribute reports the last step of t, which the object before it does not have.
func (d *decoder) unknownAttribute(t hcl.Traversal, object cty.Value, e env) {
	names := keysOf(object)
	given := stepName(t[len(t)-1])
	parent := traversalText(t[:len(t)-1])
	if d.loader != nil && d.loader.broken && (parent == "var" || parent == "local") {
		return // it may stand in the file that could not be read
	}
	noun, known := nouns[parent]
	if !known {
		noun = "attribute"
	}
	detail := fmt.Sprintf("%s has no attribute named %q.", parent, given)
	if known {
		detail = fmt.Sprintf("There is no %s named %q.", noun, given)
	}
	if c := spec.Closest(given, names); c != "" {
		place := ""
		if e.scope != nil {
			if p, ok := e.scope.declared(parent, c); ok {
				place = fmt.Sprintf(" (declared at %s)", where(p))
			}
		}
		detail += fmt.Sprintf(" Did you mean %q%s?", c, place)
	} else if known && len(names) == 0 {
		detail += fmt.Sprintf(" Declare it%s.", map[string]string{
			"var":   fmt.Sprintf(" with: variable %q { … }", given),
			"local": fmt.Sprintf(" with: locals { %s = … }", given),
			"port":  fmt.Sprintf(" in the app's network block with: port %q {}", given),
			"param": fmt.Sprintf(" in the app with: parameter %q {}", given),
		}[parent])
	}
	value := fmt.Sprintf("%s has %s", parent, spec.Plural(len(names), noun))
	if len(names) > 0 {
		value += ": " + shorten(strings.Join(names[:min(len(names), 30)], ", "), 200)
	}
	d.at(hcl.RangeBetween(t[0].(hcl.TraverseRoot).SrcRange, stepRange(t[len(t)-1])), e.context, "Unsupported attribute", detail, value)
}

// keysOf returns the attribute names of an object or the keys of a map, sorted.
func keysOf(v cty.Value) []string {
	if v.Type().IsObjectType() {
		return slices.Sorted(maps.Keys(v.Type().AttributeTypes()))
	}
	var names []string
	for it := v.ElementIterator(); it.Next() && len(names) < 20_000; {
		k, _ := it.Element()
		names = append(names, k.AsString())
	}
	return names
}

func stepName(s hcl.Traverser) string {
	switch s := s.(type) {
	case hcl.TraverseRoot:
		return s.Name
	case hcl.TraverseAttr:
		return s.Name
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String {
			return s.Key.AsString()
		}
		return numberText(s.Key)
	}
	return "*"
}

func stepRange(s hcl.Traverser) hcl.Range {
	switch s := s.(type) {
	case hcl.TraverseRoot:
		return s.SrcRange
	case hcl.TraverseAttr:
		return s.SrcRange
	case hcl.TraverseIndex:
		return s.SrcRange
	case hcl.TraverseSplat:
		return s.SrcRange
	}
	return hcl.Range{}
}

// traversalText prints a reference as it is written: local.tags["a"].
func traversalText(t hcl.Traversal) string {
	var b strings.Builder
	for _, s := range t {
		switch s := s.(type) {
		case hcl.TraverseRoot:
			b.WriteString(s.Name)
		case hcl.TraverseAttr:
			b.WriteString("." + s.Name)
		case hcl.TraverseIndex:
			if s.Key.Type() == cty.String {
				fmt.Fprintf(&b, "[%q]", s.Key.AsString())
			} else {
				fmt.Fprintf(&b, "[%s]", stepName(s))
			}
		case hcl.TraverseSplat:
			b.WriteString("[*]")
		}
	}
	return b.String()
}

// valuesIn tells what the references in an expression stand for, for complaints about it.
func (d *decoder) valuesIn(expr hcl.Expression, e env) []string { return valuesFor(expr, e.ctx) }

func valuesFor(expr hcl.Expression, ctx *hcl.EvalContext) []string {
	const most = 5
	var out []string
	for _, t := range expr.Variables() {
		if _, found := lookup(ctx, t.RootName()); !found {
			continue
		}
		v, diags := t.TraverseAbs(ctx)
		if diags.HasErrors() || !v.IsWhollyKnown() || v.IsMarked() {
			continue
		}
		line := traversalText(t) + " is " + strings.TrimPrefix(describe(v), "the text ")
		line = strings.Replace(line, " is the number ", " is ", 1)
		if !slices.Contains(out, line) {
			out = append(out, line)
		}
		if len(out) == most {
			break
		}
	}
	return out
}

// overdrawn reports that the meter ran out here, once.
func (d *decoder) overdrawn(r hcl.Range, e env) {
	if !d.meter.told {
		d.meter.told = true
		d.hclErrors(overdraft(r), e)
	}
}

// iteration is one element of a for_each.
type iteration struct{ key, value cty.Value }

// iterate evaluates a for_each. Lists are taken for dynamic blocks only: an app's place in a list is no name for it.
func (d *decoder) iterate(expr hclsyntax.Expression, e env, lists bool) ([]iteration, bool) {
	v, ok := d.eval(expr, e)
	if !ok {
		if v.IsNull() {
			d.at(expr.Range(), e.context, "Wrong value for for_each", "for_each is null. Give it a map or a set of texts; an empty one makes no blocks.")
		}
		return nil, false
	}
	t := v.Type()
	switch {
	case t.IsMapType(), t.IsObjectType():
	case t.IsSetType() && (t.ElementType() == cty.String || lists || v.LengthInt() == 0):
	case (t.IsListType() || t.IsTupleType()) && lists:
	case t.IsListType(), t.IsTupleType():
		d.at(expr.Range(), e.context, "Wrong value for for_each", "for_each must be a map or a set of texts, but here it is a list, whose elements have no names. Write toset([…]).", d.valuesIn(expr, e)...)
		return nil, false
	default:
		d.at(expr.Range(), e.context, "Wrong value for for_each", fmt.Sprintf("for_each must be a map or a set of texts, but here it is %s.", describe(v)), d.valuesIn(expr, e)...)
		return nil, false
	}
	var out []iteration
	for it := v.ElementIterator(); it.Next(); {
		key, value := it.Element()
		if !d.meter.charge(elementBytes, 1) {
			d.overdrawn(expr.Range(), e)
			return nil, false
		}
		out = append(out, iteration{key, value})
	}
	return out, true
}

// expand returns the blocks in a block, with dynamic ones written out.
func (d *decoder) expand(b *block, names []string) []*block {
	out := make([]*block, 0, len(b.Body.Blocks))
	for _, c := range b.Body.Blocks {
		inner := &block{Block: c, env: b.env}
		if c.Type == "dynamic" {
			out = append(out, d.dynamic(inner, names)...)
		} else {
			out = append(out, inner)
		}
	}
	return out
}

// dynamic writes out one dynamic block: dynamic "NAME" { for_each, iterator, labels, content }.
func (d *decoder) dynamic(b *block, names []string) []*block {
	if !d.checkLabels(b, "block") {
		return nil
	}
	name := b.Labels[0]
	if !slices.Contains(names, name) {
		d.at(b.LabelRanges[0], b.env.context, "Unknown block", fmt.Sprintf("There is no block named %q here.%s", name, didYouMean(name, names)))
		return nil
	}
	for _, a := range sortedKeys(b.Body.Attributes) {
		if known := []string{"for_each", "iterator", "labels"}; !slices.Contains(known, a) {
			d.at(b.Body.Attributes[a].NameRange, b.env.context, "Unknown argument", fmt.Sprintf("A dynamic block has no argument named %q.%s", a, didYouMean(a, known)))
		}
	}
	var content *hclsyntax.Block
	for _, c := range b.Body.Blocks {
		if c.Type == "content" && content == nil {
			content = c
			continue
		}
		d.at(c.TypeRange, b.env.context, "Unknown block", "A dynamic block holds exactly one content block and no other.")
	}
	each := b.Body.Attributes["for_each"]
	if each == nil || content == nil {
		d.at(b.TypeRange, b.env.context, "Incomplete dynamic block", "A dynamic block needs for_each and a content block: dynamic \"port\" { for_each = …, content { … } }.")
		return nil
	}
	iterator := name
	if a := b.Body.Attributes["iterator"]; a != nil {
		if iterator = hcl.ExprAsKeyword(a.Expr); iterator == "" {
			d.at(a.Expr.Range(), b.env.context, "Wrong value for iterator", "iterator must be a bare name, such as iterator = item.")
			return nil
		}
	}
	elements, ok := d.iterate(each.Expr, b.env, true)
	if !ok {
		return nil
	}
	var out []*block
	for _, el := range elements {
		e := b.env.with(map[string]cty.Value{iterator: cty.ObjectVal(map[string]cty.Value{"key": el.key, "value": el.value})})
		c := *content
		c.Type, c.TypeRange, c.Labels, c.LabelRanges = name, b.LabelRanges[0], nil, nil
		if a := b.Body.Attributes["labels"]; a != nil {
			v, ok := d.eval(a.Expr, e)
			if !ok {
				continue
			}
			labels, err := texts.read(v)
			if err != nil {
				d.wrongValue(a, e, err)
				continue
			}
			for _, l := range labels {
				c.Labels, c.LabelRanges = append(c.Labels, l), append(c.LabelRanges, a.Expr.Range())
			}
		}
		if !d.meter.charge(1024, 4) {
			d.overdrawn(b.TypeRange, e)
			return nil
		}
		out = append(out, &block{Block: &c, env: e})
	}
	return out
}
