package sim_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
	"github.com/stowage/stowage/spec"
)

// ring is a driver that begins with a primary and adds the replicas once that is healthy.
func ring(block spec.Framework, owned []spec.AllocationView) spec.Expansion {
	member := func(name string, count int) *spec.App {
		return &spec.App{
			Name: block.Name + "/" + spec.AppName(name), Kind: spec.KindService, Count: count, Role: spec.DefaultRole,
			Priority: spec.DefaultPriority, Framework: "ring " + string(block.Name),
			Update: spec.Update{Strategy: spec.StrategyRolling, MaxParallel: 1, HealthyFor: spec.DefaultHealthyFor, Deadline: spec.DefaultUpdateDeadline},
			Restart: spec.Restart{Attempts: spec.DefaultRestartAttempts, Interval: spec.DefaultRestartInterval,
				Delay: spec.DefaultRestartDelay, MaxDelay: spec.DefaultRestartMaxDelay},
			Reschedule: spec.Reschedule{After: spec.DefaultRescheduleAfter, Delay: spec.DefaultRescheduleDelay, MaxDelay: spec.DefaultRescheduleMaxDelay},
			Network:    spec.Network{Mode: spec.NetworkHost},
			Tasks: []spec.Task{{Name: "main", Lifecycle: spec.LifecycleMain, Rootfs: spec.RootfsHost, Command: []string{"true"},
				CPU: spec.DefaultCPU, Memory: spec.DefaultMemory, Stop: spec.Stop{Signal: spec.DefaultStopSignal, Timeout: spec.DefaultStopTimeout}}},
		}
	}
	x := spec.Expansion{Driver: block.Driver, Name: block.Name, Apps: []*spec.App{member("primary", 1)}}
	replicas := 2
	if strings.Contains(fmt.Sprint(block.Config), "99") {
		x.Diagnostics = []spec.Diagnostic{{Severity: spec.SeverityError, Summary: "Too many replicas", Detail: "Ask for at most 9.", Pos: block.Pos}}
		return x
	}
	primed := false
	for i := range owned {
		primed = primed || strings.HasSuffix(string(owned[i].App), "/primary") && owned[i].Healthy || strings.HasSuffix(string(owned[i].App), "/replica")
	}
	if primed {
		x.Apps = append(x.Apps, member("replica", replicas))
	}
	x.Steps = []spec.Step{{Title: "primary", Done: primed}, {Title: "replicas after the primary is healthy"}}
	return x
}

const frameworkScript = `
nodes n[1-3]
start ring/primary 20s
commit v1
advance 10s
expect starts ring/primary[0] 1
expect starts ring/replica[0] 0
settle
expect allocations ring/primary 1
expect allocations ring/replica 2
expect allocations web 1
expect no-changes
leader-change
settle
expect starts ring/replica[0] 1
commit v2            # the driver refuses it: what is followed stays, with all it made
settle
expect not-used v2
expect following v1
expect event a.hcl:1: Too many replicas
expect allocations ring/replica 2
expect allocations web 1
expect starts ring/primary[0] 1
`

// TestFramework has a driver bring its apps in stages, and refuse a block that is wrong.
func TestFramework(t *testing.T) {
	files := ""
	for name, replicas := range map[string]string{"v1": "2", "v2": "99"} { // any order: folders of an archive
		files += "-- " + name + "/cluster.hcl --\ncluster \"test\" {}\nplugin \"ring\" {\n  kind    = \"framework\"\n  command = \"/opt/ring\"\n  sha256  = \"" + strings.Repeat("0a", 32) + "\"\n}\n" +
			"-- " + name + "/a.hcl --\nframework \"ring\" \"ring\" {\n  replicas = " + replicas + "\n}\n" +
			"-- " + name + "/web.hcl --\napp \"web\" {\n  task \"t\" {\n    rootfs  = \"host\"\n    command = [\"true\"]\n    cpu     = 1\n    memory  = \"1GiB\"\n  }\n}\n"
	}
	for seed := range uint64(3) {
		var out strings.Builder
		r := sim.Run([]byte(frameworkScript+files), sim.Options{Seed: seed, Load: load, Expand: ring, Out: func(line string) { out.WriteString(line + "\n") }})
		if r.Err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, r.Err, out.String())
		}
	}
}
