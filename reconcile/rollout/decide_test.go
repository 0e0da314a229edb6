package rollout

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

const (
	now = 1000 * spec.Time(spec.Second)
	ago = now - 100*spec.Time(spec.Second)
)

// have reads allocations of an app: each is its slot, "o" for an old version, "n" for the new, "i" for what can be
// updated in place, and then marks: + settled, ~ healthy since a moment ago, ! failed a moment ago, s silent, d on a
// draining node, x on a lost one, c a canary, r to be restarted. "0o+ 0n" is a slot with a new one beside the old.
func have(t *testing.T, text string) []Alloc {
	var list []Alloc
	for k, word := range strings.Fields(text) {
		slot, marks := int(word[0]-'0'), word[1:]
		view := &spec.AllocationView{}
		view.Node = spec.NodeID("n" + word[:1])
		view.Slot, view.Generation, view.Want = spec.Slot{App: "web", Index: slot}, spec.Generation(k+1), spec.WantRun
		view.ID = spec.NewAllocationID(view.Slot, view.Generation)
		view.State, view.Since, view.Placed = spec.StateRunning, ago, ago
		a := Alloc{AllocationView: view}
		for _, mark := range marks {
			switch mark {
			case 'o':
				a.Fit = Outdated
			case 'i':
				a.Fit = InPlace
			case 'n':
				a.Fit = Current
			case '+':
				view.Healthy, view.HealthySince = true, ago
			case '~':
				view.Healthy, view.HealthySince = true, now-spec.Time(spec.Second)
			case '!':
				view.State, view.Since = spec.StateFailed, now
			case 's':
				a.Ground = Silent
			case 'd':
				a.Ground = Draining
			case 'x':
				a.Ground = Lost
			case 'c':
				a.Canary = true
			case 'r':
				a.Restart = true
			default:
				t.Fatalf("%q: what is %q?", word, mark)
			}
		}
		list = append(list, a)
	}
	return list
}

