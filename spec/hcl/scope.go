package hcl

import (
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/ext/typeexpr"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"

	"github.com/stowage/stowage/spec"
)

// scope is one set of files that share their variables and locals: the followed folder, or one use of a module.
type scope struct {
	fsys      fs.FS
	sources   []*source
	prefix    string // of the names of apps: "" or "shop/"
	depth     int    // of modules
	variables map[string]*variable
	locals    map[string]*local
	envs      map[*source]env
	inputs    map[string]input // of a module
}

// input is an argument of a module block.
type input struct {
	attribute *hclsyntax.Attribute
	value     cty.Value
	env       env
}

// variable is a variable block.
type variable struct {
	block       *block
	constraint  cty.Type
	defaults    *typeexpr.Defaults
	value       cty.Value
	validations []*block
}

// local is one line of a locals block.
type local struct {
	attribute *hclsyntax.Attribute
	env       env
	value     cty.Value
}

// declared tells where a variable or local stands.
func (s *scope) declared(parent, name string) (spec.Pos, bool) {
	switch parent {
	case "var":
		if v := s.variables[name]; v != nil {
			return position(v.block.TypeRange), true
		}
	case "local":
		if l := s.locals[name]; l != nil {
			return position(l.attribute.NameRange), true
		}
	}
	return spec.Pos{}, false
}

// newScope finds the variables and locals of some files and evaluates them.
func (d *decoder) newScope(fsys fs.FS, sources []*source, prefix string, depth int, inputs map[string]input) *scope {
	s := &scope{
		fsys: fsys, sources: sources, prefix: prefix, depth: depth, inputs: inputs,
		variables: map[string]*variable{}, locals: map[string]*local{}, envs: map[*source]env{},
	}
	base := &hcl.EvalContext{Variables: map[string]cty.Value{}, Functions: pureFunctions(d.meter)}
	for _, f := range sources {
		ctx := base.NewChild()
		ctx.Functions = fileFunctions(d.meter, fsys, f.real)
		s.envs[f] = env{file: f, ctx: ctx, scope: s}
	}
	d.declare(s)
	d.evaluateVariables(s, base)
	d.evaluateLocals(s, base)
	return s
}

// declare collects variable and locals blocks.
func (d *decoder) declare(s *scope) {
	for _, f := range s.sources {
		for _, hb := range f.body.Blocks {
			b := &block{Block: hb, env: s.envs[f]}
			b.env.context = blockTitle(b)
			switch {
			case len(s.variables)+len(s.locals) > MaxLocals:
				d.at(b.TypeRange, b.env.context, "Too many names", fmt.Sprintf("There may be %d variables and locals in all. Use a map.", MaxLocals))
				return
			case b.Type == "variable" && d.checkLabels(b, "name"):
				d.declareVariable(s, b)
			case b.Type == "locals" && d.checkLabels(b):
				d.declareLocals(s, b)
			}
		}
	}
}

func (d *decoder) declareVariable(s *scope, b *block) {
	name := b.Labels[0]
	if !hclsyntax.ValidIdentifier(name) {
		d.at(b.LabelRanges[0], b.env.context, "Invalid name", fmt.Sprintf("%q cannot be written after \"var.\". Use letters, digits and \"_\".", shorten(name, 60)))
		return
	}
	if first := s.variables[name]; first != nil {
		d.at(b.LabelRanges[0], b.env.context, "Duplicate variable", fmt.Sprintf("There is a variable %q already, declared at %s. Rename one of them.", name, where(position(first.block.TypeRange))))
		return
	}
	v := &variable{block: b, constraint: cty.DynamicPseudoType, value: cty.DynamicVal}
	s.variables[name] = v
	var unused variableSpec
	variableTable.decode(d, b, &unused)
	if a := b.Body.Attributes["type"]; a != nil {
		constraint, defaults, diags := typeexpr.TypeConstraintWithDefaults(a.Expr)
		d.hclErrors(diags, b.env)
		if !diags.HasErrors() {
			v.constraint, v.defaults = constraint, defaults
		}
	}
	for _, c := range b.Body.Blocks {
		if c.Type == "validation" {
			v.validations = append(v.validations, &block{Block: c, env: b.env})
		}
	}
}

