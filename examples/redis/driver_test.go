package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"os"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/conformance"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/spec"
)

// The test binary is also the plugin.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve-plugin" {
		main()
	}
	os.Exit(m.Run())
}

func block(config map[string]any) spec.Framework {
	return spec.Framework{Driver: "redis", Name: "cache", Config: config,
		Pos:    spec.Pos{File: "redis.hcl", Line: 1, Column: 1},
		Places: map[string]spec.Pos{"port": {File: "redis.hcl", Line: 3, Column: 3}}}
}

// world is what the block owns, as a planner and its agents would let it become.
type world struct {
	t     *testing.T
	block spec.Framework
	q     plugins.Question
	next  spec.Generation
}

func newWorld(t *testing.T, config map[string]any) *world {
	return &world{t: t, block: block(config), q: plugins.Question{Versions: map[spec.Hash]*spec.App{}, Nodes: []plugins.Node{
		{ID: "n1", Address: "10.0.0.1"}, {ID: "n2", Address: "10.0.0.2"}, {ID: "n3", Address: "10.0.0.3"}}}}
}

// question is a copy of what the driver would be asked now.
func (w *world) question() *plugins.Question {
	q := w.q
	q.Block = w.block
	q.Allocations = slices.Clone(w.q.Allocations)
	slices.SortFunc(q.Allocations, func(a, b spec.AllocationView) int {
		return cmp.Or(a.Slot.Compare(b.Slot), cmp.Compare(a.Generation, b.Generation))
	})
	return &q
}

func (w *world) expand() spec.Expansion {
	w.t.Helper()
	answer, err := driver{}.Expand(w.t.Context(), w.question())
	if err != nil {
		w.t.Fatal(err)
	}
	e, err := plugins.Expansion(w.block, answer)
	if err != nil {
		w.t.Fatal(err)
	}
	return e
}

// start starts an allocation of an app of the last answer, not yet healthy.
func (w *world) start(app *spec.App, index int, node spec.NodeID, port int) *spec.AllocationView {
	w.next++
	slot := spec.Slot{App: app.Name, Index: index}
	w.q.Versions[app.Hash()] = app
	w.q.Allocations = append(w.q.Allocations, spec.AllocationView{
		Allocation: spec.Allocation{ID: spec.NewAllocationID(slot, w.next), Slot: slot, Node: node, Generation: w.next,
			Version: app.Hash(), Want: spec.WantRun, Ports: []spec.Port{{Name: "redis", Number: port, Protocol: spec.TCP}}},
		AllocationStatus: spec.AllocationStatus{State: spec.StateRunning},
	})
	return w.at(len(w.q.Allocations) - 1)
}

func (w *world) at(i int) *spec.AllocationView { return &w.q.Allocations[i] }

func names(e spec.Expansion) string {
	var out []string
	for _, a := range e.Apps {
		out = append(out, string(a.Name))
	}
	return strings.Join(out, " ")
}

func follows(t *testing.T, e spec.Expansion) string {
	t.Helper()
	for _, a := range e.Apps {
		if a.Name == "cache/replica" {
			leader, ok := leaderOf(a)
			if !ok {
				t.Fatalf("the replicas follow nobody: %v", a.Tasks[0].Command)
			}
			return leader.String()
		}
	}
	return ""
}

func done(e spec.Expansion) (out []bool) {
	for _, s := range e.Steps {
		out = append(out, s.Done)
	}
	return out
}

