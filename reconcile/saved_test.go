package reconcile_test

import (
	"encoding/json"
	"fmt"
	"slices"
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

// TestWhatASavedInputHidesOfPoliciesAndTasks: settings of policies have marks, and what the plan does not repeat is left
// out. Only why something ended, or a rollout failed, stays as it was said: the plan says it too.
func TestWhatASavedInputHidesOfPoliciesAndTasks(t *testing.T) {
	policy := func(value string) *spec.PolicyRef {
		return &spec.PolicyRef{Name: "binpack", Config: map[string]string{"token": value}}
	}
	l := newLab(t, 2)
	web := edit(asks("web", 2, 100, spec.MiB), func(a *spec.App) { a.Policy = policy("sesame-1") })
	l.commit(web)
	l.settle()
	web = edit(web, func(a *spec.App) { a.Policy, a.Tasks[0].Command = policy("sesame-2"), []string{"v2"} })
	l.commit(web, asks("db", 1, 100, spec.MiB))
	l.in.Desired.Policy, l.in.Desired.Pools = *policy("sesame-3"), []spec.Pool{{Name: "p", Policy: policy("sesame-4")}}
	for i := range l.in.Current {
		l.in.Current[i].Reason = "healthy again after check up: sesame-5"
	}
	before, _ := json.Marshal(l.in)
	s, text := again(t, l.in, "a")
	if after, _ := json.Marshal(l.in); string(after) != string(before) {
		t.Error("saving changed the input")
	}
	if strings.Contains(text, "sesame") {
		t.Errorf("the saved input tells a secret: %s", text)
	}
	same := func() {
		t.Helper()
		live, _ := json.Marshal(planOf(l.in))
		if saved, _ := json.Marshal(planOf(s.Input)); string(live) != string(saved) {
			t.Errorf("replaying gives another plan:\n%s\n%s", live, saved)
		}
		over := l.in
		over.Commit, over.Subject = "", "tree"
		live, _ = json.Marshal(planOf(over))
		if tree, _ := json.Marshal(planOf(s.Over(l.in.Desired, "tree"))); string(live) != string(tree) {
			t.Errorf("the tree over it gives another plan:\n%s\n%s", live, tree)
		}
	}
	same()
	if live, _ := json.Marshal(planOf(l.in)); strings.Contains(string(live), "sesame") || !strings.Contains(string(live), "policy.config.token") {
		t.Errorf("the plan names a setting that changed, and not its value: %s", live)
	}
	const said = "check up: out of memory"
	ended := &l.in.Current[0]
	ended.State, ended.Healthy, ended.Reason = spec.StateFailed, false, said
	if s, text = again(t, l.in, "a"); strings.Count(text, said) != 1 || strings.Contains(text, "sesame") {
		t.Errorf("why an allocation ended stays, and nothing else: %s", text)
	}
	same()
	l.in.Rollouts[0].State, l.in.Rollouts[0].Reason = spec.RolloutFailed, said
	if s, text = again(t, l.in, "a"); strings.Count(text, said) != 2 {
		t.Errorf("why a rollout failed stays: %s", text)
	}
	same()
}

// TestASavedInputKnowsWhyARolloutFails: what only a task says of the failure that ends a rollout at this very moment.
func TestASavedInputKnowsWhyARolloutFails(t *testing.T) {
	l := newLab(t, 2)
	web := asks("web", 1, 100, spec.MiB)
	l.commit(web)
	l.settle()
	l.commit(edit(web, command("v2")))
	l.step()
	for i := range l.in.Current {
		said := "sesame"
		if a := &l.in.Current[i]; a.Generation == l.gen {
			a.State, said = spec.StateRunning, "no such file"
		}
		l.in.Current[i].Tasks = []spec.TaskStatus{{Name: "t", Reason: said}}
	}
	l.advance(web.Update.Deadline + spec.Second)
	live, _ := json.Marshal(planOf(l.in))
	s, text := again(t, l.in, "a")
	if saved, _ := json.Marshal(planOf(s.Input)); string(live) != string(saved) || !strings.Contains(string(live), "task t: no such file") {
		t.Errorf("replaying gives another plan:\n%s\n%s", live, saved)
	}
	if strings.Contains(text, "sesame") {
		t.Errorf("what the plan does not repeat is left out: %s", text)
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

// TestAnArtifactInAPlan: what changes of it replaces allocations, is named by its path, and its headers are told by nobody.
func TestAnArtifactInAPlan(t *testing.T) {
	fetches := func(checksum, header string) func(*spec.App) {
		return func(a *spec.App) {
			a.Tasks[0].Artifacts = []spec.Artifact{{Destination: "/opt/x", Source: "https://example.com/x", Checksum: checksum, Format: spec.FormatFile, Mode: 0o755,
				Headers: map[string]string{"Private-Token": header}, Deadline: spec.Minute}}
		}
	}
	l := newLab(t, 2)
	web := asks("web", 2, 100, spec.MiB)
	l.commit(edit(web, fetches("none", "sesame-1")))
	l.settle()
	l.commit(edit(web, fetches("sha256:"+strings.Repeat("a", 64), "sesame-2")))
	p, _ := l.plan()
	text, _ := json.Marshal(p)
	f := p.Apps[0].Fields
	if len(f) != 2 || f[0].Path != "task.t.artifact./opt/x.checksum" || f[0].From != "none" || !strings.HasPrefix(f[0].Effect, "replaces 2") ||
		f[1].Path != "task.t.artifact./opt/x.headers.Private-Token" || strings.Contains(string(text), "sesame") {
		t.Errorf("%s", text)
	}
	if _, saved := again(t, l.in, "a"); strings.Contains(saved, "sesame") || !strings.Contains(saved, "https://example.com/x") {
		t.Errorf("the saved input tells a header: %s", saved)
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
	if p, _ = reconcile.Plan(s.Over(&tree, "")); p.Summary != (spec.Summary{Start: 1, Held: 1}) || p.Apps[0].Held == "" {
		t.Errorf("another block: %+v", p)
	}
	tree.Frameworks = nil
	if p, _ = reconcile.Plan(s.Over(&tree, "")); p.Summary != (spec.Summary{Start: 1, Stop: 1}) {
		t.Errorf("no block: %+v", p.Summary)
	}
}

// TestImagesByTagOverASavedInput: a tag means what it meant in the saved input, also for an app whose values are hidden there; one that it
// does not know holds its app, and says so.
func TestImagesByTagOverASavedInput(t *testing.T) {
	digest := "sha256:" + strings.Repeat("0f", 32)
	imaged := func(name, image string) *spec.App {
		return edit(asks(name, 1, 100, spec.MiB), func(a *spec.App) {
			withEnv("secret")(a)
			a.Tasks[0].Rootfs, a.Tasks[0].Image = "", image
		})
	}
	l := newLab(t, 2)
	l.commit(imaged("web", spec.Pin("web:1", digest)))
	l.settle()
	s, _ := again(t, l.in, "a")
	tree := *l.in.Desired
	tree.Apps = []*spec.App{imaged("new", "new:1"), imaged("web", "web:1")}
	p, _ := reconcile.Plan(s.Over(&tree, ""))
	if len(p.Apps) != 1 || p.Apps[0].App != "new" || !strings.Contains(p.Apps[0].Held, "the digest of image new:1 is not in the saved input") || p.Summary != (spec.Summary{Held: 1}) {
		t.Errorf("got %+v, apps %+v", p.Summary, p.Apps)
	}
	tree.Apps = []*spec.App{imaged("web", spec.Pin("web:1", "sha256:"+strings.Repeat("1f", 32)))}
	if p, _ = reconcile.Plan(s.Over(&tree, "")); p.Summary != (spec.Summary{Replace: 1}) || !slices.Equal(p.Apps[0].Images, tree.Apps[0].Pulled()) {
		t.Errorf("got %+v, apps %+v", p.Summary, p.Apps)
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
