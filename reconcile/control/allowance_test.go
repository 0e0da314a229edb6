package control

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// A driver cannot weaken isolation on its own: what people may not write, it may not answer.
func TestDriverNeedsAllowance(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	with := func(name string, allowances ...spec.Allowance) spec.Revision {
		rev := commit(name, spec.ApprovalAuto, app("web", 1))
		rev.Cluster.Plugins = []spec.Plugin{{Name: "redis", Kind: spec.PluginFramework}}
		rev.Cluster.Frameworks = []spec.Framework{{Driver: "redis", Name: "cache"}}
		rev.Cluster.Allowances = allowances
		return rev
	}
	weak := app("cache/primary", 1)
	weak.Framework, weak.Pos = "redis cache", spec.Pos{File: "cache.hcl", Line: 3}
	weak.Tasks[0].Isolation.CapAdd = []string{"NET_RAW"}
	answer := spec.Expansion{Driver: "redis", Name: "cache", Apps: []*spec.App{weak}}

	without := with("aa")
	if plan, _ := r.core.Preview(without, []spec.Expansion{answer}, false, 0); strings.Contains(planText(plan), "cache/primary") {
		t.Errorf("a preview starts it: %s", planText(plan))
	}
	r.step(RevisionSeen{Revision: without})
	r.step(Expanded{without.Commit, answer})
	if f := r.core.Status().Failure; f == nil || len(f.Diagnostics) != 1 || !strings.Contains(f.Diagnostics[0].Detail, `capabilities = ["NET_RAW"]`) || f.Diagnostics[0].Pos.Line != 3 {
		t.Fatalf("without an allowance: %+v", f)
	}
	if n := len(r.core.Allocations()); n != 0 {
		t.Fatalf("%d allocations of a refused commit", n)
	}
	allowed := with("bb", spec.Allowance{Name: "net", Apps: []string{"cache/*"}, Capabilities: []string{"NET_RAW"}})
	r.step(RevisionSeen{Revision: allowed})
	r.step(Expanded{allowed.Commit, answer})
	if n := len(r.core.Allocations()); n != 2 {
		t.Errorf("with an allowance there are %d allocations", n)
	}
	r.sameAsJournal()
}

func planText(p spec.Plan) string {
	var out []string
	for _, a := range p.Apps {
		for _, c := range a.Changes {
			out = append(out, string(a.App)+": "+string(c.Kind))
		}
	}
	return strings.Join(out, "\n")
}