// tell writes steps as tests read them: kind and slot, how the new one follows, and what it waits for.
func tell(steps []Step) string {
	names := map[Beside]string{Alone: "", Surge: " surge", IfNeeded: " beside", StopFirst: " stop-first"}
	var lines []string
	for _, s := range steps {
		line := fmt.Sprintf("%s %d", s.Kind, s.Slot)
		if s.Places() {
			line += names[s.Beside]
		}
		if s.Canary {
			line += " canary"
		}
		if s.Promote {
			line += " promote"
		}
		if s.Kind == spec.ChangeStop && s.Old.Fit != Outdated {
			line += " new"
		}
		if !s.Now && s.Kind != spec.ChangeBlocked {
			line += fmt.Sprintf(" later%d", s.Wave)
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, ", ")
}

func TestDecide(t *testing.T) {
	strategy := func(s spec.Strategy) func(*App) { return func(a *App) { a.Spec.Update.Strategy = s } }
	parts := func(least, surge spec.Milli) func(*App) {
		return func(a *App) { a.Spec.Update.MinHealthy, a.Spec.Update.Surge = least, surge }
	}
	canaries := func(n int) func(*App) {
		return func(a *App) { a.Canaries = &Canaries{Spec: a.Spec, Count: n} }
	}
	parallel := func(n int) func(*App) { return func(a *App) { a.Spec.Update.MaxParallel = n } }
	for _, row := range []struct {
		about string
		with  func(*App)
		have  string
		want  string
	}{
		// Counts.
		{"nothing yet", nil, "", "start 0, start 1, start 2"},
		{"all is well", nil, "0n+ 1n+ 2n+", ""},
		{"a gap is filled", nil, "0n+ 2n+", "start 1"},
		{"too many: what does no work goes first", nil, "0n+ 1n 2n+ 3n+", "stop 1 new"},
		{"too many: the youngest goes", nil, "0n+ 1n+ 2n+ 3n+", "stop 3 new"},
		{"too many: what would have to be replaced goes", nil, "0n+ 1o+ 2n+ 3n+", "stop 1"},
		{"too many: what was promoted stays", func(a *App) { a.Allocs[1].Promote = true }, "0o+ 0n+ 1n+ 2n+ 3o+", "update 0 promote, stop 0, stop 3"},
		{"waiting for a dependency", func(a *App) { a.Waiting = "after db is healthy" }, "0o+ 1n+", "replace 0 beside later0, start 2 later0"},

		// Rolling: max_parallel slots at a time, each followed once it is settled.
		{"rolling begins", nil, "0o+ 1o+ 2o+", "replace 0 beside, replace 1 beside later1, replace 2 beside later2"},
		{"rolling, two at a time", parallel(2), "0o+ 1o+ 2o+", "replace 0 beside, replace 1 beside, replace 2 beside later1"},
		{"rolling waits for health", nil, "0o+ 0n 1o+ 2o+", "stop 0 later1, replace 1 beside later1, replace 2 beside later2"},
		{"rolling waits for healthy_for", nil, "0o+ 0n~ 1o+ 2o+", "stop 0 later1, replace 1 beside later1, replace 2 beside later2"},
		{"rolling goes on", nil, "0o+ 0n+ 1o+ 2o+", "stop 0, replace 1 beside, replace 2 beside later1"},
		{"rolling: what does no work first", nil, "0o+ 1o+ 2o", "replace 0 beside later1, replace 1 beside later2, replace 2 beside"},
		{"rolling: a failed successor is waited for", nil, "0o+ 0n! 1o+ 2o+", "blocked 0, replace 1 beside later1, replace 2 beside later2"},
		{"rolling: a failed slot is waited for", nil, "0n! 1o+ 2o+", "blocked 0, replace 1 beside later1, replace 2 beside later2"},
		{"in place", nil, "0i+ 1i+ 2n+", "update 0, update 1"},
		{"a restart is replaced like a change", nil, "0nr+ 1n+ 2nr+", "replace 0 beside, replace 2 beside later1"},

		// min_healthy and surge.
		{"surge only", parts(1000, 340), "0o+ 1o+ 2o+", "replace 0 surge, replace 1 beside later2, replace 2 beside later3"},
		{"surge by default, when none may go", parts(1000, 0), "0o+ 1o+ 2o+", "replace 0 surge, replace 1 beside later2, replace 2 beside later3"},
		{"no surge: old ones make room", parts(600, 0), "0o+ 1o+ 2o+", "replace 0 stop-first, replace 1 stop-first later2, replace 2 stop-first later3"},
		{"both", parts(600, 340), "0o+ 1o+ 2o+", "replace 0 surge, replace 1 stop-first, replace 2 beside later2"},
		{"no more than min_healthy allows", parts(600, 0), "0n 1o+ 2o+", "replace 1 stop-first later1, replace 2 stop-first later2"},
		{"min_healthy of a system app counts all its nodes", func(a *App) { parts(500, 0)(a); a.Spec.Kind = spec.KindSystem }, "0o+ 1o+ 2o", "replace 0 stop-first later2, replace 1 stop-first later3, replace 2 stop-first"},
		{"min_healthy of a system app counts no node that is left", func(a *App) {
			parts(500, 0)(a)
			a.Spec.Kind, a.Count = spec.KindSystem, 2
			a.Leaves = func(x *Alloc) bool { return x.Index == 0 }
		}, "0n+ 1o+ 2o+", "replace 1 stop-first, replace 2 stop-first later2"},
		{"and keeps nothing waiting for one", func(a *App) {
			parts(500, 0)(a)
			a.Spec.Kind, a.Count = spec.KindSystem, 2
			a.Leaves = func(x *Alloc) bool { return x.Index == 0 }
		}, "0o+ 1o+ 2o+", "replace 0 stop-first later3, replace 1 stop-first, replace 2 stop-first later2"},
		{"a surge that backs off keeps its place", parts(1000, 340), "0o+ 0n! 1o+ 2o+", "blocked 0, replace 1 beside later1, replace 2 beside later2"},

		// Recreate: all stop first.
		{"recreate", strategy(spec.StrategyRecreate), "0o+ 1o+ 2n+", "replace 0 stop-first, replace 1 stop-first"},

		// Canaries: extras beside the good version, here "n"; then promoted.
		{"canaries begin", canaries(2), "0n+ 1n+ 2n+", "start 0 canary, start 1 canary"},
		{"a canary waits for what moves", canaries(2), "0nd+ 1n+ 2n+", "move 0 beside, start 0 canary later0, start 1 canary"},
		{"canaries of a gang wait as one", func(a *App) { canaries(2)(a); a.Canaries.Spec = &spec.App{Gang: true} }, "0nd+ 1n+ 2n+", "move 0 beside, start 0 canary later0, start 1 canary later0"},
		{"one canary is there", canaries(2), "0n+ 0nc 1n+ 2n+", "start 1 canary"},
		{"a canary is lost", canaries(1), "0n+ 0ncx 1n+ 2n+", "stop 0 new, start 0 canary"},
		{"a canary failed", canaries(1), "0n+ 0nc! 1n+ 2n+", "blocked 0 canary"},
		{"a canary of another version", canaries(1), "0n+ 0oc+ 1n+ 2n+", "stop 0, start 0 canary"},
		{"canaries are no longer wanted", nil, "0n+ 0oc+ 1n+ 2n+", "stop 0"},
		{"promoted before it is restarted", func(a *App) { a.Allocs[1].Promote = true }, "0o+ 0nr+ 1n+ 2n+", "update 0 promote, stop 0"},
		{"promoted before its node is left", func(a *App) { a.Allocs[1].Promote = true }, "0o+ 0nd+ 1n+ 2n+", "update 0 promote, stop 0"},
		{"promoted", func(a *App) { a.Allocs[1].Promote = true }, "0o+ 0n+ 1o+ 2n+", "update 0 promote, stop 0, replace 1 beside"},

		// Blue and green: the rest of a promoted app follows at once.
		{"blue_green after promotion", strategy(spec.StrategyBlueGreen), "0o+ 0n+ 1o+ 1n+ 2o+ 2n+", "stop 0, stop 1, stop 2"},
		{"blue_green where all nodes are left", func(a *App) {
			strategy(spec.StrategyBlueGreen)(a)
			a.Spec.Kind, a.Count, a.Leaves = spec.KindSystem, 0, func(*Alloc) bool { return true }
		}, "0o+ 1o+", "replace 0 beside, replace 1 beside later1"},
		{"blue_green without canaries", strategy(spec.StrategyBlueGreen), "0o+ 1o+ 2o+", "replace 0 beside, replace 1 beside, replace 2 beside"},

		// Going back is a rollout of the good version: what still runs stays, extras of the bad one stop.
		{"revert an extra", nil, "0n+ 0o 1n+ 2n+", "stop 0"},
		{"revert what was replaced", nil, "0o 1o+ 2n+", "replace 0 beside, replace 1 beside later1"},
		{"failed without auto_revert", func(a *App) { a.Frozen = true }, "0o 1o+ 2n!", "blocked 2"},
		{"frozen, but the node drains", func(a *App) { a.Frozen = true }, "0od+ 1o+ 2n+", "replace 0 beside"},
		{"stuck: unhealthy extras go", func(a *App) { a.Stuck = true }, "0o+ 0n 1o+ 2o", "stop 0 new, replace 2 beside"},
		{"stuck: healthy extras may stay", func(a *App) { a.Stuck = true }, "0o+ 0n~ 1o+ 2n+", "stop 0 later1"},

		// Nodes.
		{"a drain moves all", nil, "0nd+ 1nd+ 2n+", "move 0 beside, move 1 beside"},
		{"a move that failed", nil, "0nd+ 0n! 1n+ 2n+", "blocked 0"},
		{"a move after an older failure", nil, "0n! 0nd+ 1n+ 2n+", "move 0 beside"},
		{"a silent node is waited for", nil, "0ns+ 1n+ 2n+", ""},
		{"a lost one", nil, "0nx+ 1n+ 2n+", "start 0"},
		{"a lost one, its successor failed", nil, "0nx+ 0n! 1n+ 2n+", "blocked 0"},
		{"a lost one came back", nil, "0n+ 0n+ 1n+ 2n+", "stop 0 new"},
		{"the last version failed, this one is new", nil, "0o! 1n+ 2n+", "start 0"},
	} {
		t.Run(row.about, func(t *testing.T) {
			a := &App{Now: now, Count: 3, Allocs: have(t, row.have), Spec: &spec.App{
				Name: "web", Kind: spec.KindService, Count: 3,
				Update:     spec.Update{Strategy: spec.StrategyRolling, MaxParallel: 1, HealthyFor: 10 * spec.Second},
				Reschedule: spec.Reschedule{Delay: spec.Second, MaxDelay: spec.Minute},
			}}
			if row.with != nil {
				row.with(a)
			}
			if got := tell(Decide(a).Steps); got != row.want {
				t.Errorf("%s\n got %s\nwant %s", row.have, got, row.want)
			}
		})
	}
}

func TestBackOffDoublesUpToItsBound(t *testing.T) {
	r := spec.Reschedule{Delay: spec.Second, MaxDelay: 5 * spec.Second}
	for attempt, want := range []spec.Duration{1, 2, 4, 5, 5} {
		if got := BackOff(r, attempt); got != want*spec.Second {
			t.Errorf("attempt %d waits %s, want %s", attempt, got, want*spec.Second)
		}
	}
	if got := BackOff(spec.Reschedule{Delay: spec.Minute, MaxDelay: spec.Second}, 3); got != spec.Minute {
		t.Errorf("a delay above its bound waits %s, want %s", got, spec.Minute)
	}
}
