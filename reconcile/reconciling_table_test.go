package reconcile_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// The rows of the table about reconciling, each with the edges of the rule behind it.
func TestTableOfReconciling(t *testing.T) {
	v2 := command("v2")
	tests := []history{
		{"nothing exists, 10 are desired: all slots are placed", 12, -1, nil, []turn{{asked(count(10)), "start 0-9"}}},
		{"nothing exists, none is desired", 3, -1, nil, []turn{{asked(count(0)), ""}}},
		{"none exists, 1 is desired", 3, 0, nil, []turn{{asked(count(1)), "start 0"}}},
		{"what was placed is not placed again while it starts", 12, -1, nil, []turn{{asked(count(10)), "start 0-9"}, {pass(spec.Second), ""}}},

		{"5 exist, 10 are desired: 5 are placed, 5 left", 12, 5, nil, []turn{{asked(count(10)), "start 5-9"}}},
		{"5 exist with gaps, 10 are desired: the lowest unused slots", 12, 10, nil, []turn{{gone(1, 3, 5, 7, 9), "start 1 3 5 7 9"}}},
		{"5 exist with gaps, 7 are desired", 12, 10, nil, []turn{{all(gone(1, 3, 5, 7, 9), asked(count(7))), "start 1 3"}}},

		{"20 exist, 10 are desired: 10 stop", 25, 20, nil, []turn{{asked(count(10)), "stop 10-19"}}},
		{"10 exist, none is desired: all stop", 12, 10, nil, []turn{{asked(count(0)), "stop 0-9"}, {nil, ""}}},
		{"1 exists, none is desired", 2, 1, nil, []turn{{asked(count(0)), "stop 0"}}},
		{"10 exist and the app is gone: all stop", 12, 10, nil, []turn{{func(l *lab) { l.commit() }, "stop 0-9"}, {nil, ""}}},

		{"a change that needs no restart, and 15", 25, 10, nil, []turn{{asked(checked, count(15)), "start 10-14, update 0-9"}}},
		{"a change that needs no restart, alone", 12, 10, nil, []turn{{asked(checked), "update 0-9"}, {nil, ""}}},
		{"a change that needs no restart, and 5", 12, 10, nil, []turn{{asked(checked, count(5)), "update 0-4, stop 5-9"}}},
		{"a change that needs no restart, on a lost node and a silent one", 12, 4, nil, []turn{{all(lost(1), silent(2), asked(checked)), "start 1, update 0 2-3"}}},

		{"a change that needs a restart, recreate", 12, 10, nil, []turn{{asked(v2, recreate), "exchange 0-9"}}},
		{"recreate, and 3 do not work", 12, 10, nil, []turn{{all(ill(2, 4, 6), asked(v2, recreate)), "exchange 0-9"}}},
		{"recreate, and one is lost", 12, 10, nil, []turn{{all(lost(3), asked(v2, recreate)), "start 3, exchange 0-2 4-9"}}},
		{"the same, and 5", 12, 10, nil, []turn{{asked(v2, recreate, count(5)), "exchange 0-4, stop 5-9"}}},
		{"the same, and 12", 25, 10, nil, []turn{{asked(v2, recreate, count(12)), "start 10-11, exchange 0-9"}}},
		{"the same, and none", 12, 10, nil, []turn{{asked(v2, recreate, count(0)), "stop 0-9"}}},

		{"2 of 10 on lost nodes: 2 for the same slots, 8 stay", 12, 10, nil, []turn{{lost(2, 4), "start 2 4"}, {up(), ""}}},
		{"2 of 10 silent for less long than reschedule.after", 12, 10, nil, []turn{{silent(2, 4), ""}, {pass(17 * spec.Second), ""}, {pass(spec.Second), "start 2 4"}}},
		{"all on lost nodes, one node is left", 3, 2, nil, []turn{{lost(0, 1), "start 0-1"}}},
		{"all nodes are lost: nothing can be placed", 2, 2, nil, []turn{{lost(0, 1), "blocked 0-1"}, {returned, ""}}},
		{"2 lost ones come back before their successors work: these stop", 12, 10, nil, []turn{{lost(2, 4), "start 2 4"}, {returned, "stop 2 4"}, {nil, ""}}},
		{"2 lost and a change: they are among those replaced", 12, 10, parallel(4), []turn{{all(lost(2, 4), asked(v2)), "start 2 4, replace 0-1; later replace 3 5-9"}}},

		{"the same, and 5: the lost ones are among those that go", 12, 10, nil, []turn{{all(lost(2, 4), asked(count(5))), "stop 2 4 7-9"}}},
		{"the same, and 9: one lost one goes, the other is placed", 12, 10, nil, []turn{{all(lost(2, 4), asked(count(9))), "start 2, stop 4"}}},
		{"the same, and 12", 15, 10, nil, []turn{{all(lost(2, 4), asked(count(12))), "start 2 4 10-11"}}},

		{"2 of 10 on draining nodes: 2 move, 8 stay", 12, 10, nil, []turn{{drained(2, 4), "move 2 4"}, {nil, "later stop 2 4"}, {up(), "stop 2 4"}, {nil, ""}}},
		{"a drain that is cancelled midway: the new ones stop", 12, 10, nil, []turn{{drained(2, 4), "move 2 4"}, {undrained, "stop 2 4"}, {nil, ""}}},
		{"a drain that is cancelled after one has moved", 12, 10, nil, []turn{{drained(2, 4), "move 2 4"}, {up(2), "stop 2; later stop 4"}, {undrained, "stop 4"}, {nil, ""}}},
		{"a drain and a change: what drains goes first, in the new version", 12, 10, parallel(4), []turn{{all(drained(2, 4), asked(v2)), "replace 0-3; later replace 4-9"}}},
		{"a drain and 5: the draining ones are among those that go", 12, 10, nil, []turn{{all(drained(2, 4), asked(count(5))), "stop 2 4 7-9"}}},
		{"a drain past its deadline: what has not moved stops", 12, 10, nil, []turn{{all(drained(2, 4), overdue), "start 2 4, stop 2 4"}}},
		{"a drain of all nodes: nothing can move, all stay", 2, 2, nil, []turn{{drained(0, 1), "blocked 0-1"}, {undrained, ""}}},

		{"2 batch allocations on draining nodes: they finish", 4, 2, batch, []turn{{drained(0, 1), ""}, {pass(spec.Hour), ""}, {ended(spec.StateComplete, 0, 1), ""}}},
		{"a batch allocation on a draining node fails: it starts elsewhere", 4, 2, batch, []turn{{drained(0), ""}, {all(ended(spec.StateFailed, 0), pass(spec.Second)), "start 0"}}},
		{"a batch allocation on a lost node: it starts again", 4, 2, batch, []turn{{lost(0), "start 0"}}},
		{"a batch allocation past the deadline of a drain", 4, 2, batch, []turn{{all(drained(0), overdue), "start 0, stop 0"}}},
		{"a batch app that changes does all of its work again", 4, 2, batch, []turn{{ended(spec.StateComplete, 0), ""}, {asked(v2), "start 0, exchange 1"}}},

		{"rolling, max_parallel 4: 4 first, then as many as have become healthy", 25, 10, parallel(4), []turn{
			{asked(v2), "replace 0-3; later replace 4-9"}, {pass(spec.Second), "later replace 4-9, stop 0-3"},
			{up(0, 1, 2), "replace 4-6, stop 0-2; later replace 7-9, stop 3"}, {up(), "replace 7-9, stop 3-6"}, {up(), "stop 7-9"}, {nil, ""}}},
		{"healthy, but not for as long as asked", 25, 10, parallel(4), []turn{
			{asked(v2), "replace 0-3; later replace 4-9"},
			{all(up(0), func(l *lab) { l.in.Now = l.in.Now.Add(-2 * spec.Second) }), "later replace 4-9, stop 0-3"}}},
		{"max_parallel above the count", 25, 10, parallel(40), []turn{{asked(v2), "replace 0-9"}}},
		{"max_parallel of a single one", 2, 1, parallel(4), []turn{{asked(v2), "replace 0"}, {up(), "stop 0"}}},
		{"rolling, and 5", 12, 10, parallel(4), []turn{{asked(v2, count(5)), "replace 0-3, stop 5-9; later replace 4"}}},
		{"what does not work is replaced first", 25, 10, parallel(2), []turn{{all(ill(7, 8), asked(v2)), "replace 7-8; later replace 0-6 9"}}},

		{"7 of 10 old exist, max_parallel 4: the 3 missing first, plus 1", 25, 7, parallel(4), []turn{{asked(count(10), v2), "start 7-9, replace 0; later replace 1-6"}}},
		{"7 of 10 old exist, and 3 lost ones", 25, 10, parallel(4), []turn{{all(lost(1, 5, 8), asked(v2)), "start 1 5 8, replace 0; later replace 2-4 6-7 9"}}},
		{"4 of 10 old exist, max_parallel 4: all missing ones, and nothing else", 25, 4, parallel(4), []turn{{asked(count(10), v2), "start 4-9; later replace 0-3"}}},

		{"canary 2: 2 extra, the old 10 stay; promotion goes on", 25, 10, parallel(4), []turn{
			{asked(v2, canaries(2)), "canary 0-1"}, {pass(spec.Second), ""}, {up(), "update 0-1, replace 2-5, stop 0-1; later replace 6-9"}}},
		{"canary 2 which do not get healthy: they stop, the old 10 stay", 25, 10, nil, []turn{
			{asked(v2, canaries(2)), "canary 0-1"}, {pass(11 * spec.Minute), "stop 0-1"}, {pass(spec.Hour), ""}}},
		{"canary 4 of 2: no more than the count", 8, 2, nil, []turn{{asked(v2, canaries(4)), "canary 0-1"}, {up(), "update 0-1, stop 0-1"}, {nil, ""}}},
		{"canary 1 on a lost node: another", 8, 2, nil, []turn{{asked(v2, canaries(1)), "canary 0"}, {func(l *lab) {
			for _, a := range l.live("web") {
				if a.Canary {
					l.lose(string(a.Node))
				}
			}
		}, "canary 0, stop 0"}}},
		{"canary 2 and count 15 at once: only the canaries until promotion", 25, 10, parallel(4), []turn{
			{asked(v2, canaries(2), count(15)), "canary 0-1"}, {up(), "start 10-14, update 0-1, stop 0-1; later replace 2-9"}}},
		{"canary 2 and count 5 at once", 25, 10, nil, []turn{{asked(v2, canaries(2), count(5)), "canary 0-1"}}},
		{"a newer commit while 2 canaries run: those stop, 2 new ones start", 25, 10, nil, []turn{
			{asked(v2, canaries(2)), "canary 0-1"}, {asked(command("v3")), "canary 0-1, stop 0-1"}, {nil, ""}}},
		{"the commit is taken back while 2 canaries run", 25, 10, nil, []turn{
			{asked(v2, canaries(2)), "canary 0-1"}, {asked(command("v1")), "stop 0-1"}, {nil, ""}}},

		{"blue and green: as many new ones first, then the old ones stop", 25, 10, nil, []turn{
			{asked(v2, blueGreen), "canary 0-9"}, {pass(spec.Second), ""}, {up(), "update 0-9, stop 0-9"}, {nil, ""}}},
		{"blue and green, which do not get healthy", 25, 4, nil, []turn{{asked(v2, blueGreen), "canary 0-3"}, {pass(11 * spec.Minute), "stop 0-3"}, {nil, ""}}},

		{"minimum healthy ½ of 3, no surge: 1 stops at once; then one for each that becomes healthy", 6, 3, healthy(500, 0), []turn{
			{asked(v2), "exchange 0; later exchange 1-2"}, {pass(spec.Second), "later exchange 1-2"},
			{up(), "exchange 1; later exchange 2"}, {up(), "exchange 2"}, {up(), ""}}},
		{"minimum healthy ½ of 3, and one does not work: that one, and no other", 6, 3, healthy(500, 0), []turn{{all(ill(1), asked(v2)), "exchange 1; later exchange 0 2"}}},
		{"minimum healthy 1.0, surge 0.7, count 3: 2 new first, none stops; then one for one", 6, 3, healthy(1000, 700), []turn{
			{asked(v2), "replace 0-1; later replace 2"}, {pass(spec.Second), "later replace 2, stop 0-1"},
			{up(0), "replace 2, stop 0; later stop 1"}, {up(), "stop 1-2"}, {nil, ""}}},

		{"A is old and healthy, B new and not: A stays", 3, 1, nil, []turn{
			{asked(v2), "replace 0"}, {pass(9 * spec.Minute), "later stop 0"}, {pass(2 * spec.Minute), "stop 0"}, {pass(spec.Hour), ""}}},
		{"A is old and not healthy, B new and not: A's version is gone back to, and both stay till it works", 3, 1, nil, []turn{
			{all(ill(0), asked(v2)), "replace 0"}, {pass(9 * spec.Minute), "later stop 0"}, {pass(2 * spec.Minute), "later stop 0"}, {up(), "stop 0"}, {nil, ""}}},

		{"scale down: what cannot be reached goes first", 12, 10, nil, []turn{{all(silent(1), ill(3), asked(count(9))), "stop 1"}}},
		{"scale down: then what does not run", 12, 10, nil, []turn{{all(silent(1), ill(3), asked(count(8))), "stop 1 3"}}},
		{"scale down: what has not yet run goes before what does, though it is no younger", 12, 10, nil, []turn{{all(ill(3), asked(count(9))), "stop 3"}}},
		{"scale down: of a slot that failed nothing has to stop", 12, 10, nil, []turn{{all(ended(spec.StateFailed, 2), ill(1), asked(count(9))), ""}, {pass(spec.Hour), ""}}},
		{"scale down: what drains goes before what does not", 12, 10, nil, []turn{{all(drained(0), asked(count(9))), "stop 0"}}},
		{"scale down: the spread comes before age", 2, 3, nil, []turn{{gone(1), "start 1"}, {up(), ""}, {asked(count(2)), "stop 2"}}},
		{"scale down: the youngest, though its number is the lowest", 1, 3, nil, []turn{{gone(0), "start 0"}, {up(), ""}, {asked(count(2)), "stop 0"}}},
		{"scale down: of the same age, the last", 1, 3, nil, []turn{{asked(count(1)), "stop 1-2"}}},

		{"20 on two hosts, even; stop 10: 5 and 5", 2, 20, nil, []turn{{asked(count(10)), "stop 10-19"}}},
		{"20 on three hosts; stop 10", 3, 20, nil, []turn{{asked(count(10)), "stop 10-19"}}},
		{"10 and 4 on two hosts; stop 4: all on the fuller one", 2, 20, nil, []turn{{all(gone(1, 3, 5, 7, 9, 11), asked(count(10))), "stop 12 14 16 18"}}},
		{"20 on two hosts; one stays", 2, 20, nil, []turn{{asked(count(1)), "stop 1-19"}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, tt.run)
	}
}

// TestPartsThatStayHealthy counts, for each part of the count that has to stay healthy and each surge, what starts
// beside old ones and what stops first at once; and sees to it that the rollout gets through within these bounds.
func TestPartsThatStayHealthy(t *testing.T) {
	for _, tt := range []struct {
		least, surge spec.Milli
		first        map[int]string // by count: started beside, stopped first
	}{
		{333, 0, map[int]string{1: "1+0", 2: "0+1", 3: "0+2", 10: "0+6"}},
		{333, 340, map[int]string{1: "1+0", 2: "0+1", 3: "1+2", 10: "3+6"}},
		{333, 700, map[int]string{1: "1+0", 2: "1+1", 3: "2+1", 10: "7+3"}},
		{500, 0, map[int]string{1: "1+0", 2: "0+1", 3: "0+1", 10: "0+5"}},
		{500, 340, map[int]string{1: "1+0", 2: "0+1", 3: "1+1", 10: "3+5"}},
		{500, 700, map[int]string{1: "1+0", 2: "1+1", 3: "2+1", 10: "7+3"}},
		{666, 0, map[int]string{1: "1+0", 2: "1+0", 3: "0+1", 10: "0+3"}},
		{666, 340, map[int]string{1: "1+0", 2: "1+0", 3: "1+1", 10: "3+3"}},
		{666, 700, map[int]string{1: "1+0", 2: "1+0", 3: "2+1", 10: "7+3"}},
		{1000, 0, map[int]string{1: "1+0", 2: "1+0", 3: "1+0", 10: "1+0"}},
		{1000, 340, map[int]string{1: "1+0", 2: "1+0", 3: "1+0", 10: "3+0"}},
		{1000, 700, map[int]string{1: "1+0", 2: "1+0", 3: "2+0", 10: "7+0"}},
	} {
		for n, want := range tt.first {
			about := fmt.Sprintf("min_healthy %d surge %d of %d", tt.least, tt.surge, n)
			l := newLab(t, 25)
			l.in.Desired.Policy.Name = "spread"
			l.commit(edit(service("web", n), healthy(tt.least, tt.surge)))
			l.settle()
			asked(command("v2"))(l)
			var beside, first int
			p, _ := l.plan()
			for _, c := range p.Apps[0].Changes {
				if c.Now && c.KeepOld {
					beside++
				} else if c.Now {
					first++
				}
			}
			if got := fmt.Sprintf("%d+%d", beside, first); got != want {
				t.Errorf("%s: %s at first, want %s\n%s", about, got, want, show(p))
			}
			least, most := n, 0
			for range 3 * n {
				l.step()
				most, least = max(most, len(l.live("web"))), min(least, len(l.works()))
				up()(l)
				l.obey()
			}
			l.only(t, "web", n, "v2", about)
			fewest, extra := (int(tt.least)*n+999)/1000, max(1, int(tt.surge)*n/1000)
			if least < fewest || most > n+extra {
				t.Errorf("%s: at least %d worked, at most %d were there; want %d and %d", about, least, most, fewest, n+extra)
			}
		}
	}
}

// TestDependencies starts apps that need others in waves, and stops them in reverse.
func TestDependencies(t *testing.T) {
	for _, tt := range []struct{ name, needs, starts, stops string }{
		{"a needs b, c; b needs c; c needs d; e alone", "a:bc b:c c:d d: e:", "de c b a", "ae b c d"},
		{"two alone", "a: b:", "ab", "ab"},
		{"a chain, against the order of names", "a: b:a c:b", "a b c", "c b a"},
		{"two need one", "a:c b:c c:", "c ab", "ab c"},
		{"one needs two", "a:bc b: c:", "bc a", "a bc"},
		{"both ways around", "a:bc b:d c:d d:", "d bc a", "a bc d"},
		{"a circle, which no repository gets past the checks: nobody of it starts, others do", "a:b b:a c:", "c", "c"},
		{"one that needs a circle", "a:b b:a c:a d:", "d", "d"},
	} {
		l := newLab(t, 3)
		var apps []*spec.App
		for _, f := range strings.Fields(tt.needs) {
			name, on, _ := strings.Cut(f, ":")
			a := service(name, 1)
			for _, d := range on {
				a.DependsOn = append(a.DependsOn, spec.Dependency{App: spec.AppName(d), Deadline: 10 * spec.Minute})
			}
			apps = append(apps, a)
		}
		l.commit(apps...)
		if got := l.waves(); got != tt.starts {
			t.Errorf("%s: started %s, want %s", tt.name, got, tt.starts)
		}
		l.commit()
		if got := l.waves(); got != tt.stops {
			t.Errorf("%s: stopped %s, want %s", tt.name, got, tt.stops)
		}
	}
}

// waves tells which apps start or stop something, turn after turn.
func (l *lab) waves() string {
	var waves []string
	for range 8 {
		before := map[spec.AllocationID]spec.Want{}
		for i := range l.in.Current {
			before[l.in.Current[i].ID] = l.in.Current[i].Want
		}
		l.step()
		wave := ""
		for i := range l.in.Current {
			if a := &l.in.Current[i]; before[a.ID] != a.Want {
				wave += string(a.App)
			}
		}
		if wave != "" {
			waves = append(waves, wave)
		}
		l.world()
		l.advance(11 * spec.Second)
	}
	return strings.Join(waves, " ")
}
