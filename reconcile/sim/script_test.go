package sim_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
)

const repository = `
-- v1/cluster.hcl --
cluster "test" {}
-- v1/web.hcl --
app "web" {
  count = 2
  task "t" {
    rootfs  = "host"
    command = ["true"]
    cpu     = 3
    memory  = "1GiB"
  }
}
`

// others are commits that are not taken: one cannot be read, one waits.
const others = `
-- bad/cluster.hcl --
cluster "test" {
  conut = 3
}
-- waits/cluster.hcl --
cluster "test" {
  sync { approval = "manual" }
}
-- waits/web.hcl --
app "web" {
  count = 2
  task "t" {
    rootfs  = "host"
    command = ["true"]
  }
}
`

// TestBadScripts wants every mistake told with its line.
func TestBadScripts(t *testing.T) {
	for script, want := range map[string]string{
		"fly n1":                     "line 1: fly n1: there is no such command",
		"nodes n[3-1]":               "no list of nodes",
		"nodes n1\nnodes n1":         "line 2: nodes n1: there is a node n1 already",
		"crash n9":                   "there is no node n9",
		"commit v9":                  "no files begin with v9/",
		"advance soon":               "not a duration",
		"exit web 1":                 "not a slot",
		"drain n1":                   "line 1: refused: there is no node",
		"expect refused":             "nothing was refused",
		"expect love":                "nothing can be expected",
		"expect alocations web 2":    `"alocations": did you mean allocations?`,
		"comit v1":                   "line 1: comit v1: there is no such command: did you mean commit?",
		"exit web[2] 1":              "web has no slot 2 in any commit: it has 2, which begin at 0",
		"unhealthy wbe[0]":           "no commit has an app wbe: did you mean web?",
		"start zzz 5s":               "line 1: start zzz 5s: no commit has an app zzz",
		"expect allocations nope 0":  "no commit has an app nope",
		"expect starts web[7] 0":     "web has no slot 7",
		"nodes n1\nexpect node n2 0": "there is no node n2",
		"nodes n1\ncommit bad":       "line 2: commit bad: it cannot be used: cluster.hcl line 2: Unknown argument",
		"nodes n1\ncommit v1\nrewind bad\ncommit v1":             "line 3: rewind bad: it cannot be used",
		"nodes n[1-2]\ncommit waits\nsettle":                     "line 2: commit waits: its plan still waits for approval (sync approval is manual), which approve gives",
		"nodes n[1-2]\ncommit waits\nsettle\nexpect waiting v1":  "line 4: expect waiting v1: found waits",
		"nodes n1\ncommit v1\napprove":                           "no plan waits",
		"nodes n1\ncommit v1\nsettle\nexpect allocations web 2":  "line 4: expect allocations web 2: found 1",
		"nodes n1\ncommit v1\nsettle\nexpect blocked web 1 disk": "found the rules",
	} {
		r := sim.Run([]byte(script+"\n"+repository+others), sim.Options{Load: load})
		if r.Err == nil || !strings.Contains(r.Err.Error(), want) {
			t.Errorf("%q ends with %v, want %q", script, r.Err, want)
		}
	}
}

// TestWhatIsMeantIsNoMistake wants commits that are not taken to pass where the script says so.
func TestWhatIsMeantIsNoMistake(t *testing.T) {
	for _, script := range []string{
		"nodes n1\ncommit bad\nexpect not-used bad",
		"nodes n1\ncommit? bad",
		"nodes n1\ncommit v1\ncommit? bad\ncommit v1",
		"nodes n[1-2]\ncommit waits\nsettle\nexpect waiting waits",
		"nodes n[1-2]\ncommit waits\napprove\nsettle",
		"start web 2s\nnodes n[1-2]\ncommit v1",
	} {
		if r := sim.Run([]byte(script+"\n"+repository+others), sim.Options{Load: load}); r.Err != nil {
			t.Errorf("%q ends with %v", script, r.Err)
		}
	}
}

