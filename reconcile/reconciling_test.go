package reconcile_test

import (
	"maps"
	"testing"

	"github.com/stowage/stowage/spec"
)

// ten has an app with ten slots running, each on a node of its own.
func ten(t *testing.T) (*lab, *spec.App) {
	l := newLab(t, 12)
	l.in.Desired.Policy.Name = "spread"
	web := service("web", 10)
	l.commit(web)
	l.settle()
	if n := len(l.where("web")); n != 10 {
		t.Fatalf("on %d nodes, want 10", n)
	}
	return l, web
}

func count(n int) func(*spec.App) { return func(a *spec.App) { a.Count = n } }

func TestReconcilingTable(t *testing.T) {
	check := func(a *spec.App) {
		a.Tasks[0].Checks = []spec.Check{{Name: "c", Type: spec.CheckExec, Command: []string{"true"}}}
	}
	recreate := func(a *spec.App) { a.Update.Strategy = spec.StrategyRecreate }
	tests := []struct {
		name  string
		exist int
		edit  []func(*spec.App)
		world func(l *lab)
		want  spec.Summary
		now   map[spec.ChangeKind]int
	}{
		{"5 exist, 10 are desired: 5 are placed, 5 left", 5, []func(*spec.App){count(10)}, nil, spec.Summary{Start: 5}, nil},
		{"20 exist, 10 are desired: 10 stop", 20, []func(*spec.App){count(10)}, nil, spec.Summary{Stop: 10}, nil},
		{"a change that needs no restart, and 15", 10, []func(*spec.App){check, count(15)}, nil, spec.Summary{Update: 10, Start: 5}, map[spec.ChangeKind]int{spec.ChangeUpdate: 10, spec.ChangeStart: 5}},
		{"a change that needs one, recreate", 10, []func(*spec.App){command("v2"), recreate}, nil, spec.Summary{Replace: 10}, map[spec.ChangeKind]int{spec.ChangeReplace: 10}},
		{"the same, and 5", 10, []func(*spec.App){command("v2"), recreate, count(5)}, nil, spec.Summary{Replace: 5, Stop: 5}, map[spec.ChangeKind]int{spec.ChangeReplace: 5, spec.ChangeStop: 5}},
		{"2 of 10 on a lost node", 10, nil, func(l *lab) { l.lose("n03"); l.lose("n05") }, spec.Summary{Start: 2}, map[spec.ChangeKind]int{spec.ChangeStart: 2}},
		{"the same, and 5: the lost ones are among those that go", 10, []func(*spec.App){count(5)}, func(l *lab) { l.lose("n03"); l.lose("n05") }, spec.Summary{Stop: 5}, nil},
		{"2 of 10 on draining nodes", 10, nil, func(l *lab) { l.drain("n03"); l.drain("n05") }, spec.Summary{Move: 2}, map[spec.ChangeKind]int{spec.ChangeMove: 2}},
		{"rolling, max_parallel 4", 10, []func(*spec.App){command("v2"), func(a *spec.App) { a.Update.MaxParallel = 4 }}, nil, spec.Summary{Replace: 10}, map[spec.ChangeKind]int{spec.ChangeReplace: 4}},
		{"7 of 10 old exist, max_parallel 4: the 3 missing first, plus 1", 7, []func(*spec.App){count(10), command("v2"), func(a *spec.App) { a.Update.MaxParallel = 4 }}, nil, spec.Summary{Start: 3, Replace: 7}, map[spec.ChangeKind]int{spec.ChangeStart: 3, spec.ChangeReplace: 1}},
		{"canary 2 and 15 at once: only the canaries", 10, []func(*spec.App){count(15), command("v2"), func(a *spec.App) { a.Update.Strategy, a.Update.Canary = spec.StrategyCanary, 2 }}, nil, spec.Summary{Start: 2}, map[spec.ChangeKind]int{spec.ChangeStart: 2}},
		{"blue/green: as many new ones first", 10, []func(*spec.App){command("v2"), func(a *spec.App) { a.Update.Strategy = spec.StrategyBlueGreen }}, nil, spec.Summary{Start: 10}, map[spec.ChangeKind]int{spec.ChangeStart: 10}},
		{"minimum healthy ½ of 3, no surge: 1 stops at once", 3, []func(*spec.App){command("v2"), func(a *spec.App) { a.Update.MinHealthy = 500 }}, nil, spec.Summary{Replace: 3}, map[spec.ChangeKind]int{spec.ChangeReplace: 1}},
		{"minimum healthy 1.0, surge 0.7 of 3: 2 new first", 3, []func(*spec.App){command("v2"), func(a *spec.App) { a.Update.MinHealthy, a.Update.Surge = 1000, 700 }}, nil, spec.Summary{Replace: 3}, map[spec.ChangeKind]int{spec.ChangeReplace: 2}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l := newLab(t, 25)
			l.in.Desired.Policy.Name = "spread"
			web := service("web", tt.exist)
			l.commit(web)
			l.settle()
			if len(tt.edit) > 0 {
				l.commit(edit(web, func(a *spec.App) {
					for _, f := range tt.edit {
						f(a)
					}
				}))
			}
			if tt.world != nil {
				tt.world(l)
			}
			p := l.step()
			want(t, p, tt.want)
			for _, kind := range []spec.ChangeKind{spec.ChangeStart, spec.ChangeReplace, spec.ChangeStop, spec.ChangeUpdate, spec.ChangeMove} {
				if n, ok := tt.now[kind]; ok && now(p, kind) != n {
					t.Errorf("%d %s now, want %d\n%s", now(p, kind), kind, n, show(p))
				}
			}
			l.settle()
		})
	}
}