func (d *decoder) declareLocals(s *scope, b *block) {
	b.env.context = "locals"
	for _, c := range b.Body.Blocks {
		d.at(c.TypeRange, "locals", "Unknown block", "A locals block holds lines NAME = VALUE and no blocks.")
	}
	for _, name := range sortedKeys(b.Body.Attributes) {
		a := b.Body.Attributes[name]
		if first := s.locals[name]; first != nil {
			d.at(a.NameRange, "locals", "Duplicate local", fmt.Sprintf("There is a local %q already, declared at %s. Rename one of them.", name, where(position(first.attribute.NameRange))))
			continue
		}
		s.locals[name] = &local{attribute: a, env: b.env, value: cty.DynamicVal}
	}
}

// evaluateVariables gives each variable its input or default and asks its validations.
func (d *decoder) evaluateVariables(s *scope, base *hcl.EvalContext) {
	values := make(map[string]cty.Value, len(s.variables))
	for _, name := range sortedKeys(s.variables) {
		v := s.variables[name]
		v.value = d.variableValue(s, name, v)
		values[name] = v.value
	}
	base.Variables["var"] = cty.ObjectVal(values)
	for _, name := range sortedKeys(s.variables) {
		for _, b := range s.variables[name].validations {
			d.validate(name, b)
		}
	}
	for _, name := range sortedKeys(s.inputs) {
		if s.variables[name] == nil {
			in := s.inputs[name]
			d.at(in.attribute.NameRange, in.env.context, "Unknown argument", fmt.Sprintf("The module has no variable named %q.%s", name, didYouMean(name, sortedKeys(s.variables))))
		}
	}
}

func (d *decoder) variableValue(s *scope, name string, v *variable) cty.Value {
	expr, e := hclsyntax.Expression(nil), v.block.env
	var value cty.Value
	if in, ok := s.inputs[name]; ok {
		expr, e, value = in.attribute.Expr, in.env, in.value
		if !value.IsWhollyKnown() {
			return cty.DynamicVal
		}
	} else if a := v.block.Body.Attributes["default"]; a != nil {
		expr = a.Expr
		var good bool
		if value, good = d.eval(expr, e); !good && !value.IsNull() {
			return cty.DynamicVal
		}
	} else {
		remedy := "Add a default: values come from the repository only, so that a commit means one thing."
		place, context := v.block.place(), e.context
		if s.inputs != nil {
			remedy = "Set it in the module block that uses this folder, or add a default."
		}
		d.at(place, context, "Variable without a value", fmt.Sprintf("The variable %q has no default. %s", name, remedy))
		return cty.DynamicVal
	}
	if v.defaults != nil && !value.IsNull() {
		value = v.defaults.Apply(value)
	}
	converted, err := convert.Convert(value, v.constraint)
	if err != nil {
		d.at(expr.Range(), e.context, "Wrong type", fmt.Sprintf("The variable %q is declared as %s at %s, but here it is %s: %v.", name, typeexpr.TypeString(v.constraint), where(position(v.block.TypeRange)), describe(value), err))
		return cty.DynamicVal
	}
	if !d.meter.chargeValue(converted) {
		d.overdrawn(expr.Range(), e)
		return cty.DynamicVal
	}
	return converted
}

// validate asks one validation block.
func (d *decoder) validate(name string, b *block) {
	condition, message := b.Body.Attributes["condition"], b.Body.Attributes["error_message"]
	if condition == nil || message == nil {
		return // reported as missing
	}
	v, ok := d.eval(condition.Expr, b.env)
	if !ok {
		return
	}
	good, err := flag.read(v)
	if err != nil {
		d.wrongValue(condition, b.env, err)
	}
	if err != nil || good {
		return
	}
	m, ok := d.eval(message.Expr, b.env)
	if !ok {
		return
	}
	said, _ := asText(m)
	d.at(condition.Expr.Range(), b.env.context, "Invalid value for variable", sentence(shorten(said, 500)), d.valuesIn(condition.Expr, b.env)...)
}

// evaluateLocals evaluates locals in the order of their references: those that hang on nothing first, and so on. It
// does not recurse, since a chain may be as long as there are locals. What is left at the end goes round in circles.
func (d *decoder) evaluateLocals(s *scope, base *hcl.EvalContext) {
	needs, users := map[string][]string{}, map[string][]string{}
	open := map[string]int{}
	for _, name := range sortedKeys(s.locals) {
		needs[name] = d.localNeeds(s, s.locals[name])
		open[name] = len(needs[name])
		for _, n := range needs[name] {
			users[n] = append(users[n], name)
		}
	}
	var queue []string
	for _, name := range sortedKeys(open) {
		if open[name] == 0 {
			queue = append(queue, name)
		}
	}
	base.Variables["local"] = cty.EmptyObjectVal
	for len(queue) > 0 {
		name := queue[0]
		queue = queue[1:]
		l := s.locals[name]
		values := make(map[string]cty.Value, len(needs[name]))
		for _, n := range needs[name] {
			values[n] = s.locals[n].value
		}
		e := l.env.with(map[string]cty.Value{"local": cty.ObjectVal(values)})
		if d.localsExist(s, l, e) {
			v, ok := d.eval(l.attribute.Expr, e)
			if ok || v.IsNull() {
				l.value = v
			}
		}
		delete(open, name)
		for _, u := range users[name] {
			if open[u]--; open[u] == 0 {
				queue = append(queue, u)
			}
		}
	}
	d.reportCycles(s, needs, open)
	all := make(map[string]cty.Value, len(s.locals))
	for name, l := range s.locals {
		all[name] = l.value
	}
	base.Variables["local"] = cty.ObjectVal(all)
}

