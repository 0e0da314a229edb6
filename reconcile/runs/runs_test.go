package runs_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/reconcile/runs"
	"github.com/stowage/stowage/spec"
)

func at(text string) spec.Time {
	t, err := time.Parse("2006-01-02 15:04:05", "2026-06-01 "+text)
	if err != nil {
		panic(err)
	}
	return spec.TimeOf(t)
}

// stage is a world of runs without a cluster: what a run's allocations do is said.
type stage struct {
	facts  runs.Facts
	does   map[spec.AppName]runs.Progress
	events []spec.Event
}

func template(name, root spec.AppName, overlap spec.Overlap, needs ...spec.Dependency) runs.Template {
	a := &spec.App{Name: name, Kind: spec.KindBatch, Count: 1, DependsOn: needs}
	if name == root {
		a.Schedule = &spec.Schedule{Cron: "*/10 * * * *", Overlap: overlap, CatchUp: 15 * spec.Minute, Deadline: spec.Hour, Enabled: true}
	}
	return runs.Template{App: a, Hash: a.Hash(), Root: root}
}

func newStage(templates ...runs.Template) *stage {
	s := &stage{does: map[spec.AppName]runs.Progress{}}
	slices.SortFunc(templates, func(a, b runs.Template) int { return strings.Compare(string(a.App.Name), string(b.App.Name)) })
	s.facts = runs.Facts{Templates: templates, Prune: true, Renamed: func(n spec.AppName) spec.AppName { return n },
		Progress: func(r *spec.Run) runs.Progress { return s.does[r.Name] }}
	return s
}

// to carries the runs on until nothing changes at that time, and says how they stand.
func (s *stage) to(t *testing.T, text string) string {
	t.Helper()
	s.facts.Now = at(text)
	for range 10 {
		before := fmt.Sprint(s.facts.Runs, s.facts.Agendas)
		o := runs.Advance(&s.facts)
		if after := fmt.Sprint(s.facts.Runs, s.facts.Agendas); before != after {
			t.Fatal("the facts were changed")
		}
		if again := runs.Advance(&s.facts); !reflect.DeepEqual(again.Change, o.Change) || again.Next != o.Next {
			t.Fatal("the same facts give another change")
		}
		s.events = append(s.events, o.Events...)
		if o.Next != 0 && o.Next <= s.facts.Now {
			t.Fatalf("it wants to look again at %s, which is over", o.Next.Std())
		}
		if o.Change.Empty() {
			var words []string
			for _, r := range s.facts.Runs {
				words = append(words, string(r.Name)+" "+string(r.State))
			}
			return strings.Join(words, ", ")
		}
		s.facts.Runs, s.facts.Agendas = o.Change.Apply(s.facts.Runs, s.facts.Agendas)
	}
	t.Fatal("it does not come to rest")
	return ""
}

func (s *stage) expect(t *testing.T, text, want string) {
	t.Helper()
	if got := s.to(t, text); got != want {
		t.Errorf("at %s:\n got %s\nwant %s", text, got, want)
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		overlap spec.Overlap
		want    string
	}{
		{spec.OverlapForbid, "a/20260601-0010 running, a/20260601-0020 skipped"},
		{spec.OverlapAllow, "a/20260601-0010 running, a/20260601-0020 running"},
		{spec.OverlapReplace, "a/20260601-0010 cancelled, a/20260601-0020 waiting"},
	} {
		s := newStage(template("a", "a", c.overlap))
		s.expect(t, "00:00:01", "")
		s.expect(t, "00:09:59", "")
		s.does["a/20260601-0010"] = runs.Progress{Live: 1}
		s.expect(t, "00:10:00", "a/20260601-0010 running")
		s.expect(t, "00:20:00", c.want)
		s.does["a/20260601-0010"] = runs.Progress{}
		if c.overlap == spec.OverlapReplace {
			s.expect(t, "00:20:05", "a/20260601-0010 cancelled, a/20260601-0020 running")
		}
	}
}

