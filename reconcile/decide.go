package reconcile

import (
	"slices"

	"github.com/stowage/stowage/spec"
)

// Decide takes from a plan what can be done now. The generation is that of the allocations it starts. The plan and the
// report must come from Plan with the same input.
func Decide(in Input, p spec.Plan, r Report, g spec.Generation) Decision {
	d := Decision{Plan: p.ID, Commit: p.Commit, Generation: g, Time: in.Now, Renamed: renames(&in), Done: r.RestartsDone, Moved: r.MovesDone}
	k := &decider{in: &in, d: &d, versions: map[spec.Hash]*spec.App{}, runtime: map[spec.Hash]spec.Hash{}}
	for _, a := range in.Desired.Apps {
		h := in.hashes(a)
		k.versions[h.Version], k.runtime[h.Version] = a, h.Runtime
	}
	for h, a := range r.Versions { // any order: each hash has one value
		k.versions[h] = a
	}
	starts := 0
	for i := range p.Apps {
		starts += started(&p.Apps[i])
	}
	d.Start = slices.Grow(d.Start, starts)
	for i := range p.Apps {
		k.app(&p.Apps[i])
	}
	if d.Runs = r.Runs; d.Runs != nil {
		k.needRuns()
	}
	if !slices.Equal(in.Rollouts, r.Rollouts) {
		d.Rollouts, d.Changed = r.Rollouts, true
		for i := range r.Rollouts {
			k.need(r.Rollouts[i].Target)
		}
	}
	return d
}

// renames repeats what Plan found of moved blocks.
func renames(in *Input) []Rename {
	if len(in.Desired.Moved) == 0 {
		return nil
	}
	w := &world{in: in, byName: map[spec.AppName]*app{}}
	for _, a := range in.Desired.Apps {
		w.app(a.Name).desired = &version{app: a}
	}
	w.readMoved()
	return w.renamed
}

type decider struct {
	in       *Input
	d        *Decision
	versions map[spec.Hash]*spec.App
	runtime  map[spec.Hash]spec.Hash
	current  map[spec.AllocationID]*spec.AllocationView // made for the first update
	commits  map[spec.Hash]spec.Commit                  // made for the first start of another version than the app's
}

// allocation finds one that is there already.
func (k *decider) allocation(id spec.AllocationID) *spec.AllocationView {
	if k.current == nil {
		k.current = make(map[spec.AllocationID]*spec.AllocationView, len(k.in.Current))
		for i := range k.in.Current {
			k.current[k.in.Current[i].ID] = &k.in.Current[i]
		}
	}
	return k.current[id]
}

// need adds a version to the decision unless it is known already.
func (k *decider) need(h spec.Hash) {
	a, ok := k.versions[h]
	if _, known := k.in.Versions[h]; known || !ok {
		return
	}
	if k.d.Versions == nil {
		k.d.Versions = map[spec.Hash]*spec.App{}
	}
	k.d.Versions[h] = a
}

// needRuns adds the versions of the runs and agendas that are recorded.
func (k *decider) needRuns() {
	for i := range k.d.Runs.Put {
		if r := &k.d.Runs.Put[i]; !r.State.Ended() {
			k.need(r.Version)
		}
	}
	for i := range k.d.Runs.Agendas {
		k.need(k.d.Runs.Agendas[i].Version)
	}
}

// started counts the allocations of an app that a decision starts.
func started(a *spec.AppPlan) int {
	n := 0
	for i := range a.Changes {
		if c := &a.Changes[i]; a.Held == "" && c.Now && c.Kind != spec.ChangeStop && c.Kind != spec.ChangeUpdate {
			n++
		}
	}
	return n
}

func (k *decider) app(a *spec.AppPlan) {
	if a.Held != "" {
		return
	}
	for i := range a.Changes {
		c := &a.Changes[i]
		if !c.Now {
			continue
		}
		switch c.Kind {
		case spec.ChangeStop:
			k.d.Stop = append(k.d.Stop, Stop{ID: c.Old, Reason: c.Reason})
		case spec.ChangeUpdate:
			k.update(a, c)
		default:
			k.start(a, c)
		}
	}
}

func (k *decider) update(a *spec.AppPlan, c *spec.Change) {
	u := Update{ID: c.Old, Version: c.Version, Commit: k.in.Commit, Why: c.Reason}
	if v := k.allocation(c.Old); v != nil {
		u.Promote = v.Canary
		if c.Version == v.Version {
			u.Commit = v.Commit
		}
	}
	k.need(c.Version)
	k.d.Update = append(k.d.Update, u)
}

func (k *decider) start(a *spec.AppPlan, c *spec.Change) {
	app, ok := k.versions[c.Version]
	commit := k.in.Commit
	if !ok {
		app = k.in.Versions[c.Version]
	}
	if a.Version != c.Version {
		commit = k.commitOf(c.Version)
	}
	if app.Run != nil {
		commit = app.Run.Commit
	}
	k.need(c.Version)
	x := spec.Allocation{
		ID: spec.NewAllocationID(c.Slot, k.d.Generation), Slot: c.Slot, Node: c.Node, Generation: k.d.Generation,
		Version: c.Version, Runtime: k.runtimeOf(c.Version, app), Commit: commit, Ports: c.Ports, Devices: c.Devices, Cores: c.Cores, After: c.Takeover,
		Want: spec.WantRun, Canary: c.Canary, Placed: k.in.Now, Why: c.Reason, Attempt: c.Attempt,
	}
	k.d.Start = append(k.d.Start, x)
	if c.Old != "" && !c.KeepOld && c.Kind != spec.ChangeStart {
		k.d.Stop = append(k.d.Stop, Stop{ID: c.Old, Reason: c.Reason})
	}
	for _, v := range c.Victims {
		k.d.Stop = append(k.d.Stop, Stop{ID: v.ID, Reason: reasonPreempted + c.Slot.String()})
	}
}

func (k *decider) runtimeOf(h spec.Hash, a *spec.App) spec.Hash {
	r, ok := k.runtime[h]
	if !ok {
		r = a.RuntimeHash()
		k.runtime[h] = r
	}
	return r
}

// commitOf returns the commit that a version still in use came from.
func (k *decider) commitOf(h spec.Hash) spec.Commit {
	if k.commits == nil {
		k.commits = map[spec.Hash]spec.Commit{}
		for i := len(k.in.Current) - 1; i >= 0; i-- { // the first of each version tells
			k.commits[k.in.Current[i].Version] = k.in.Current[i].Commit
		}
	}
	if c, ok := k.commits[h]; ok {
		return c
	}
	return k.in.Commit
}
