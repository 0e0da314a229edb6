package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// Who came first is named only where that is why an app waits: they took, of what it is short of, where it could run.
func TestServedAreOnlyThoseInTheWay(t *testing.T) {
	gpus := in("gpu", pool(12, 100, 1))
	gpus.ID = "g1"
	ofPool := func(pool spec.PoolName, a *spec.App) *spec.App { return edit(a, func(a *spec.App) { a.Pool = pool }) }
	huge := needs("eng", "huge", 30, 0.3, 0, 0)
	tests := []struct {
		name string
		apps []*spec.App
		who  []spec.AppName
		why  string
	}{
		{"what is short there was taken there", []*spec.App{ofPool("gpu", needs("eng", "other", 1, 0.5, 0, 1)), ofPool("gpu", needs("eng", "zero", 1, 1, 0, 1))},
			[]spec.AppName{"other"}, "other has 1 of gpu, zero nothing: 1 of it in this plan, in the order of shares"},
		{"another pool", []*spec.App{huge, ofPool("gpu", needs("eng", "zero", 1, 1, 0, 2))}, nil, ""},
		{"another resource", []*spec.App{ofPool("gpu", huge), ofPool("gpu", needs("eng", "zero", 1, 1, 0, 2))}, nil, ""},
		{"only its constraints", []*spec.App{huge, edit(needs("eng", "zero", 1, 1, 0, 0), func(a *spec.App) {
			a.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpEqual, Value: "r1"}}
		})}, nil, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := cluster(t, pool(4, 100, 0), gpus)
			l.commit(tt.apps...)
			p, _ := l.plan()
			b := blocked(p, "zero")
			if b == nil {
				t.Fatalf("it is not blocked\n%s", show(p))
			}
			var who []spec.AppName
			why := ""
			for _, r := range b.Served {
				who, why = append(who, r.App), r.Why
			}
			if len(who) != len(tt.who) || len(who) > 0 && who[0] != tt.who[0] || why != tt.why {
				t.Errorf("served are %v: %s\nblocked by %+v", who, why, b.Reasons)
			}
		})
	}
	// A quota is in the way wherever those run that use it up.
	l := cluster(t, pool(4, 100, 0), gpus)
	l.in.Desired.Roles = []spec.Role{{Name: "eng", Weight: 1, Quota: &spec.Resources{CPU: 1000}}}
	l.commit(needs("eng", "first", 1, 1, 0, 0), ofPool("gpu", needs("eng", "zero", 1, 1, 0, 0)), needs("ops", "others", 1, 1, 0, 0))
	p, _ := l.plan()
	if b := blocked(p, "zero"); b == nil || len(b.Served) != 1 || b.Served[0].App != "first" {
		t.Errorf("%+v\n%s", b, show(p))
	}
}
