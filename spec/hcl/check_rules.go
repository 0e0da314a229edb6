package hcl

import (
	"fmt"
	"strings"

	"github.com/stowage/stowage/spec"
)

// checkRules checks the rules that apps have over one another: none about itself, none that no place could meet, and no
// circle of apps each of which waits for another to be there first.
func (l *loader) checkRules() {
	ruled := false
	for _, name := range sortedKeys(l.apps) {
		a := l.apps[name].value
		for i := range a.Constraints {
			if c := &a.Constraints[i]; c.App != "" {
				ruled = true
				l.checkRuleOver(l.apps[name].block, a, c)
			}
		}
	}
	if ruled {
		l.checkNearCycles()
	}
}

func (l *loader) ruleError(b *block, at spec.Pos, summary, detail string) {
	l.add(spec.Diagnostic{Severity: spec.SeverityError, Summary: summary, Pos: at, Context: b.env.context, Detail: detail})
}

// checkRuleOver checks one rule of an app over another.
func (l *loader) checkRuleOver(b *block, a *spec.App, c *spec.Constraint) {
	if c.App == a.Name {
		instead := spec.OpSame
		if c.Operator == spec.OpApart {
			instead = spec.OpDistinct
		}
		l.ruleError(b, c.Pos, "Rule about itself", fmt.Sprintf("The app of this constraint is the one it stands in. For its own allocations write operator = %q, without app.", instead))
		return
	}
	other := l.apps[c.App]
	if c.Operator != spec.OpNear || other == nil {
		return
	}
	o := other.value
	if c.Attribute == spec.AttributeID && a.Pool != o.Pool && a.Pool != spec.AllPools && o.Pool != spec.AllPools {
		l.ruleError(b, c.Pos, "Rule that nothing can meet", fmt.Sprintf("%q runs in the pool %s and %q in the pool %s, so they never share a node. Give both the same pool.", a.Name, a.Pool.Or(), o.Name, o.Pool.Or()))
	}
	for _, pair := range []struct {
		from *spec.App
		over spec.AppName
	}{{a, c.App}, {o, a.Name}} {
		for i := range pair.from.Constraints {
			// What shares the node shares every attribute.
			if x := &pair.from.Constraints[i]; x.Operator == spec.OpApart && x.App == pair.over && (x.Attribute == c.Attribute || c.Attribute == spec.AttributeID) {
				l.ruleError(b, c.Pos, "Rules that exclude each other", fmt.Sprintf("This wants %q %s, but %q wants to be %s, at %s. Remove one of the two.", a.Name, c, pair.from.Name, x, where(x.Pos)))
			}
		}
	}
}

// checkNearCycles looks for apps of which none could be placed first.
func (l *loader) checkNearCycles() {
	for _, cycle := range cycles(toStrings(sortedKeys(l.apps)), func(n string) []string {
		var next []string
		for _, c := range l.apps[spec.AppName(n)].value.Constraints {
			if c.Operator == spec.OpNear && l.apps[c.App] != nil && string(c.App) != n {
				next = append(next, string(c.App))
			}
		}
		return next
	}) {
		a := l.apps[spec.AppName(cycle[0])]
		for i := range a.value.Constraints {
			if c := &a.value.Constraints[i]; c.Operator == spec.OpNear && (len(cycle) == 1 || string(c.App) == cycle[1]) {
				l.ruleError(a.block, c.Pos, "Rules in a circle", fmt.Sprintf("%s. None of them could be placed first: take one constraint out, or make it an affinity.", strings.ReplaceAll(circle(cycle), "needs", "wants to be near")))
				break
			}
		}
	}
}

// movedTo returns the app that a moved block now calls so, or "".
func (l *loader) movedTo(name spec.AppName) spec.AppName {
	for _, m := range l.moved {
		if m.value.From == name && l.apps[m.value.To] != nil {
			return m.value.To
		}
	}
	return ""
}
