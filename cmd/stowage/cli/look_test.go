package cli

import (
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// An app with runs stands for its newest one that has an allocation.
func TestLogsOfAnAppWithRunsAreThoseOfTheNewest(t *testing.T) {
	allocation := func(app spec.AppName, generation spec.Generation) spec.AllocationView {
		var a spec.AllocationView
		a.App, a.Generation, a.State = app, generation, spec.StateComplete
		a.ID = spec.AllocationID(strings.ReplaceAll(string(app), "/", ".") + "-0-1")
		return a
	}
	asked := ""
	credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1/allocations":
			_ = json.NewEncoder(w).Encode([]spec.AllocationView{allocation("etl/load/20261126-0200", 9), allocation("etl/load/20261127-0200", 4), allocation("etl/load/more", 10)})
		case "/v1/runs":
			_ = json.NewEncoder(w).Encode([]api.Runs{{App: "etl/load", Runs: []spec.Run{{Name: "etl/load/20261126-0200"}, {Name: "etl/load/20261127-0200"}, {Name: "etl/load/20261128-0200"}}}})
		default:
			asked = r.URL.Path
			_, _ = io.WriteString(w, "")
		}
	})
	_, _, stderr := run("--credentials", credentials, "logs", "etl/load")
	if asked != "/v1/allocations/etl.load.20261127-0200-0-1/logs" || !strings.Contains(stderr, "etl/load has runs: this is etl/load/20261127-0200\n") {
		t.Errorf("asked for %s: %s", asked, stderr)
	}
	if code, _, stderr := run("--credentials", credentials, "logs", "etl/none"); code != 1 || !strings.Contains(stderr, "an app, or a run") {
		t.Errorf("exit code %d: %s", code, stderr)
	}
}

// The name of an app stands for all of its runs that are under way, as it does in a scenario.
func TestCancelTakesTheNameOfAnApp(t *testing.T) {
	var asked []string
	credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/runs" {
			_ = json.NewEncoder(w).Encode([]api.Runs{
				{App: "import", Runs: []spec.Run{{Name: "import/1", State: spec.RunComplete}, {Name: "import/2", State: spec.RunRunning}, {Name: "import/3", State: spec.RunWaiting}}},
				{App: "idle", Runs: []spec.Run{{Name: "idle/1", State: spec.RunFailed}}},
			})
			return
		}
		var request api.CancelRequest
		if err := json.NewDecoder(r.Body).Decode(&request); err != nil {
			t.Error(err)
		}
		asked = append(asked, string(request.Run))
		_ = json.NewEncoder(w).Encode(api.Applied{})
	})
	for _, c := range []struct{ name, want, says string }{
		{"import", "import/2 import/3", "Cancelled"}, {"import/1", "import/1", "Cancelled"}, {"idle", "", "It has ended already."},
	} {
		asked = nil
		if code, out, stderr := run("--credentials", credentials, "cancel", c.name); code != 0 || strings.Join(asked, " ") != c.want || !strings.Contains(out, c.says) {
			t.Errorf("cancel %s: exit code %d, asked for %v: %s%s", c.name, code, asked, out, stderr)
		}
	}
}

// Why asks for what is not of one app, too: a commit that is not used, with what is wrong in it, and a drain that waits.
func TestWhyTellsOfCommitsAndDrains(t *testing.T) {
	credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		var answer any = []api.BlockedApp{}
		switch r.URL.Path {
		case "/v1/status":
			answer = api.Status{Refused: &api.Refused{Commit: "9c1e2d7aaaaa", Diagnostics: []spec.Diagnostic{{Severity: spec.SeverityError, Summary: "Unknown argument"}}}}
		case "/v1/nodes":
			answer = []api.Node{{NodeView: spec.NodeView{Node: spec.Node{ID: "n7"}}, Drain: &spec.DrainProgress{Left: 1, Wait: &spec.WindowWait{Text: "window nightly to open"}}}}
		}
		_ = json.NewEncoder(w).Encode(answer)
	})
	_, out, stderr := run("--credentials", credentials, "why")
	for _, want := range []string{"drain of n7: 1 left, for window nightly to open", "commit 9c1e2d7", "Unknown argument"} {
		if !strings.Contains(out, want) {
			t.Errorf("it does not say %q: %s%s", want, out, stderr)
		}
	}
}
