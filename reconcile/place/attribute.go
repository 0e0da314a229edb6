package place

import (
	"maps"
	"regexp"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Attributes that every node has beside those its agent sends.
const (
	// AttributeID is the node's name, unless the agent sends an attribute of that name.
	AttributeID = spec.AttributeID
	// AttributeAddress is the node's address.
	AttributeAddress = "node.address"
	// AttributePool is the node's pool.
	AttributePool = "node.pool"
)

// none is the value of a node that lacks the attribute.
const none = -1

// column is one attribute of all nodes, interned: rules are evaluated once per value, not once per node.
type column struct {
	name   string
	values []string // in order of the first node that has each
	of     []int32  // of each node, or none
	lone   bool     // no two nodes share a value, and each has one
}

func (f *Layout) column(attribute string) *column {
	if c, ok := f.columns[attribute]; ok {
		return c
	}
	c := &column{name: attribute, of: make([]int32, len(f.ids))}
	known := map[string]int32{}
	for i := range f.ids {
		v, ok := f.attribute(i, attribute)
		if !ok {
			c.of[i] = none
			continue
		}
		n, seen := known[v]
		if !seen {
			n = int32(len(c.values))
			known[v] = n
			c.values = append(c.values, v)
		}
		c.of[i] = n
	}
	c.lone = len(c.values) == len(f.ids)
	f.columns[attribute] = c
	return c
}

func (f *Layout) attribute(node int, name string) (string, bool) {
	if v, ok := f.attrs[node][name]; ok {
		return v, true
	}
	switch name {
	case AttributeID:
		return string(f.ids[node]), true
	case AttributeAddress:
		return f.address[node], true
	case AttributePool:
		return string(f.pools[node]), true
	}
	return "", false
}

// Has reports whether a constraint is about an attribute that some node has, or accepts nodes without it.
func (f *Fleet) Has(c spec.Constraint) bool {
	col := f.column(c.Attribute)
	if len(col.values) > 0 {
		return true
	}
	_, missing := constraintRule(c).accept(col)
	return missing
}

// Attributes lists the attributes that nodes have, sorted.
func (f *Layout) Attributes() []string {
	names := map[string]bool{AttributeID: true, AttributeAddress: true, AttributePool: true}
	for _, attrs := range f.attrs {
		for name := range attrs { // any order: sorted below
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

// rule is a constraint or an affinity over a node's attribute.
type rule struct {
	attribute string
	operator  spec.Operator
	value     string
	values    []string
}

// accept evaluates the rule once per value; last is the answer for nodes without the attribute.
func (r rule) accept(c *column) (perValue []bool, missing bool) {
	match := r.matcher()
	perValue = make([]bool, len(c.values))
	for i, v := range c.values {
		perValue[i] = match(v)
	}
	switch r.operator {
	case spec.OpNotEqual, spec.OpNotIn, spec.OpNotRegexp, spec.OpUnset:
		missing = true
	}
	return perValue, missing
}

func (r rule) matcher() func(string) bool {
	switch r.operator {
	case spec.OpEqual:
		return func(v string) bool { return v == r.value || spec.CompareVersions(v, r.value) == 0 }
	case spec.OpNotEqual:
		return func(v string) bool { return v != r.value && spec.CompareVersions(v, r.value) != 0 }
	case spec.OpLess:
		return func(v string) bool { return spec.CompareVersions(v, r.value) < 0 }
	case spec.OpLessEqual:
		return func(v string) bool { return spec.CompareVersions(v, r.value) <= 0 }
	case spec.OpGreater:
		return func(v string) bool { return spec.CompareVersions(v, r.value) > 0 }
	case spec.OpGreaterEqual:
		return func(v string) bool { return spec.CompareVersions(v, r.value) >= 0 }
	case spec.OpIn:
		return r.among
	case spec.OpNotIn:
		return func(v string) bool { return !r.among(v) }
	case spec.OpRegexp, spec.OpNotRegexp:
		return r.regexpMatcher()
	case spec.OpSet:
		return func(string) bool { return true }
	}
	return func(string) bool { return false }
}

// among reports whether the value equals one of the rule's, as the operator = compares.
func (r rule) among(v string) bool {
	return slices.ContainsFunc(r.values, func(w string) bool { return v == w || spec.CompareVersions(v, w) == 0 })
}

// regexpMatcher accepts nothing when the expression is broken: the language has refused it before.
func (r rule) regexpMatcher() func(string) bool {
	re, err := regexp.Compile(r.value)
	if err != nil {
		return func(string) bool { return false }
	}
	want := r.operator == spec.OpRegexp
	return func(v string) bool { return re.MatchString(v) == want }
}

// overAllocations reports whether the operator looks at allocations: of the app, or of another one.
func overAllocations(op spec.Operator) bool {
	switch op {
	case spec.OpDistinct, spec.OpMaxPer, spec.OpGroupBy, spec.OpSame, spec.OpNear, spec.OpApart:
		return true
	}
	return false
}
