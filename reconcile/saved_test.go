package reconcile_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/check"
	"github.com/stowage/stowage/spec"
)

// again saves an input and reads it back.
func again(t testing.TB, in reconcile.Input, salt string) (reconcile.Saved, string) {
	t.Helper()
	text, err := json.Marshal(reconcile.Save(in, salt))
	if err != nil {
		t.Fatal(err)
	}
	var s reconcile.Saved
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	return s, string(text)
}

func withEnv(value string) func(*spec.App) {
	return func(a *spec.App) { a.Tasks[0].Env = map[string]string{"PASSWORD": value, "MODE": "open-sesame"} }
}

func TestASavedInputGivesTheSamePlan(t *testing.T) {
	started := 0
	rapid.Check(t, func(rt *rapid.T) {
		l, apps := drawLab(rt, t)
		secret := func() func(*spec.App) {
			return withEnv(fmt.Sprint("open-sesame-", rapid.IntRange(0, 2).Draw(rt, "secret")))
		}
		nightly := edit(asks("nightly", 1, 100, spec.MiB), secret())
		nightly.Kind, nightly.Schedule = spec.KindBatch, &spec.Schedule{Cron: "* * * * *", Overlap: spec.OverlapAllow, CatchUp: spec.Hour, Deadline: spec.Hour, Enabled: true}
		apps = append(apps, nightly)
		for range rapid.IntRange(0, 3).Draw(rt, "turns") {
			for i, a := range apps {
				apps[i] = edit(a, secret())
			}
			l.commit(apps...)
			l.turn(rt, always)
			l.in.Now = l.in.Now.Add(spec.Minute)
			apps[0] = edit(drawApp(rt, string(apps[0].Name), 6), secret())
			l.commit(apps...)
		}
		saved, text := again(t, l.in, "salt")
		if strings.Contains(text, "sesame") {
			rt.Fatalf("the saved input tells a secret:\n%s", text)
		}
		p, r := reconcile.Plan(l.in)
		started += len(r.Versions)
		q, s := reconcile.Plan(saved.Input)
		first, _ := json.Marshal(p)
		second, _ := json.Marshal(q)
		if string(first) != string(second) {
			rt.Fatalf("replaying gives another plan:\n%s\n%s", first, second)
		}
		if v := check.Plan(saved.Input, q, s); len(v) > 0 {
			rt.Fatalf("%v", v)
		}
		// A tree over the saved state is planned like the tree over the state.
		apps[0] = edit(drawApp(rt, string(apps[0].Name), 6), secret())
		l.commit(apps...)
		l.in.Commit, l.in.Subject = "", "tree"
		first, _ = json.Marshal(planOf(l.in))
		over, _ := json.Marshal(planOf(saved.Over(l.in.Desired, "tree")))
		if string(first) != string(over) && len(r.Versions) == 0 { // what begins this very moment has another name
			rt.Fatalf("the tree over the saved state gives another plan:\n%s\n%s", first, over)
		}
	})
	if started == 0 {
		t.Error("no run began")
	}
}

func TestWhatASavedInputHides(t *testing.T) {
	l := newLab(t, 2)
	l.commit(edit(asks("web", 2, 100, spec.MiB), withEnv("open-sesame-1")), edit(asks("db", 1, 100, spec.MiB), withEnv("open-sesame-1")))
	l.in.Desired.Plugins = []spec.Plugin{{Name: "redis", Kind: spec.PluginFramework, Args: []string{"--token=sesame"}}}
	l.in.Desired.Frameworks = []spec.Framework{{Driver: "redis", Name: "cache", Config: map[string]any{"password": "sesame"}}}
	l.settle()
	for i := range l.in.Current {
		l.in.Current[i].Tasks = []spec.TaskStatus{{Name: "t", Checks: []spec.Result{{Check: "c", Output: "sesame"}}}}
	}
	before, _ := json.Marshal(l.in)
	s, text := again(t, l.in, "a")
	if strings.Contains(text, "sesame") {
		t.Errorf("the saved input tells a secret: %s", text)
	}
	if after, _ := json.Marshal(l.in); string(after) != string(before) {
		t.Error("saving changed the input")
	}
	env := func(s *reconcile.Saved, app int) map[string]string { return s.Input.Desired.Apps[app].Tasks[0].Env }
	if env(&s, 0)["PASSWORD"] != env(&s, 1)["PASSWORD"] || env(&s, 0)["PASSWORD"] == env(&s, 0)["MODE"] {
		t.Errorf("equal values have equal marks, others others: %v, %v", env(&s, 0), env(&s, 1))
	}
	if other, _ := again(t, l.in, "b"); env(&other, 0)["PASSWORD"] == env(&s, 0)["PASSWORD"] {
		t.Error("the marks of two saved inputs can be compared")
	}
}