// TestAClockThatWasAhead: whoever led before went by a clock that was ahead. What began then is not overtaken by what is
// made now, though that seems to come before it; nor is what follows from it.
func TestAClockThatWasAhead(t *testing.T) {
	s := newStage(template("a", "a", spec.OverlapForbid), template("b", "a", "", spec.Dependency{App: "a"}))
	s.expect(t, "00:00:01", "")
	s.expect(t, "00:10:00", "a/20260601-0010 running, b/20260601-0010 waiting")
	made := *runs.Find(s.facts.Runs, "a/20260601-0010")
	made.Key, made.Name, made.State, made.Started = "20260601-000900", "a/20260601-000900", spec.RunWaiting, 0
	made.Created = at("00:09:00")
	s.facts.Runs = runs.Put(s.facts.Runs, made)
	s.expect(t, "00:10:10", "a/20260601-000900 waiting, a/20260601-0010 running, b/20260601-0010 waiting")
	s.does["a/20260601-0010"] = runs.Progress{Done: true}
	s.expect(t, "00:10:20", "a/20260601-000900 waiting, a/20260601-0010 complete, b/20260601-0010 running")
	s.does["b/20260601-0010"] = runs.Progress{Done: true}
	s.expect(t, "00:10:30", "a/20260601-000900 running, a/20260601-0010 complete, b/20260601-0010 complete")
}

func TestCatchUp(t *testing.T) {
	s := newStage(template("a", "a", spec.OverlapForbid))
	s.expect(t, "00:00:01", "")
	// 00:10 to 00:50 were missed: those of the last quarter of an hour can be made up for, and of them the newest runs.
	s.expect(t, "00:52:00", "a/20260601-0040 missed, a/20260601-0050 running")
	if n := s.facts.Runs[0].Firings; n != 4 {
		t.Errorf("%d firings are told as missed, want 4", n)
	}
	s.does["a/20260601-0050"] = runs.Progress{Done: true}
	s.expect(t, "00:52:10", "a/20260601-0040 missed, a/20260601-0050 complete")
	if a := s.facts.Agendas[0]; a.Next != at("01:00:00") {
		t.Errorf("next is %s", a.Next.Std())
	}
	// A clock that goes back fires nothing again.
	s.expect(t, "00:45:00", "a/20260601-0040 missed, a/20260601-0050 complete")
}

func TestPipeline(t *testing.T) {
	anyway := spec.Dependency{App: "c", OnFailure: spec.OnFailureContinue}
	s := newStage(template("a", "a", spec.OverlapForbid), template("b", "a", "", spec.Dependency{App: "a"}),
		template("c", "a", "", spec.Dependency{App: "a"}, spec.Dependency{App: "b"}), template("d", "a", "", anyway))
	s.expect(t, "00:00:01", "")
	s.expect(t, "00:10:00", "a/20260601-0010 running, b/20260601-0010 waiting, c/20260601-0010 waiting, d/20260601-0010 waiting")
	s.does["a/20260601-0010"] = runs.Progress{Done: true}
	s.expect(t, "00:11:00", "a/20260601-0010 complete, b/20260601-0010 running, c/20260601-0010 waiting, d/20260601-0010 waiting")
	s.expect(t, "00:20:00", "a/20260601-0010 complete, a/20260601-0020 skipped, b/20260601-0010 running, c/20260601-0010 waiting, d/20260601-0010 waiting")
	s.does["b/20260601-0010"] = runs.Progress{Failed: "exit code 1"}
	s.expect(t, "00:21:00", "a/20260601-0010 complete, a/20260601-0020 skipped, b/20260601-0010 failed, c/20260601-0010 skipped, d/20260601-0010 running")
	// The deadline of the beginning holds for all that follows.
	s.expect(t, "01:10:00", "a/20260601-0010 complete, a/20260601-0020 skipped, a/20260601-0100 missed, a/20260601-0110 running, "+
		"b/20260601-0010 failed, b/20260601-0110 waiting, c/20260601-0010 skipped, c/20260601-0110 waiting, d/20260601-0010 failed, d/20260601-0110 waiting")
}

func TestDependencyDeadline(t *testing.T) {
	for _, c := range []struct {
		on   spec.OnFailure
		want string
	}{{"", "a/20260601-0010 running, b/20260601-0010 skipped"}, {spec.OnFailureContinue, "a/20260601-0010 running, b/20260601-0010 running"}} {
		s := newStage(template("a", "a", spec.OverlapForbid), template("b", "a", "", spec.Dependency{App: "a", Deadline: spec.Minute, OnFailure: c.on}))
		s.expect(t, "00:00:01", "")
		s.expect(t, "00:10:00", "a/20260601-0010 running, b/20260601-0010 waiting")
		s.expect(t, "00:11:00", c.want)
	}
}

