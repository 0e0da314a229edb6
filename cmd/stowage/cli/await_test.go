package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// somePlan starts one slot, replaces another, stops a third and has no place for a fourth.
func somePlan() *spec.Plan {
	web, train := spec.AppName("shop/web"), spec.AppName("ml/train")
	change := func(app spec.AppName, slot int, kind spec.ChangeKind, old spec.AllocationID) spec.Change {
		return spec.Change{Slot: spec.Slot{App: app, Index: slot}, Kind: kind, Old: old, Version: "v2"}
	}
	return &spec.Plan{ID: "p-1", Commit: "new", Base: spec.Base{Generation: 5}, Apps: []spec.AppPlan{
		{App: train, Blocked: &spec.Blocked{Slots: []int{2}, Of: 3}, Changes: []spec.Change{change(train, 2, spec.ChangeBlocked, "")}},
		{App: web, Changes: []spec.Change{
			change(web, 0, spec.ChangeReplace, "web-0-3"), change(web, 1, spec.ChangeStart, ""), change(web, 2, spec.ChangeStop, "web-2-4"),
		}},
	}}
}

// seen is an allocation as the watch tells of it: "web 0 6 v2 healthy".
func seen(text string) spec.AllocationView {
	var a spec.AllocationView
	var state string
	if _, err := fmt.Sscan(text, &a.App, &a.Index, &a.Generation, &a.Version, &state); err != nil {
		panic(err)
	}
	a.ID = spec.AllocationID(fmt.Sprintf("%s-%d-%d", strings.TrimPrefix(string(a.App), "shop/"), a.Index, a.Generation))
	a.Node, a.Want, a.State = "n1", spec.WantRun, spec.State(state)
	if state == "healthy" {
		a.State, a.Healthy = spec.StateRunning, true
	}
	return a
}

func TestWhatAPlanPromisedIsWaitedFor(t *testing.T) {
	old := []string{"shop/web 0 3 v1 healthy", "shop/web 2 4 v1 healthy", "cron/run 0 1 v9 failed"}
	for name, c := range map[string]struct {
		news []string
		want string // what is left
	}{
		"nothing yet":                     {nil, "replace shop/web[0], start shop/web[1], stop shop/web[2]"},
		"started, but not healthy":        {[]string{"shop/web 1 6 v2 running"}, "replace shop/web[0], start shop/web[1], stop shop/web[2]"},
		"another version":                 {[]string{"shop/web 1 6 v1 healthy"}, "replace shop/web[0], start shop/web[1], stop shop/web[2]"},
		"one healthy":                     {[]string{"shop/web 1 6 v2 healthy"}, "replace shop/web[0], stop shop/web[2]"},
		"one stopped":                     {[]string{"shop/web 2 4 v1 complete"}, "replace shop/web[0], start shop/web[1]"},
		"all, what has no place does not": {[]string{"shop/web 0 7 v2 healthy", "shop/web 1 6 v2 healthy", "shop/web 2 4 v1 complete"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := awaitedOf(somePlan(), false)
			for _, list := range [][]string{old, c.news} {
				change := changeOf(list...)
				if err := w.take(&change); err != nil {
					t.Fatal(err)
				}
			}
			if left := w.left(); len(left)+len(c.want) > 0 && stepNames(left) != c.want {
				t.Errorf("left is %q, want %q", stepNames(left), c.want)
			}
		})
	}
}

func TestWhatWillNotComeIsNotWaitedFor(t *testing.T) {
	w := awaitedOf(somePlan(), false)
	if err := w.take(&api.Change{Commit: "old"}); err != nil {
		t.Error(err) // the snapshot is from before the approval
	}
	if err := w.take(&api.Change{Commit: "new"}); err != nil {
		t.Error(err)
	}
	if err := w.take(&api.Change{Commit: "newer"}); err == nil || !strings.Contains(err.Error(), "commit newer is followed now") {
		t.Errorf("another commit: %v", err)
	}
	w = awaitedOf(somePlan(), false)
	failed := api.App{Name: "shop/web", Rollout: &spec.Rollout{Target: "v2", State: spec.RolloutFailed, Reason: "no allocation became healthy"}}
	if err := w.take(&api.Change{Commit: "new", Apps: []api.App{failed}}); err == nil || !strings.Contains(err.Error(), "the rollout of shop/web failed: no allocation") {
		t.Errorf("a failed rollout: %v", err)
	}
	w = awaitedOf(somePlan(), false)
	canaries := api.App{Name: "shop/web", Rollout: &spec.Rollout{Target: "v2", State: spec.RolloutCanaries}}
	if err := w.take(&api.Change{Commit: "new", Apps: []api.App{canaries}}); err != nil || w.promotion(w.left()) != "shop/web" {
		t.Errorf("canaries: %v, %q", err, w.promotion(w.left()))
	}
}

