package cli

import (
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

const secretApp = `cluster "test" {}
app "web" {
  count = 2
  task "t" {
    rootfs  = "host"
    command = ["true"]
    cpu     = 1
    memory  = "1GiB"
    env     = { TOKEN = "sesame" }
  }
}
`

// What plan --save writes gives the plan that it showed, and is for its owner's eyes only.
func TestWhatIsSavedIsPlannedAgain(t *testing.T) {
	cluster, _ := hcl.Load(fstest.MapFS{"a.hcl": {Data: []byte(secretApp)}}, hcl.Options{})
	if cluster == nil {
		t.Fatal("the cluster cannot be used")
	}
	in := reconcile.Input{Now: spec.Time(spec.Hour), Commit: "0123456789", Desired: cluster, Nodes: []spec.NodeView{{
		Node: spec.Node{ID: "n1", Capacity: spec.Resources{CPU: 4000, Memory: 8 * spec.GiB}}, State: spec.NodeReady,
	}}}
	credentials := fakeMaster(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v1/input" {
			_, _ = io.WriteString(w, "{}")
			return
		}
		s := reconcile.Save(in, "salt")
		_ = api.WriteInput(w, &s)
	})
	path := filepath.Join(t.TempDir(), "cluster.gz")
	code, shown, stderr := run("--credentials", credentials, "--json", "plan", "--save", path)
	if code != 0 {
		t.Fatal(stderr)
	}
	if code, offline, stderr := run("--json", "plan", "--input", path); code != 0 || offline != shown {
		t.Errorf("%s\nsaved and planned again:\n%s%s", shown, offline, stderr)
	}
	plan, _ := reconcile.Plan(in)
	if !strings.Contains(shown, string(plan.ID)) {
		t.Errorf("the plan is %s, shown is\n%s", plan.ID, shown)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if code, _, stderr := run("--credentials", credentials, "plan", "--save", filepath.Join(path, "x")); code != 1 || !strings.Contains(stderr, "save input") {
		t.Errorf("a file that cannot be written: %d, %s", code, stderr)
	}
}