func TestGone(t *testing.T) {
	for _, prune := range []bool{true, false} {
		s := newStage(template("a", "a", spec.OverlapForbid))
		s.facts.Prune = prune
		s.expect(t, "00:00:01", "")
		s.expect(t, "00:10:00", "a/20260601-0010 running")
		s.facts.Templates = nil
		want := map[bool]string{true: "a/20260601-0010 cancelled", false: "a/20260601-0010 running"}[prune]
		s.expect(t, "00:11:00", want)
		if len(s.facts.Agendas) > 0 {
			t.Errorf("agendas are left: %v", s.facts.Agendas)
		}
	}
}

func TestHistory(t *testing.T) {
	s := newStage(template("a", "a", spec.OverlapForbid))
	s.expect(t, "00:00:01", "")
	for i := 1; i <= 100; i++ {
		now := at("00:00:00").Add(spec.Duration(i) * 10 * spec.Minute)
		name := spec.RunName("a", spec.FiringKey(now))
		s.to(t, now.Std().Format("15:04:05"))
		if i%3 == 0 {
			s.does[name] = runs.Progress{Failed: "exit code 1"}
		} else {
			s.does[name] = runs.Progress{Done: true}
		}
		s.to(t, now.Add(spec.Second).Std().Format("15:04:05"))
	}
	count := map[spec.RunState]int{}
	for _, r := range s.facts.Runs {
		count[r.State]++
	}
	if count[spec.RunComplete] != spec.KeepComplete || count[spec.RunFailed] != spec.KeepFailed || len(s.facts.Runs) != spec.KeepComplete+spec.KeepFailed {
		t.Errorf("remembered are %v", count)
	}
}

// TestManyEndAtOnce: each end is recorded before any is forgotten, and the newest are remembered.
func TestManyEndAtOnce(t *testing.T) {
	s := newStage(template("a", "a", spec.OverlapAllow))
	s.to(t, "00:00:01")
	for i := 1; i <= 6; i++ {
		now := at("00:00:00").Add(spec.Duration(i) * 10 * spec.Minute)
		s.to(t, now.Std().Format("15:04:05"))
	}
	for i := range s.facts.Runs {
		s.does[s.facts.Runs[i].Name] = runs.Progress{Done: true}
	}
	s.facts.Now = at("01:00:01")
	if o := runs.Advance(&s.facts); len(o.Change.Put) != 6 || len(o.Change.Drop) != 0 {
		t.Errorf("%d ends are recorded and %d runs forgotten at once", len(o.Change.Put), len(o.Change.Drop))
	}
	s.expect(t, "01:00:01", "a/20260601-0040 complete, a/20260601-0050 complete, a/20260601-0100 complete")
}

func TestCheckValues(t *testing.T) {
	a := &spec.App{Name: "a", Parameters: []spec.Parameter{{Name: "date", Required: true, Pattern: "[0-9]+"}, {Name: "mode", Default: "x", Values: []string{"x", "y"}}}}
	for _, c := range []struct {
		given map[string]string
		want  string
	}{
		{map[string]string{"date": "1"}, ""},
		{map[string]string{"date": "1", "mode": "y"}, ""},
		{nil, "Add -p date=VALUE."},
		{map[string]string{"date": "x1"}, "does not match"},
		{map[string]string{"date": "1", "mode": "z"}, "has to be one of"},
		{map[string]string{"date": "1", "more": "z"}, `no parameter "more". It takes date, mode.`},
		{map[string]string{"date": strings.Repeat("1", spec.MaxParameterSize+1)}, "at most 4096"},
		{map[string]string{"date": "${node.id}"}, "holds ${"},
	} {
		if got := runs.CheckValues(a, c.given); c.want == "" && got != "" || !strings.Contains(got, c.want) {
			t.Errorf("%v: %q, want %q", c.given, got, c.want)
		}
	}
	big := &spec.App{Name: "a"}
	given := map[string]string{}
	for i := range 5 {
		name := fmt.Sprint("p", i)
		big.Parameters = append(big.Parameters, spec.Parameter{Name: name})
		given[name] = strings.Repeat("x", 4000)
	}
	if got := runs.CheckValues(big, given); !strings.Contains(got, "at most 16384 are allowed") {
		t.Errorf("too much is taken: %q", got)
	}
}