func TestScaleDownTakesTheLostFirst(t *testing.T) {
	l, web := ten(t)
	l.lose("n03")
	l.lose("n05")
	l.commit(edit(web, count(5)))
	p := l.step()
	gone := map[spec.NodeID]bool{}
	for _, c := range p.Apps[0].Changes {
		gone[c.From] = true
	}
	if !gone["n03"] || !gone["n05"] || len(gone) != 5 {
		t.Fatalf("gone from %v, want n03 and n05 among five", gone)
	}
}

func TestScaleDownStaysEven(t *testing.T) {
	l := newLab(t, 2)
	l.in.Desired.Policy.Name = "spread"
	web := service("web", 20)
	l.commit(web)
	l.settle()
	l.commit(edit(web, count(10)))
	l.settle()
	if w := l.where("web"); w["n01"] != 5 || w["n02"] != 5 {
		t.Fatalf("left %v, want 5 and 5", w)
	}
}

func TestScaleDownTakesTheYoungest(t *testing.T) {
	l := newLab(t, 1)
	web := service("web", 3)
	l.commit(web)
	l.settle()
	l.commit(edit(web, count(5)))
	l.settle()
	l.commit(edit(web, count(3)))
	p := l.step()
	for _, c := range p.Apps[0].Changes {
		if c.Index < 3 {
			t.Errorf("%s stops, want the youngest", c.Slot)
		}
	}
}

func TestBatchOnADrainingNodeFinishes(t *testing.T) {
	l := newLab(t, 3)
	job := service("job", 2)
	job.Kind = spec.KindBatch
	l.commit(job)
	l.step()
	l.world()
	for n := range maps.Keys(l.where("job")) {
		l.drain(string(n))
	}
	l.advance(spec.Minute)
	p := l.step()
	want(t, p, spec.Summary{})
	for i := range l.in.Current {
		l.in.Current[i].State, l.in.Current[i].Healthy = spec.StateComplete, false
	}
	want(t, l.step(), spec.Summary{})
}

func TestCompletedBatchIsNotDoneAgain(t *testing.T) {
	l := newLab(t, 3)
	job := service("job", 2)
	job.Kind = spec.KindBatch
	l.commit(job)
	l.step()
	for i := range l.in.Current {
		l.in.Current[i].State = spec.StateComplete
	}
	want(t, l.step(), spec.Summary{})
	l.commit(edit(job, command("v2")))
	want(t, l.step(), spec.Summary{Start: 2})
}

func TestRollingGoesOnAsSlotsBecomeHealthy(t *testing.T) {
	l, web := ten(t)
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.MaxParallel = 4 }))
	l.step()
	l.advance(spec.Second)
	want := func(n int) {
		t.Helper()
		p, _ := l.plan()
		if got := now(p, spec.ChangeReplace); got != n {
			t.Fatalf("%d replaced now, want %d\n%s", got, n, show(p))
		}
	}
	want(0)
	healthy := 0
	for _, a := range l.live("web") {
		if !a.Healthy && healthy < 3 {
			l.follow(a)
			healthy++
		}
	}
	want(0) // healthy, but not for long enough
	l.advance(10 * spec.Second)
	want(3)
	l.settle()
	if r := l.running("web"); r["v2"] != 10 || len(r) != 1 {
		t.Fatalf("running %v", r)
	}
}

func TestMinHealthyHalfOfThree(t *testing.T) {
	l := newLab(t, 6)
	web := service("web", 3)
	l.commit(web)
	l.settle()
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.MinHealthy = 500 }))
	for range 3 {
		p := l.step()
		if n := now(p, spec.ChangeReplace); n != 1 {
			t.Fatalf("%d replaced now, want 1\n%s", n, show(p))
		}
		if n := len(l.live("web")); n != 3 {
			t.Fatalf("%d are to run, want 3: no surge", n)
		}
		l.world()
		l.world()
		l.advance(11 * spec.Second)
	}
	l.settle()
	if r := l.running("web"); r["v2"] != 3 {
		t.Fatalf("running %v", r)
	}
}

func TestMinHealthyAllWithSurge(t *testing.T) {
	l := newLab(t, 6)
	web := service("web", 3)
	l.commit(web)
	l.settle()
	l.commit(edit(web, func(a *spec.App) { command("v2")(a); a.Update.MinHealthy, a.Update.Surge = 1000, 700 }))
	least, most := 3, 0
	for range 10 {
		l.step()
		most = max(most, len(l.live("web")))
		l.world()
		n := 0
		for _, a := range l.live("web") {
			if a.Healthy {
				n++
			}
		}
		least = min(least, n)
		l.advance(11 * spec.Second)
	}
	if r := l.running("web"); r["v2"] != 3 || len(r) != 1 || least < 3 || most != 5 {
		t.Fatalf("running %v, at least %d, at most %d; want 3 of v2, never below 3, at most 5", r, least, most)
	}
}