// localNeeds returns the locals that a local refers to, each once.
func (d *decoder) localNeeds(s *scope, l *local) []string {
	var needs []string
	seen := map[string]bool{}
	for _, t := range l.attribute.Expr.Variables() {
		if t.RootName() != "local" || len(t) < 2 {
			continue
		}
		name := stepName(t[1])
		if s.locals[name] != nil && !seen[name] {
			seen[name] = true
			needs = append(needs, name)
		}
	}
	return needs
}

// localsExist reports references of a local to locals that do not exist. The general check cannot: it is given only the
// locals that this one needs.
func (d *decoder) localsExist(s *scope, l *local, e env) bool {
	good := true
	for _, t := range l.attribute.Expr.Variables() {
		if t.RootName() != "local" {
			continue
		}
		if len(t) < 2 {
			d.at(t.SourceRange(), e.context, "Unknown name", "Among the locals, local must be followed by the name of one, as in local.tag.")
			good = false
			continue
		}
		if name := stepName(t[1]); s.locals[name] == nil {
			names := map[string]cty.Value{}
			for n := range s.locals {
				names[n] = cty.DynamicVal
			}
			d.unknownAttribute(t[:2], cty.ObjectVal(names), e)
			good = false
		}
	}
	return good
}

// reportCycles reports each circle among the locals that could not be evaluated, at its first member.
func (d *decoder) reportCycles(s *scope, needs map[string][]string, open map[string]int) {
	for _, cycle := range cycles(sortedKeys(open), func(n string) []string {
		return slices.DeleteFunc(slices.Clone(needs[n]), func(m string) bool { _, stuck := open[m]; return !stuck })
	}) {
		l := s.locals[cycle[0]]
		d.at(l.attribute.NameRange, "locals", "Locals in a circle", fmt.Sprintf("%s. Break the circle: one of them must stand on its own.", circle(cycle)))
	}
}

// circle prints a circle: a needs b, b needs a.
func circle(names []string) string {
	if len(names) == 1 {
		return fmt.Sprintf("%q needs itself", names[0])
	}
	var parts []string
	for i, n := range names {
		if i == 8 {
			parts = append(parts, fmt.Sprintf("and so on over %d", len(names)))
			break
		}
		parts = append(parts, fmt.Sprintf("%q needs %q", n, names[(i+1)%len(names)]))
	}
	return strings.Join(parts, ", ")
}

// cycles finds circles in a graph, each node in at most one, in the order of names. Every node that is on a circle
// reachable by a walk from the first unvisited name is found once; it does not recurse.
func cycles(names []string, next func(string) []string) [][]string {
	const unseen, active, done = 0, 1, 2
	state := map[string]int{}
	var found [][]string
	type frame struct {
		name string
		rest []string
	}
	for _, start := range names {
		if state[start] != unseen {
			continue
		}
		stack := []frame{{start, next(start)}}
		state[start] = active
		for len(stack) > 0 {
			top := &stack[len(stack)-1]
			if len(top.rest) == 0 {
				state[top.name] = done
				stack = stack[:len(stack)-1]
				continue
			}
			n := top.rest[0]
			top.rest = top.rest[1:]
			switch state[n] {
			case unseen:
				state[n] = active
				stack = append(stack, frame{n, next(n)})
			case active:
				var cycle []string
				for i := len(stack) - 1; i >= 0; i-- {
					cycle = append(cycle, stack[i].name)
					if stack[i].name == n {
						break
					}
				}
				slices.Reverse(cycle)
				found = append(found, fromSmallest(cycle))
			}
		}
	}
	return found
}

// fromSmallest turns a circle so that it begins with its smallest name.
func fromSmallest(cycle []string) []string {
	i := slices.Index(cycle, slices.Min(cycle))
	return append(slices.Clone(cycle[i:]), cycle[:i]...)
}