// budgeted is a repository whose second commit changes an app that goes all at once, and adds one that has no place anywhere.
var budgeted = func() string {
	text := ""
	for i, huge := range []string{"count = 0", "count = 1"} {
		text += fmt.Sprintf(`
-- v%[1]d/cluster.hcl --
cluster "test" {
  disruption {
    max_total = 1
  }
}
-- v%[1]d/apps.hcl --
app "huge" {
  %[2]s
  task "t" {
    rootfs  = "host"
    command = ["true"]
    memory  = "900GiB"
  }
}
app "api" {
  count = 2
  task "t" {
    rootfs  = "host"
    command = ["true"]
    memory  = "3GiB"
    check "ready" {
      type    = "exec"
      command = ["true"]
      gate    = true
    }
  }
}
app "web" {
  count = 2
  update { strategy = "recreate" }
  task "t" {
    rootfs  = "host"
    command = ["true", "%[1]d"]
    memory  = "100MiB"
  }
}
`, i+1, huge)
	}
	return text
}()

// TestRestKnowsWhatUsesTheBudgetUp: a change that waits for the cluster's budget waits for good where what has no place uses
// that up, and not where something else is missing, which comes back.
func TestRestKnowsWhatUsesTheBudgetUp(t *testing.T) {
	for script, want := range map[string]string{
		"crash n2\nadvance 10m\ncommit v2\nadvance 10m\nexpect blocked api 1\nexpect at-rest":                                  "",
		"unhealthy api[0]\nadvance 1m\ncommit v2\nadvance 1m\nexpect blocked huge 1\nexpect allocations web 2\nexpect at-rest": "left is: replace web[0]",
	} {
		script = "nodes n[1-2] memory=4GiB\ncommit v1\nsettle\nexpect allocations api 2\n" + script
		r := sim.Run([]byte(script+"\n"+budgeted), sim.Options{Load: load})
		if want == "" && r.Err != nil || want != "" && (r.Err == nil || !strings.Contains(r.Err.Error(), want)) {
			t.Errorf("%q ends with %v, want %q", script, r.Err, want)
		}
	}
}

// TestJSON wants one object a line, and a result as the last.
func TestJSON(t *testing.T) {
	script := "nodes n[1-2]\ncommit v1\nshow plan\nsettle\n"
	for _, what := range []string{"allocations", "nodes", "apps", "roles", "blocked", "events"} {
		script += "show " + what + "\n"
	}
	var lines []map[string]any
	r := sim.Run([]byte(script+repository), sim.Options{Load: load, JSON: true, Seed: 7, Out: func(line string) {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Errorf("%s: %v", line, err)
		}
		lines = append(lines, v)
	}})
	if r.Err != nil || len(lines) != 8 {
		t.Fatalf("%d lines, %v", len(lines), r.Err)
	}
	items := func(i int) []any { return lines[i]["items"].([]any) }
	first := func(i int) map[string]any { return items(i)[0].(map[string]any) }
	if lines[0]["show"] != "plan" || lines[0]["items"].(map[string]any)["summary"].(map[string]any)["start"] != 2.0 {
		t.Errorf("the plan is %v", lines[0])
	}
	if a := first(1); len(items(1)) != 2 || a["app"] != "web" || a["slot"] != 0.0 || a["state"] != "running" || a["healthy"] != true {
		t.Errorf("the allocations are %v", lines[1])
	}
	if n := first(2); n["node"] != "n1" || n["state"] != "ready" || n["allocations"] != 1.0 {
		t.Errorf("the nodes are %v", lines[2])
	}
	if a := first(3); a["desired"] != 2.0 || a["healthy"] != 2.0 || a["rollout"] != "done" {
		t.Errorf("the apps are %v", lines[3])
	}
	if role := first(4); role["role"] != "default" || role["dominant"] != "cpu" || role["share"] != 750.0 {
		t.Errorf("the roles are %v", lines[4])
	}
	if len(items(5)) != 0 || len(items(6)) == 0 {
		t.Errorf("blocked and events are %v and %v", lines[5], lines[6])
	}
	if last := lines[7]; last["result"] != "ok" || last["seed"] != 7.0 || last["trace"] != r.Trace || last["events"] != float64(r.Events) {
		t.Errorf("the result is %v", last)
	}
}
