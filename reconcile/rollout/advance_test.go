package rollout

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestAdvance: Facts are those of a commit of version "new" over what "good" was.
func TestAdvance(t *testing.T) {
	// The deadline is ten minutes: late is past it, with what runs placed before it passed, and longAgo with what runs placed after.
	const early, late, longAgo = now - 5*spec.Time(spec.Second), ago - 595*spec.Time(spec.Second), ago - 605*spec.Time(spec.Second)
	at := func(s spec.RolloutState, good spec.Hash, since spec.Time) *spec.Rollout {
		return &spec.Rollout{App: "web", Target: "new", Good: good, State: s, Started: since, Progress: since}
	}
	set := func(r *spec.Rollout, f func(*spec.Rollout)) *spec.Rollout { f(r); return r }
	one := func(r *spec.Rollout) { r.Healthy = 1 }
	promoted := func(r *spec.Rollout) { r.Promoted = true }
	other := func(r *spec.Rollout) { r.Target = "other" }
	canary := func(f *Facts) { f.App.Update.Strategy, f.App.Update.Canary = spec.StrategyCanary, 1 }
	by := func(f *Facts) { canary(f); f.App.Update.AutoPromote = false }
	running := func(f *Facts) { f.Running, f.Known = "old", false }
	for _, row := range []struct {
		about string
		old   *spec.Rollout
		with  func(*Facts)
		have  string
		state spec.RolloutState
		good  spec.Hash
	}{
		{"a first deployment", nil, nil, "", spec.RolloutRolling, ""},
		{"over what was found", nil, func(f *Facts) { f.Found = "found" }, "0o+ 1o+", spec.RolloutRolling, "found"},
		{"under way", at(spec.RolloutRolling, "good", early), nil, "0o+ 0n 1o+", spec.RolloutRolling, "good"},
		{"done", at(spec.RolloutRolling, "good", early), nil, "0n+ 1n+", spec.RolloutDone, "good"},
		{"not done while old ones run", at(spec.RolloutRolling, "good", early), nil, "0n+ 1n+ 1o+", spec.RolloutRolling, "good"},
		{"not done before healthy_for", at(spec.RolloutRolling, "good", early), nil, "0n+ 1n~", spec.RolloutRolling, "good"},
		{"its deadline passed", at(spec.RolloutRolling, "good", late), nil, "0o+ 0n 1o+", spec.RolloutReverting, "good"},
		{"its deadline passed, no auto_revert", at(spec.RolloutRolling, "good", late), func(f *Facts) { f.App.Update.AutoRevert = false }, "0o+ 0n 1o+", spec.RolloutFailed, "good"},
		{"its deadline passed, nothing to go back to", at(spec.RolloutRolling, "", late), nil, "0n 1n", spec.RolloutFailed, ""},
		{"its deadline passed, and what failed is all there is", at(spec.RolloutRolling, "good", late), nil, "0o+ 0n! 1o+", spec.RolloutReverting, "good"},
		{"its deadline passed without room for anything", at(spec.RolloutRolling, "good", late), nil, "0o+ 1o+", spec.RolloutRolling, "good"},
		{"its deadline passed without room for the rest", at(spec.RolloutRolling, "good", late), nil, "0n+ 1o+", spec.RolloutRolling, "good"},
		{"its deadline passed without room, and then some came", at(spec.RolloutRolling, "good", longAgo), nil, "0o+ 0n 1o+", spec.RolloutRolling, "good"},
		{"its deadline passed with one that failed and was made good", at(spec.RolloutRolling, "good", late), nil, "0n! 0n+ 1o+", spec.RolloutRolling, "good"},
		{"its deadline passed, and the node of the next one is lost", at(spec.RolloutRolling, "good", late), nil, "0n+ 1nx 2o+", spec.RolloutRolling, "good"},
		{"its deadline passed, and a node is silent", at(spec.RolloutRolling, "good", late), nil, "0ns+ 1o+", spec.RolloutRolling, "good"},
		{"it came after all", at(spec.RolloutFailed, "", late), nil, "0n+ 1n+", spec.RolloutDone, ""},
		{"back", at(spec.RolloutReverting, "good", late), func(f *Facts) { f.Back = true }, "0o+ 1o+", spec.RolloutFailed, "good"},
		{"not back yet", at(spec.RolloutReverting, "good", late), nil, "0o+ 1n", spec.RolloutReverting, "good"},
		{"failed stays failed", at(spec.RolloutFailed, "good", late), nil, "0o+ 1o+", spec.RolloutFailed, "good"},

		{"one slot has no place", at(spec.RolloutRolling, "good", late), nil, "0n+", spec.RolloutDone, "good"},
		{"one slot has no place, the other is ill", at(spec.RolloutRolling, "good", late), nil, "0n", spec.RolloutReverting, "good"},
		{"one slot is lost, the other well", at(spec.RolloutRolling, "good", early), nil, "0n+ 1ox", spec.RolloutDone, "good"},
		{"one slot fails", set(at(spec.RolloutRolling, "good", late), one), nil, "0n+ 1n!", spec.RolloutReverting, "good"},
		{"one slot failed in the old version", at(spec.RolloutRolling, "good", early), nil, "0n+ 1o!", spec.RolloutDone, "good"},
		{"no slot has a place", at(spec.RolloutRolling, "good", late), nil, "", spec.RolloutRolling, "good"},
		{"a first deployment, one slot has no place", set(at(spec.RolloutRolling, "", late), one), nil, "0n+", spec.RolloutRolling, ""},

		{"canaries begin", at(spec.RolloutRolling, "good", early), canary, "0o+ 1o+", spec.RolloutCanaries, "good"},
		{"canaries are healthy", at(spec.RolloutCanaries, "good", early), canary, "0o+ 0nc+ 1o+", spec.RolloutRolling, "good"},
		{"canaries wait for a person", at(spec.RolloutCanaries, "good", late), by, "0o+ 0nc+ 1o+", spec.RolloutCanaries, "good"},
		{"a person promotes", set(at(spec.RolloutCanaries, "good", late), promoted), by, "0o+ 0nc+ 1o+", spec.RolloutRolling, "good"},
		{"a canary failed", at(spec.RolloutCanaries, "good", ago-1), canary, "0o+ 0nc! 1o+", spec.RolloutReverting, "good"},
		{"no canaries without a good version", at(spec.RolloutRolling, "", early), canary, "0n 1n", spec.RolloutRolling, ""},

		{"a newer commit over a finished one", set(at(spec.RolloutDone, "older", late), other), nil, "0o+ 1o+", spec.RolloutRolling, "other"},
		{"a newer commit overtakes", set(at(spec.RolloutRolling, "good", early), other), nil, "0o 1o+", spec.RolloutRolling, "good"},
		{"a newer commit after a failed one", set(at(spec.RolloutFailed, "good", late), other), nil, "0o+ 1o+", spec.RolloutRolling, "good"},
		{"overtaken, with nothing good yet", set(at(spec.RolloutRolling, "", early), other), nil, "0o+ 1o", spec.RolloutRolling, ""},
		{"overtaken, and good since", at(spec.RolloutRolling, "", early), running, "0o+ 0n 1o+", spec.RolloutRolling, "old"},
		{"overtaken, good at the deadline", at(spec.RolloutRolling, "", late), running, "0o+ 0n 1o+", spec.RolloutReverting, "old"},
		{"overtaken, good after the failure", at(spec.RolloutFailed, "", late), running, "0o+ 0n 1o+", spec.RolloutReverting, "old"},
		{"overtaken, under way without canaries", at(spec.RolloutRolling, "", early), func(f *Facts) { canary(f); running(f) }, "0o+ 0n 1o+", spec.RolloutRolling, "old"},
	} {
		t.Run(row.about, func(t *testing.T) {
			f := &Facts{Now: now, Hash: "new", Commit: "c2", Allocs: have(t, row.have), Known: true, Wanted: 2, App: &spec.App{
				Name: "web", Kind: spec.KindService, Count: 2,
				Update: spec.Update{Strategy: spec.StrategyRolling, MaxParallel: 1, HealthyFor: 10 * spec.Second, Deadline: 10 * spec.Minute, AutoRevert: true, AutoPromote: true},
			}}
			if row.with != nil {
				row.with(f)
			}
			r, events, _ := Advance(row.old, f)
			if r.State != row.state || r.Good != row.good || r.Target != "new" {
				t.Errorf("%s over %q, want %s over %q: %+v %v", r.State, r.Good, row.state, row.good, r, events)
			}
		})
	}
}