// planMaster answers stowage apply, and tells the watch of these changes; then it says no more.
func planMaster(t *testing.T, changes ...api.Change) (credentials string) {
	return fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/watch" {
			_ = json.NewEncoder(w).Encode(api.Applied{Plan: somePlan()})
			return
		}
		w.Header().Set("Content-Type", "text/event-stream")
		for _, change := range changes {
			data, err := json.Marshal(change)
			if err != nil {
				t.Error(err)
			}
			fmt.Fprintf(w, "data: %s\n\n", data)
			w.(http.Flusher).Flush()
		}
		<-r.Context().Done()
	})
}

func changeOf(texts ...string) api.Change {
	change := api.Change{Commit: "new"}
	for _, text := range texts {
		change.Allocations = append(change.Allocations, seen(text))
	}
	return change
}

func TestApplyWaitEndsThoughTheClusterIsNotAsItShouldBe(t *testing.T) {
	before := changeOf("shop/web 0 3 v1 healthy", "shop/web 2 4 v1 healthy", "cron/run 0 1 v9 failed", "shop/web 1 2 v2 failed")
	rest := changeOf("shop/web 0 7 v2 healthy", "shop/web 1 6 v2 healthy", "shop/web 2 4 v1 complete", "cron/run 1 8 v9 healthy")
	code, out, stderr := run("--credentials", planMaster(t, before, rest), "apply", "--wait", "p-1")
	if code != 0 || !strings.Contains(out, "ml/train: 1 of 3 have no place, as the plan says; stowage why ml/train tells why.") {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
	if strings.Count(out, " ms ") != 3 || strings.Contains(out, "cron/run") || strings.Contains(out, "failed") {
		t.Errorf("what came before the plan, or is not of it, is told:\n%s", out)
	}
	code, out, stderr = run("--credentials", planMaster(t, before), "apply", "--timeout", "200ms", "p-1")
	if code != 1 || !strings.Contains(stderr, "after 200ms still to come: replace shop/web[0], start shop/web[1], stop shop/web[2]: stowage why") {
		t.Errorf("exit code %d: %s%s", code, out, stderr)
	}
	if code, _, stderr := run("apply", "--timeout", "soon"); code != 1 || !strings.Contains(stderr, "--timeout") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

func TestAnInterruptedWaitSaysWhatGoesOn(t *testing.T) {
	draining := api.Node{NodeView: spec.NodeView{Node: spec.Node{ID: "n7"}}, Drain: &spec.DrainProgress{Left: 1}}
	answers := map[string]any{
		"/v1/apply": api.Applied{Plan: somePlan()}, "/v1/watch": nil,
		"/v1/drain": api.Applied{Nodes: []spec.NodeID{"n7"}}, "/v1/nodes": []api.Node{draining},
		"/v1/dispatch": api.Dispatched{Run: spec.Run{Name: "etl/run", Root: "etl", Key: "run"}},
		"/v1/runs":     []api.Runs{{App: "etl", Runs: []spec.Run{{Name: "etl/run", Root: "etl", Key: "run", State: spec.RunRunning}}}},
		"/v1/status":   api.Status{},
	}
	for _, c := range []struct{ command, asks, want string }{
		{"apply --wait p-1", "/v1/watch", "the plan is applied all the same"},
		{"drain n7 --wait", "/v1/nodes", "the drain goes on"},
		{"dispatch etl --wait", "/v1/runs", "the run goes on"},
		{"status", "/v1/status", ""},
	} {
		ctx, stop := context.WithCancel(t.Context())
		credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == c.asks {
				stop()
				<-r.Context().Done() // an answer could be quicker
				return
			}
			_ = json.NewEncoder(w).Encode(answers[r.URL.Path])
		})
		var complaint bytes.Buffer
		code := Run(ctx, World{Args: append([]string{"--credentials", credentials}, strings.Fields(c.command)...), Env: []string{"HOME=/nowhere"}, Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: &complaint})
		if said := complaint.String(); code != 1 || !strings.HasPrefix(said, "stowage: interrupted") || !strings.Contains(said, c.want) || strings.Contains(said, "context") {
			t.Errorf("stowage %s: exit code %d, %q", c.command, code, said)
		}
	}
}