// stages walks a block through its life and calls visit at each stage.
func stages(t *testing.T, visit func(stage string, w *world, e spec.Expansion)) {
	w := newWorld(t, map[string]any{"replicas": 2.0, "memory": float64(64 * spec.MiB)})
	show := func(stage string) spec.Expansion {
		e := w.expand()
		visit(stage, w, e)
		return e
	}
	e := show("nothing runs")
	w.start(e.Apps[0], 0, "n1", 20001)
	show("the primary starts")
	w.at(0).Healthy = true
	e = show("the primary is healthy")
	w.start(e.Apps[1], 0, "n2", 20002)
	w.start(e.Apps[1], 1, "n3", 20003)
	show("the replicas start")
	w.at(1).Healthy, w.at(2).Healthy = true, true
	e = show("all are healthy")
	w.at(0).Healthy = false
	show("the primary is ill")
	w.at(0).State, w.at(0).Want = spec.StateLost, spec.WantStop
	show("the primary is lost")
	w.start(e.Apps[0], 0, "n3", 20004)
	show("another primary starts")
	w.at(3).Healthy = true
	e = show("the other primary is healthy")
	w.at(1).State, w.at(1).Want, w.at(1).Healthy = spec.StateComplete, spec.WantStop, false
	w.start(e.Apps[1], 0, "n2", 20005)
	w.at(4).Healthy = true
	show("one replica has moved on")
	w.at(2).State, w.at(2).Want, w.at(2).Healthy = spec.StateComplete, spec.WantStop, false
	w.start(e.Apps[1], 1, "n1", 20006)
	w.at(5).Healthy = true
	show("all have moved on")
}

func TestEachStageFollowsFromWhatIsOwned(t *testing.T) {
	const both, one = "cache/primary cache/replica", "cache/primary"
	const first, second = "10.0.0.1:20001", "10.0.0.3:20004"
	want := map[string]struct {
		apps, follows string
		done          []bool
	}{
		"nothing runs":                 {one, "", []bool{false, false}},
		"the primary starts":           {one, "", []bool{false, false}},
		"the primary is healthy":       {both, first, []bool{true, false}},
		"the replicas start":           {both, first, []bool{true, false}},
		"all are healthy":              {both, first, []bool{true, true}},
		"the primary is ill":           {both, first, []bool{false, false}},
		"the primary is lost":          {both, first, []bool{false, false}},
		"another primary starts":       {both, first, []bool{false, false}},
		"the other primary is healthy": {both, second, []bool{true, false}},
		"one replica has moved on":     {both, second, []bool{true, false}},
		"all have moved on":            {both, second, []bool{true, true}},
	}
	seen := 0
	stages(t, func(stage string, _ *world, e spec.Expansion) {
		seen++
		w, ok := want[stage]
		if !ok {
			t.Fatalf("no expectation for %q", stage)
		}
		if names(e) != w.apps || follows(t, e) != w.follows || !slices.Equal(done(e), w.done) {
			t.Errorf("%s: apps %s, following %q, steps %+v", stage, names(e), follows(t, e), e.Steps)
		}
	})
	if seen != len(want) {
		t.Errorf("%d stages of %d", seen, len(want))
	}
}

// Two primaries are healthy for a moment when one replaces the other: the newer one stays.
func TestOfTwoHealthyPrimariesTheNewerLeads(t *testing.T) {
	w := newWorld(t, map[string]any{"replicas": 1.0})
	app := w.expand().Apps[0]
	w.start(app, 0, "n1", 20001).Healthy = true
	w.start(app, 0, "n2", 20009).Healthy = true
	if got := follows(t, w.expand()); got != "10.0.0.2:20009" {
		t.Errorf("the replicas follow %s", got)
	}
	w.at(1).Want = spec.WantStop
	if got := follows(t, w.expand()); got != "10.0.0.1:20001" {
		t.Errorf("when the newer one is to stop, the replicas follow %s", got)
	}
}

