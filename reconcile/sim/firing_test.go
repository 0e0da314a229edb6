package sim_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/sim"
)

// TestFirings plays stories of schedules and of masters that fall, stand still and lose what was not durable yet: each
// firing is run, skipped or missed exactly once, and what must not overlap does not. Both are invariants of the simulator.
func TestFirings(t *testing.T) {
	stories := max(4, *seeds/8) // -seeds 1000: more of them
	if testing.Short() {
		stories = 4
	}
	for seed := range uint64(stories) {
		script := firingScript(rand.New(rand.NewPCG(seed, 7)))
		r := sim.Run([]byte(script), sim.Options{Seed: seed, Load: load})
		if r.Err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, r.Err, script)
		}
	}
}

// firingScript makes up a story.
func firingScript(r *rand.Rand) string {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	say("begin 2026-03-28T23:5%d:30Z", r.IntN(10)) // an hour before the clocks of Berlin are changed
	say("nodes n[1-3] cpu=4 memory=8GiB")
	apps := []string{"forbid", "allow", "replace", "follows"}
	for _, a := range apps {
		say("run %s %ds", a, 1+r.IntN(200))
	}
	say("commit v1")
	down := false
	for range 30 {
		switch r.IntN(10) {
		case 0:
			say("leader-change")
		case 1:
			say("leader-change recorded")
		case 2:
			say("leader-change unrecorded")
		case 3:
			away := 1 + r.IntN(1500)
			say("leader-freeze %ds\nadvance %ds", away, away)
		case 4:
			say("dispatch? %s", apps[r.IntN(3)])
		case 5:
			say("cancel? %s", apps[r.IntN(4)])
		case 6:
			say(map[bool]string{false: "crash n1", true: "return n1"}[down])
			down = !down
		case 7:
			say("exit %s[0] %d", apps[r.IntN(4)], r.IntN(2))
		case 8:
			say("healthy %s[0]", apps[r.IntN(4)])
		}
		say("advance %ds", 1+r.IntN(240))
	}
	if down {
		say("return n1")
	}
	say("advance 30m\ncommit v2\nsettle\nexpect no-changes")
	say("-- v1/c.hcl --\ncluster \"test\" {\n  sync { max_prune = \"100%%\" }\n}")
	crons := []string{"* * * * *", "*/2 * * * *", "*/5 0-3 * * *", "30 2 * * *", "0 * * * *"}
	for _, a := range apps[:3] {
		say("app %q {\n  kind = \"batch\"\n  schedule = { cron = %q, timezone = \"Europe/Berlin\", overlap = %q, catch_up = \"%dm\", deadline = \"%dm\" }", a, crons[r.IntN(len(crons))], a, 1+r.IntN(20), 1+r.IntN(9))
		say("  count = %d\n  task \"t\" {\n    rootfs = \"host\"\n    command = [\"true\"]\n  }\n}", 1+r.IntN(2))
	}
	say("app \"follows\" {\n  kind = \"batch\"\n  depends_on = [{ app = %q, on_failure = \"continue\" }]\n  task \"t\" {\n    rootfs = \"host\"\n    command = [\"true\"]\n  }\n}", apps[r.IntN(3)])
	say("-- v2/c.hcl --\ncluster \"test\" {\n  sync { max_prune = \"100%%\" }\n}\napp \"left\" {\n  task \"t\" {\n    rootfs = \"host\"\n    command = [\"true\"]\n  }\n}")
	return b.String()
}
