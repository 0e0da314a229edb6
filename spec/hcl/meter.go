package hcl

import (
	"fmt"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// meter counts what the expressions of a commit cost. Values in HCL can grow without bound from a few lines (each local
// ten times the one before), so every expression that builds something is wrapped (see wrap) and pays for its result;
// functions pay for what they look at. When the meter is exhausted, every further evaluation is unknown.
type meter struct {
	bytes, steps int
	spent        bool
	told         bool
}

const overdrawn = "Expansion too large"

// charge takes from the budget and reports whether something is left.
func (m *meter) charge(bytes, steps int) bool {
	m.bytes -= bytes
	m.steps -= steps
	if m.bytes < 0 || m.steps < 0 {
		m.spent = true
	}
	return !m.spent
}

// The cost of a value besides its text: what cty takes for it, roughly.
const elementBytes = 96

// chargeValue pays for a value with all that is in it. Shared parts count each time: later steps walk them each time.
// The walk ends where the budget does.
func (m *meter) chargeValue(v cty.Value) bool {
	if m.spent {
		return false
	}
	m.charge(elementBytes, 1)
	if !v.IsKnown() || v.IsNull() || v.IsMarked() {
		return !m.spent
	}
	switch t := v.Type(); {
	case t == cty.String:
		m.charge(len(v.AsString()), 0)
	case t == cty.Number, t == cty.Bool:
	case t.IsTupleType() && v.LengthInt() > mixedLength, t.IsObjectType() && v.LengthInt() > mixedLength:
		n := v.LengthInt()
		m.charge(n*elementBytes, n*n/mixedLength)
		m.chargeElements(v)
	case t.IsCollectionType(), t.IsTupleType(), t.IsObjectType():
		m.chargeElements(v)
	}
	return !m.spent
}

func (m *meter) chargeElements(v cty.Value) {
	for it := v.ElementIterator(); it.Next() && !m.spent; {
		key, element := it.Element()
		if key.Type() == cty.String {
			m.charge(len(key.AsString()), 0)
		}
		m.chargeValue(element)
	}
}

// mixedLength is from where on tuples and objects are dear: cty compares the types of all their elements with all others
// when they become lists or maps.
const mixedLength = 64

// uniform turns long tuples and objects whose elements have one type into the list or map that they are, which cty handles
// in linear time. In the language the two are the same.
func uniform(v cty.Value) cty.Value {
	t := v.Type()
	if !v.IsKnown() || v.IsNull() || v.IsMarked() || !t.IsTupleType() && !t.IsObjectType() || v.LengthInt() <= mixedLength {
		return v
	}
	var first cty.Type
	for it := v.ElementIterator(); it.Next(); {
		_, e := it.Element()
		if !e.IsKnown() || e.IsMarked() || first != cty.NilType && !e.Type().Equals(first) {
			return v
		}
		first = e.Type()
	}
	if first == cty.DynamicPseudoType {
		return v
	}
	if t.IsTupleType() {
		return cty.ListVal(v.AsValueSlice())
	}
	return cty.MapVal(v.AsValueMap())
}

func overdraft(r hcl.Range) hcl.Diagnostics {
	return hcl.Diagnostics{{
		Severity: hcl.DiagError, Summary: overdrawn, Subject: &r,
		Detail: fmt.Sprintf("Up to here the expressions of this commit have built more than %d MiB or taken more than %d steps. "+
			"Something multiplies: look for locals that repeat one another, and for expressions over all combinations of long lists.",
			MaxEvaluatedBytes>>20, MaxSteps),
	}}
}

// metered evaluates the expression in its parentheses and pays for the result. It embeds a node of hclsyntax so that
// walks over the syntax tree still see what is inside.
type metered struct {
	*hclsyntax.ParenthesesExpr
	meter *meter
	deep  bool // pay for everything in the result; else for one step, and the text if it is one
}

// Value implements hcl.Expression.
func (e metered) Value(ctx *hcl.EvalContext) (cty.Value, hcl.Diagnostics) {
	if e.meter.spent {
		return cty.DynamicVal, e.stop()
	}
	v, diags := e.Expression.Value(ctx)
	v = uniform(v)
	switch {
	case e.deep:
		e.meter.chargeValue(v)
	case v.IsKnown() && !v.IsNull() && v.Type() == cty.String && !v.IsMarked():
		e.meter.charge(len(v.AsString()), 1)
	default:
		e.meter.charge(0, 2)
	}
	if e.meter.spent {
		return cty.DynamicVal, append(diags, e.stop()...)
	}
	if !v.IsMarked() && !saneMagnitude(v) {
		return cty.DynamicVal, append(diags, &hcl.Diagnostic{
			Severity: hcl.DiagError, Summary: "Number out of range", Subject: e.Expression.Range().Ptr(),
			Detail: "The result of this expression is too large or too small a number. Nothing here needs numbers beyond 1e300.",
		})
	}
	return v, diags
}

// stop tells about the exhausted meter once; the place is where it ran out.
func (e metered) stop() hcl.Diagnostics {
	if e.meter.told {
		return nil
	}
	e.meter.told = true
	return overdraft(e.Expression.Range())
}

// saneMagnitude refuses numbers whose decimal digits would fill memory.
func saneMagnitude(v cty.Value) bool {
	if v.Type() != cty.Number || !v.IsKnown() || v.IsNull() {
		return true
	}
	f := v.AsBigFloat()
	if f.IsInf() {
		return false
	}
	e := f.MantExp(nil)
	return f.Sign() == 0 || e <= MaxNumberBits && e >= -MaxNumberBits
}

// wrapBody puts all expressions of a body on the meter. Types of variables are no expressions.
func (m *meter) wrapBody(b *hclsyntax.Body, variable bool) {
	for name, a := range b.Attributes {
		if variable && name == "type" {
			continue
		}
		a.Expr = m.wrap(a.Expr)
	}
	for _, block := range b.Blocks {
		m.wrapBody(block.Body, block.Type == "variable")
	}
}

func (m *meter) put(e hclsyntax.Expression, deep bool) hclsyntax.Expression {
	return metered{ParenthesesExpr: &hclsyntax.ParenthesesExpr{Expression: e, SrcRange: e.Range()}, meter: m, deep: deep}
}

// visit is for what an operator only passes on: it costs a step, and its length if it is text.
func (m *meter) visit(e hclsyntax.Expression) hclsyntax.Expression {
	w := m.wrap(e)
	switch w.(type) {
	case *hclsyntax.LiteralValueExpr, metered, nil:
		return w
	}
	return m.put(w, false)
}

// wrap returns the expression with everything in it that builds values on the meter. References and literals cost
// nothing by themselves. The recursion is bounded by guard.
func (m *meter) wrap(e hclsyntax.Expression) hclsyntax.Expression {
	switch e := e.(type) {
	case *hclsyntax.TemplateExpr:
		if e.IsStringLiteral() {
			return e
		}
		for i, p := range e.Parts {
			e.Parts[i] = m.visit(p)
		}
		return m.put(e, true)
	case *hclsyntax.TemplateWrapExpr:
		e.Wrapped = m.wrap(e.Wrapped)
	case *hclsyntax.TemplateJoinExpr:
		e.Tuple = m.wrap(e.Tuple)
		return m.put(e, true)
	case *hclsyntax.ParenthesesExpr:
		e.Expression = m.wrap(e.Expression)
	case *hclsyntax.FunctionCallExpr:
		for i, a := range e.Args {
			e.Args[i] = m.wrap(a)
		}
		return m.put(e, true)
	case *hclsyntax.ConditionalExpr:
		e.Condition, e.TrueResult, e.FalseResult = m.wrap(e.Condition), m.wrap(e.TrueResult), m.wrap(e.FalseResult)
	case *hclsyntax.IndexExpr:
		e.Collection, e.Key = m.wrap(e.Collection), m.wrap(e.Key)
	case *hclsyntax.RelativeTraversalExpr:
		e.Source = m.wrap(e.Source)
	case *hclsyntax.TupleConsExpr:
		for i, x := range e.Exprs {
			e.Exprs[i] = m.wrap(x)
		}
		return m.put(e, true)
	case *hclsyntax.ObjectConsExpr:
		for i := range e.Items {
			if k, ok := e.Items[i].KeyExpr.(*hclsyntax.ObjectConsKeyExpr); ok {
				m.wrapKey(k)
			}
			e.Items[i].ValueExpr = m.wrap(e.Items[i].ValueExpr)
		}
		return m.put(e, true)
	case *hclsyntax.ForExpr:
		e.CollExpr, e.ValExpr = m.wrap(e.CollExpr), m.put(m.wrap(e.ValExpr), false) // a step for each turn, even of a literal
		if e.KeyExpr != nil {
			e.KeyExpr = m.visit(e.KeyExpr)
		}
		if e.CondExpr != nil {
			e.CondExpr = m.put(m.wrap(e.CondExpr), false)
		}
		return m.put(e, true)
	case *hclsyntax.SplatExpr:
		e.Source, e.Each = m.wrap(e.Source), m.wrap(e.Each)
		return m.put(e, true)
	case *hclsyntax.BinaryOpExpr:
		e.LHS, e.RHS = m.wrap(e.LHS), m.wrap(e.RHS)
		return m.put(e, true)
	case *hclsyntax.UnaryOpExpr:
		e.Val = m.wrap(e.Val)
	}
	return e
}

// wrapKey handles the key of an object: a bare name stays one, anything else is an expression.
func (m *meter) wrapKey(k *hclsyntax.ObjectConsKeyExpr) {
	if _, bare := k.Wrapped.(*hclsyntax.ScopeTraversalExpr); bare && !k.ForceNonLiteral {
		return
	}
	k.Wrapped = m.wrap(k.Wrapped)
}
