package reconcile_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// overtaken returns a cluster where a bad commit overtakes the first before that had been healthy for long enough.
func overtaken(t *testing.T, count int, ill func(*spec.AllocationView) bool) (*lab, *spec.App) {
	l := newLab(t, 4)
	web := service("web", count)
	web.Update.MaxParallel = count
	l.commit(web)
	l.step()
	l.world()
	for _, a := range l.live("web") {
		if ill(a) {
			a.Healthy, a.HealthySince = false, 0
		}
	}
	l.advance(spec.Second)
	web = edit(web, func(a *spec.App) { a.Update.MaxParallel = 2 })
	l.commit(edit(web, command("bad")))
	for range 100 {
		l.step()
		for _, a := range l.live("web") {
			if a.Version != l.in.Rollouts[0].Target && !ill(a) {
				l.follow(a)
			} else {
				a.State = spec.StateRunning
			}
		}
		for i := range l.in.Current {
			if a := &l.in.Current[i]; a.Want == spec.WantStop {
				l.follow(a)
			}
		}
		l.advance(10 * spec.Second)
	}
	return l, web
}

func TestOvertakenFirstRolloutIsGoneBackTo(t *testing.T) {
	l, web := overtaken(t, 3, func(*spec.AllocationView) bool { return false })
	r := l.rollout("web")
	if n := l.running("web"); n["v1"] != 3 || len(l.live("web")) != 3 || r.State != spec.RolloutFailed || r.Good == "" {
		t.Fatalf("running %v, %d live, %+v", n, len(l.live("web")), r)
	}
	p, _ := l.plan()
	want(t, p, spec.Summary{Failed: 1})
	l.commit(edit(web, command("v3")))
	l.settle()
	if n := l.running("web"); n["v3"] != 3 || len(n) != 1 {
		t.Fatalf("running %v", n)
	}
}

func TestFailedRolloutWithoutGoodVersionKeepsWhatWorks(t *testing.T) {
	l, web := overtaken(t, 3, func(a *spec.AllocationView) bool { return a.Slot.Index == 1 })
	r := l.rollout("web")
	if n := l.running("web"); n["v1"] != 2 || r.State != spec.RolloutFailed || r.Good != "" {
		t.Fatalf("running %v, %+v", n, r)
	}
	beside := map[int]int{}
	for _, a := range l.live("web") {
		beside[a.Slot.Index]++
	}
	if beside[0] != 1 || beside[2] != 1 {
		t.Fatalf("allocations by slot %v: extras stay beside healthy ones", beside)
	}
	l.commit(edit(web, command("v3")))
	l.settle()
	if n := l.running("web"); n["v3"] != 3 || len(n) != 1 {
		t.Fatalf("running %v", n)
	}
}
