package reconcile_test

import (
	"fmt"
	"testing"

	"pgregory.net/rapid"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
)

// dumbScore is how good each node is for one more allocation of an app, worked out node by node.
type dumbScore struct {
	total    map[spec.NodeID]spec.Milli // of the feasible nodes, but for what is the same for all
	feasible []spec.NodeID              // in order
}

// score rates every node for the app on what stands in the input: the policy's own score, and affinities.
func (l *lab) score(a *spec.App, skip spec.AllocationID) dumbScore {
	used, own := map[spec.NodeID]spec.Resources{}, map[spec.NodeID]int{}
	for i := range l.in.Current {
		c := &l.in.Current[i]
		if c.ID == skip || c.State.Terminal() {
			continue
		}
		used[c.Node] = used[c.Node].Plus(l.in.Versions[c.Version].Needs())
		if c.App == a.Name {
			own[c.Node]++
		}
	}
	d := dumbScore{total: map[spec.NodeID]spec.Milli{}}
	need := a.Needs()
	for _, n := range l.in.Nodes {
		after := used[n.ID].Plus(need)
		if n.State != spec.NodeReady || after.CPU > n.Capacity.CPU || after.Memory > n.Capacity.Memory {
			continue
		}
		cpu, memory := int64(after.CPU)*1000/int64(n.Capacity.CPU), int64(after.Memory)*1000/int64(n.Capacity.Memory)
		total := spec.Milli((cpu + memory) / 2)
		if l.in.Desired.Policy.Name == "spread" {
			cpu, memory = int64(n.Capacity.CPU-after.CPU)*1000/int64(n.Capacity.CPU), int64(n.Capacity.Memory-after.Memory)*1000/int64(n.Capacity.Memory)
			total = spec.Milli((cpu+memory)/2) - spec.Milli(own[n.ID])*1000
		}
		for _, f := range a.Affinities {
			if n.Attributes["zone"] == f.Value {
				total += spec.Milli(f.Weight * 10)
			}
		}
		d.total[n.ID] = total
		d.feasible = append(d.feasible, n.ID)
	}
	return d
}

// best returns the best node and the next, the first by name of those that are equal.
func (d *dumbScore) best() (first, next spec.NodeID) {
	better := func(a, b spec.NodeID) bool { return b == "" || d.total[a] > d.total[b] }
	for _, n := range d.feasible {
		switch {
		case better(n, first):
			first, next = n, first
		case better(n, next):
			next = n
		}
	}
	return first, next
}

// agrees compares a step's score with what was worked out node by node.
func (d *dumbScore) agrees(c *spec.Change) error {
	s := c.Score
	var sum spec.Milli
	for _, p := range s.Parts {
		sum += p.Value
	}
	first, next := d.best()
	switch {
	case sum != s.Total:
		return fmt.Errorf("the parts add up to %s, the total is %s", sum, s.Total)
	case c.Node != first || s.Next != next || s.Feasible != len(d.feasible):
		return fmt.Errorf("%s before %s of %d, want %s before %s of %d", c.Node, s.Next, s.Feasible, first, next, len(d.feasible))
	case next != "" && s.Total-s.NextAt != d.total[first]-d.total[next]:
		return fmt.Errorf("%s is behind by %s, want %s", next, s.Total-s.NextAt, d.total[first]-d.total[next])
	case next != "" && s.NextWhy == "":
		return fmt.Errorf("why %s is next is not said", next)
	}
	return nil
}

// TestScoresAreTrue works out the score of the next placement in worlds that have a history, and again for one that was
// placed long ago.
func TestScoresAreTrue(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l := newLab(t, 0)
		l.in.Nodes = drawNodes(rt, 6)
		for i := range l.in.Nodes {
			l.in.Nodes[i].Pool = "" // which pool is a matter of being feasible, not of the score
		}
		l.in.Desired.Policy.Name = rapid.SampledFrom([]string{"binpack", "spread"}).Draw(rt, "policy")
		var apps []*spec.App
		for i := range rapid.IntRange(1, 3).Draw(rt, "apps") {
			a := asks(fmt.Sprint("app", i), rapid.IntRange(1, 4).Draw(rt, "count"), spec.MilliCPU(rapid.IntRange(1, 4).Draw(rt, "cpu")*250), spec.Bytes(rapid.IntRange(1, 4).Draw(rt, "memory"))*128*spec.MiB)
			if rapid.Bool().Draw(rt, "affinity") {
				a.Affinities = []spec.Affinity{{Attribute: "zone", Operator: spec.OpEqual, Value: "z1", Weight: rapid.IntRange(-100, 100).Draw(rt, "weight")}}
			}
			apps = append(apps, a)
		}
		l.commit(apps...)
		l.rest(rt)
		if planOf(l.in).Summary.Blocked > 0 {
			return
		}
		for i := range l.in.Current {
			a := l.in.Current[i]
			again := reconcile.Again(l.in, a.ID)
			if again == nil {
				rt.Fatalf("%s has no place to be placed again", a.ID)
			}
			want := l.score(l.in.Versions[a.Version], a.ID)
			if err := want.agrees(again); err != nil {
				rt.Fatalf("%s again: %v", a.ID, err)
			}
		}
		apps[0] = edit(apps[0], count(apps[0].Count+1))
		l.commit(apps...)
		p, _ := strict(rt, l.in)
		for _, a := range p.Apps {
			for k := range a.Changes {
				want := l.score(apps[0], "")
				if c := &a.Changes[k]; c.Kind == spec.ChangeStart {
					if err := want.agrees(c); err != nil {
						rt.Fatalf("%s: %v\n%+v", c.Slot, err, c.Score)
					}
				}
			}
		}
	})
}