func TestTheAppsSayWhatTheBlockSays(t *testing.T) {
	w := newWorld(t, map[string]any{"replicas": 3.0, "memory": float64(128 * spec.MiB), "port": 6379.0, "cpu": 0.25, "persist": true, "eviction": "noeviction"})
	w.start(w.expand().Apps[0], 0, "n1", 6379).Healthy = true
	e := w.expand()
	primary, replica := e.Apps[0], e.Apps[1]
	for _, words := range []string{"--maxmemory 134217728", "--maxmemory-policy noeviction", "--appendonly yes", "--port ${port.redis}", "--bind ${node.address}"} {
		for _, a := range e.Apps {
			if !strings.Contains(strings.Join(a.Tasks[0].Command, " "), words) {
				t.Errorf("%s: %s is missing in %q", a.Name, words, a.Tasks[0].Command)
			}
		}
	}
	if primary.Count != 1 || replica.Count != 3 || primary.Network.Ports[0].Static != 6379 || replica.Network.Ports[0].Static != 0 ||
		primary.Tasks[0].CPU != 250 || primary.Tasks[0].Memory != 208*spec.MiB {
		t.Errorf("primary %+v\nreplica %+v", primary, replica)
	}
	if len(replica.DependsOn) != 1 || replica.DependsOn[0].App != primary.Name {
		t.Errorf("on the way down nothing orders the replicas before the primary: %+v", replica.DependsOn)
	}
}

func TestWithoutReplicasThereIsOneStep(t *testing.T) {
	w := newWorld(t, map[string]any{"replicas": 0.0})
	w.start(w.expand().Apps[0], 0, "n1", 20001).Healthy = true
	if e := w.expand(); names(e) != "cache/primary" || len(e.Steps) != 1 || !e.Steps[0].Done {
		t.Errorf("%+v", e)
	}
}

func TestComplaintsPointAtTheArgument(t *testing.T) {
	b := block(map[string]any{"port": 20500.0})
	answer, err := driver{}.Expand(t.Context(), &plugins.Question{Block: b})
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Diagnostics) != 1 || answer.Diagnostics[0].Pos != b.Places["port"] || !strings.Contains(answer.Diagnostics[0].Detail, "20000 to 32000") {
		t.Errorf("%+v", answer.Diagnostics)
	}
	if _, err := plugins.Expansion(b, answer); err == nil {
		t.Error("a block with an error was expanded")
	}
	whole := block(map[string]any{"replicas": 1.5})
	if answer, err := (driver{}).Expand(t.Context(), &plugins.Question{Block: whole}); err != nil || len(answer.Diagnostics) != 1 || answer.Diagnostics[0].Pos != whole.Pos {
		t.Errorf("%+v, %v", answer, err)
	}
}

// outside runs the driver as a process.
func outside(t *testing.T) (plugins.Framework, func() error) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	h, err := host.New(host.Options{Overrides: map[string]string{"redis": self}, MinBackoff: 10 * time.Millisecond, MaxBackoff: 50 * time.Millisecond,
		CallTimeout: time.Minute, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	kill := func() error {
		if s := h.List(); len(s) == 1 && s[0].Pid != 0 {
			return syscall.Kill(s[0].Pid, syscall.SIGKILL)
		}
		return errors.New("it does not run")
	}
	return h.Framework(spec.Plugin{Name: "redis", Kind: spec.PluginFramework, Args: []string{"serve-plugin"}}), kill
}

func questions(t *testing.T) (all []*plugins.Question) {
	stages(t, func(_ string, w *world, _ spec.Expansion) { all = append(all, w.question()) })
	return all
}

func TestTheDriverConforms(t *testing.T) {
	process, kill := outside(t)
	for way, subject := range map[string]conformance.FrameworkSubject{
		"in process":   {Framework: driver{}, Questions: questions(t)},
		"as a process": {Framework: process, Questions: questions(t), Kill: kill},
	} {
		for _, c := range conformance.Framework(subject) {
			t.Run(way+" "+c.Name, func(t *testing.T) {
				if err := c.Check(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestOverTheWireTheAnswersAreTheSame(t *testing.T) {
	process, _ := outside(t)
	for i, q := range questions(t) {
		want, err := driver{}.Expand(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		got, err := process.Expand(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("question %d: over the wire\n%+v\nin process\n%+v", i, got, want)
		}
	}
	want := schema
	got, err := process.Schema(context.Background())
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("schema over the wire\n%+v\nin process\n%+v\n%v", got, want, err)
	}
}
