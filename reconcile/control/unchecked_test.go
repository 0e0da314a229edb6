package control

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// Of an allocation without a check the story says that being healthy means no more than that it runs.
func TestHealthyWithoutACheckSaysSo(t *testing.T) {
	for want, checks := range map[string][]spec.Check{
		whyUnchecked: {{Name: "report"}},
		"":           {{Name: "report"}, {Name: "up", Gate: true}},
	} {
		r := newRig(t, true)
		r.join("n1")
		a := app("web", 1)
		a.Tasks[0].Checks = checks
		r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, a)})
		r.obey()
		found := false
		for _, e := range r.core.Events("web[0]", 0) {
			if e.What == "healthy" {
				if found = true; e.Why != want {
					t.Errorf("with %+v it says %q, want %q", checks, e.Why, want)
				}
			}
		}
		if !found {
			t.Errorf("it did not get healthy: %+v", r.core.Events("", 0))
		}
	}
}
