package place_test

import (
	"slices"
	"testing"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// TestReaches: what apps accept is remembered for those that ask alike, and only for those.
func TestReaches(t *testing.T) {
	rules := [][]spec.Constraint{
		nil,
		{{Attribute: "class", Operator: spec.OpEqual, Value: "c3"}},
		{{Attribute: "class", Operator: spec.OpEqual, Value: "c4"}},
		{{Attribute: "class", Operator: spec.OpNotEqual, Value: "c4"}},
		{{Attribute: "zone", Operator: spec.OpNotEqual, Value: "c4"}},
		{{Attribute: "class", Operator: spec.OpIn, Values: []string{"c1", "c2"}}},
		{{Attribute: "class", Operator: spec.OpIn, Values: []string{"c1"}}, {Attribute: "zone", Operator: spec.OpIn, Values: []string{"z2"}}},
		{{Attribute: "zone", Operator: spec.OpSet}},
		{{Attribute: "zone", Operator: spec.OpUnset}},
		{{Attribute: "zone", Operator: spec.OpMaxPer, Number: 2}},
		{{Attribute: "sort", Operator: spec.OpMaxPer, Number: 2}},
	}
	takes := func(f *place.Fleet, c []spec.Constraint, pool spec.PoolName) []int32 {
		a := app()
		a.Constraints, a.Pool = c, pool
		return f.Matcher(a).Takes()
	}
	shared := fleet(60)
	for range 2 {
		for _, c := range rules {
			for _, pool := range []spec.PoolName{"", "other", spec.AllPools} {
				if want, got := takes(fleet(60), c, pool), takes(shared, c, pool); !slices.Equal(want, got) {
					t.Errorf("%v in pool %q: alone %v, after others %v", c, pool, want, got)
				}
			}
		}
	}
}
