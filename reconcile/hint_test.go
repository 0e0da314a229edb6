package reconcile_test

import (
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// An attribute that no node has is most likely misspelt: the plan says so, and which one is close.
func TestAnAttributeThatNoNodeHas(t *testing.T) {
	n := node("n1", 4000, 8*spec.GiB)
	n.Attributes["rack"] = "r1"
	for _, tt := range []struct {
		attribute string
		operator  spec.Operator
		want      string
	}{
		{"rak", spec.OpEqual, `no node has the attribute "rak"; did you mean "rack"?`},
		{"rak", spec.OpDistinct, `no node has the attribute "rak"; did you mean "rack"?`},
		{"node.pol", spec.OpEqual, `no node has the attribute "node.pol"; did you mean "node.pool"?`},
		{"quite-another", spec.OpEqual, `no node has the attribute "quite-another"`},
		{"rack", spec.OpEqual, ""},
	} {
		l := cluster(t, n)
		a := asks("a", 2, 1000, spec.MiB)
		a.Constraints = []spec.Constraint{{Attribute: tt.attribute, Operator: tt.operator, Value: "r2"}}
		l.commit(a)
		p, _ := l.plan()
		b := blocked(p, "a")
		if b == nil {
			t.Fatalf("%s is not in the way\n%s", tt.attribute, show(p))
		}
		got := ""
		for _, r := range b.Reasons {
			if strings.HasPrefix(r.Rule, "no node has") {
				got += r.Rule
			}
		}
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.attribute, got, tt.want)
		}
	}
	l := cluster(t, n) // where the attribute may be missing, its absence is no reason
	a := asks("a", 9, 1000, spec.MiB)
	a.Constraints = []spec.Constraint{{Attribute: "rak", Operator: spec.OpNotEqual, Value: "r2"}}
	l.commit(a)
	if p, _ := l.plan(); strings.Contains(rules(blocked(p, "a")), "no node has") {
		t.Error(rules(blocked(p, "a")))
	}
}

// Nothing is blocked by a spread over what no node has, so a warning tells of it.
func TestASpreadThatSaysNothing(t *testing.T) {
	n := node("n1", 4000, 8*spec.GiB)
	n.Attributes["rack"] = "r1"
	l := cluster(t, n)
	l.commit(edit(asks("a", 1, 100, spec.MiB), spreads("rack", "node")), edit(asks("b", 1, 100, spec.MiB), spreads("node", "row")), asks("c", 1, 100, spec.MiB))
	p, _ := l.plan()
	got := ""
	for _, w := range p.Warnings {
		got += w.Rule + ": " + w.Detail + "\n"
	}
	want := `spread of a, and of 1 more, says nothing: no node has the attribute "node"; did you mean "node.id"?
spread of b says nothing: no node has the attribute "row"
`
	if got != want {
		t.Errorf("warned of\n%swant\n%s", got, want)
	}
}

// A task has cores of its own or a share of the cpu, never both: a fix is written as the task is.
func TestFixesOfTasksWithCores(t *testing.T) {
	for have, want := range map[int]string{1: "", 3: "cores = 2"} {
		n := node("n1", 2000, 8*spec.GiB)
		n.Cores = []spec.CoreGroup{{Cores: []int{0, 1}}}
		l := cluster(t, n)
		l.commit(edit(asks("a", 1, spec.MilliCPU(have)*1000, spec.MiB), func(a *spec.App) { a.Tasks[0].Cores = have }),
			edit(asks("high", 1, 1500, spec.MiB), func(a *spec.App) {
				if have == 1 {
					a.Priority = 90
				} else {
					a.Count = 0
				}
			}))
		p, _ := l.plan()
		b := blocked(p, "a")
		if b == nil {
			t.Fatalf("it fits\n%s", show(p))
		}
		got := ""
		for _, f := range b.Fix {
			if strings.Contains(f, "cpu") || strings.Contains(f, "cores") {
				got += f
			}
		}
		if got != want {
			t.Errorf("with %d cores the fixes are %q: %q, want %q", have, b.Fix, got, want)
		}
	}
}

// Where tasks do not run at the same time, a fix is of one of those that need the most together, though another asks for more by itself.
func TestFixesOfTasksThatRunInTurns(t *testing.T) {
	for _, test := range []struct {
		name         string
		before, main spec.Bytes // the sidecar asks for 3 GiB
		want         string
	}{
		{"the main task and its sidecar", 5 * spec.GiB, 3 * spec.GiB, `memory of task t = "2.5GiB"`},
		{"the task before them", 8 * spec.GiB, 2 * spec.GiB, `memory of task before = "5.5GiB"`},
		{"all fit", 5632 * spec.MiB, 2 * spec.GiB, ""},
	} {
		l := cluster(t, node("n1", 4000, 5632*spec.MiB))
		l.commit(edit(asks("a", 1, 100, test.main), func(a *spec.App) {
			before, side := a.Tasks[0], a.Tasks[0]
			before.Name, before.Lifecycle, before.Memory = "before", spec.LifecyclePrestart, test.before
			side.Name, side.Lifecycle, side.Memory = "side", spec.LifecycleSidecar, 3*spec.GiB
			a.Tasks = append(a.Tasks, before, side)
		}))
		p, _ := l.plan()
		got := ""
		if b := blocked(p, "a"); b != nil {
			for _, f := range b.Fix {
				if strings.Contains(f, "memory") {
					got += f
				}
			}
		}
		if got != test.want {
			t.Errorf("%s: the fix is %q, want %q\n%s", test.name, got, test.want, show(p))
		}
	}
}
