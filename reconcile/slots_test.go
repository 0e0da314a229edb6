package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

func TestNothingBecomesTen(t *testing.T) {
	l := newLab(t, 5)
	l.commit(service("web", 10))
	want(t, l.step(), spec.Summary{Start: 10})
	l.world()
	l.settle()
	p, _ := l.plan()
	want(t, p, spec.Summary{})
	l.commit(service("web", 15))
	want(t, l.step(), spec.Summary{Start: 5})
	l.settle()
	l.commit(service("web", 3))
	want(t, l.step(), spec.Summary{Stop: 12})
	l.settle()
	l.commit()
	want(t, l.step(), spec.Summary{Stop: 3})
	l.settle()
}

func TestRollingReplacesOneAtATime(t *testing.T) {
	l := newLab(t, 5)
	web := service("web", 4)
	l.commit(web)
	l.settle()
	l.commit(edit(web, func(a *spec.App) { a.Tasks[0].Command = []string{"v2"} }))
	p := l.step()
	want(t, p, spec.Summary{Replace: 4})
	if n := now(p, spec.ChangeReplace); n != 1 {
		t.Fatalf("%d replaced now, want 1\n%s", n, show(p))
	}
	l.settle()
	for _, a := range l.in.Current {
		if !a.State.Terminal() && l.in.Versions[a.Version].Tasks[0].Command[0] != "v2" {
			t.Fatalf("%s still has the old version", a.ID)
		}
	}
}