func TestAPlanSaysNoValueOfAnEnvironment(t *testing.T) {
	l := newLab(t, 2)
	web := asks("web", 2, 100, spec.MiB)
	l.commit(edit(web, withEnv("sesame-1")))
	l.settle()
	l.commit(edit(web, withEnv("sesame-2")))
	p, _ := l.plan()
	text, _ := json.Marshal(p)
	if f := p.Apps[0].Fields; len(f) != 1 || f[0].Path != "task.t.env.PASSWORD" || f[0].From == f[0].To || strings.Contains(string(text), "sesame") {
		t.Errorf("%s", text)
	}
	l.commit(web)
	if p, _ = l.plan(); len(p.Apps[0].Fields) != 2 || p.Apps[0].Fields[0].To != "" {
		t.Errorf("%+v", p.Apps[0].Fields)
	}
}

func TestAppsOfFrameworksOverASavedInput(t *testing.T) {
	l := newLab(t, 2)
	made := edit(asks("cache/primary", 1, 100, spec.MiB), func(a *spec.App) { a.Framework = "redis cache" })
	l.commit(made)
	block := spec.Framework{Driver: "redis", Name: "cache", Config: map[string]any{"size": 1.0}}
	l.in.Desired.Frameworks = []spec.Framework{block}
	l.settle()
	s, _ := again(t, l.in, "a")
	tree := *l.in.Desired
	tree.Apps = []*spec.App{asks("web", 1, 100, spec.MiB)}
	p, _ := reconcile.Plan(s.Over(&tree, ""))
	if p.Summary != (spec.Summary{Start: 1}) {
		t.Errorf("the same block: %+v", p.Summary)
	}
	block.Config = map[string]any{"size": 2.0}
	tree.Frameworks = []spec.Framework{block}
	if p, _ = reconcile.Plan(s.Over(&tree, "")); p.Summary != (spec.Summary{Start: 1}) || p.Apps[0].Held == "" {
		t.Errorf("another block: %+v", p)
	}
	tree.Frameworks = nil
	if p, _ = reconcile.Plan(s.Over(&tree, "")); p.Summary != (spec.Summary{Start: 1, Stop: 1}) {
		t.Errorf("no block: %+v", p.Summary)
	}
}

func TestASavedInputThatCannotBePlanned(t *testing.T) {
	good := reconcile.Saved{FormatVersion: reconcile.SavedFormatVersion, Input: reconcile.Input{Desired: &spec.Cluster{}}}
	for name, c := range map[string]struct {
		spoil func(*reconcile.Saved)
		want  string
	}{
		"another file":    {func(s *reconcile.Saved) { s.Input.Desired = nil }, "stowage plan --save"},
		"a newer form":    {func(s *reconcile.Saved) { s.FormatVersion = "2.0" }, "use the version of stowage that wrote it"},
		"an app missing":  {func(s *reconcile.Saved) { s.Input.Desired = &spec.Cluster{Apps: []*spec.App{nil}} }, "damaged"},
		"a version gone":  {func(s *reconcile.Saved) { s.Input.Versions = map[spec.Hash]*spec.App{"a": nil} }, "damaged"},
		"a newer minor":   {func(s *reconcile.Saved) { s.FormatVersion = "1.7" }, ""},
		"nothing at all ": {func(*reconcile.Saved) {}, ""},
	} {
		s := good
		c.spoil(&s)
		if err := s.Check(); (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
