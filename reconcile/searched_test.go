package reconcile_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// wholeLook is a built-in policy of which the planner does not know that it is one: it is given every feasible node.
type wholeLook struct{ place.Scoring }

func (p wholeLook) Place(b *place.Batch) ([]place.Pick, error) { return p.Scoring.Place(b) }

// mixed draws an app that asks for room, and perhaps has rules and wishes.
func mixed(r *rand.Rand, i int) *spec.App {
	a := asks(fmt.Sprintf("app%02d", i), 1+r.IntN(6), spec.MilliCPU(1+r.IntN(8))*250, spec.Bytes(1+r.IntN(8))*256*spec.MiB)
	a.Priority = []int{50, 50, 50, 80}[r.IntN(4)]
	switch r.IntN(10) {
	case 0:
		a.Spreads = []spec.Spread{{Attribute: []string{"zone", "rack", "node.id"}[r.IntN(3)], Weight: 1 + r.IntN(100)}}
	case 1:
		a.Constraints = []spec.Constraint{{Attribute: "node.id", Operator: spec.OpDistinct}}
	case 2:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: []spec.Operator{spec.OpMaxPer, spec.OpGroupBy}[r.IntN(2)], Number: 2}}
	case 3:
		a.Constraints = []spec.Constraint{{Attribute: "zone", Operator: spec.OpNotEqual, Value: "z1"}}
	case 4:
		a.Affinities = []spec.Affinity{{Attribute: "zone", Operator: spec.OpEqual, Value: "z2", Weight: r.IntN(201) - 100}}
	case 5:
		a.Network.Ports = []spec.PortSpec{{Name: "http", Protocol: spec.TCP, Static: r.IntN(2) * (8080 + r.IntN(3))}}
	case 6:
		a.Tasks[0].Cores = 1
	case 7:
		of := spec.AppName(fmt.Sprintf("app%02d", r.IntN(90)))
		a.Constraints = []spec.Constraint{{Attribute: []string{"rack", "node.id"}[r.IntN(2)], Operator: spec.OpApart, App: of}}
	}
	if r.IntN(12) == 0 {
		a.Role = "kept"
	}
	return a
}

// TestSearchedPlans plans on clusters so large that nodes are found by searching, while nodes are lost and come back and apps
// change: every plan is, to the byte, the one that a look at every node makes.
func TestSearchedPlans(t *testing.T) {
	for seed := range uint64(4) {
		r := rand.New(rand.NewPCG(seed, 3))
		l := newLab(t, 0)
		for i := range 260 + r.IntN(80) {
			n := node(fmt.Sprintf("n%03d", i), spec.MilliCPU(1+r.IntN(4))*1000, spec.Bytes(1+r.IntN(4))*spec.GiB)
			n.Attributes["zone"] = fmt.Sprint("z", r.IntN(3))
			if r.IntN(3) == 0 {
				n.Cores = []spec.CoreGroup{{Cores: []int{1, 2}}}
			}
			if r.IntN(4) > 0 {
				n.Attributes["rack"] = fmt.Sprint("r", i/15)
			}
			l.in.Nodes = append(l.in.Nodes, n)
		}
		policy := []place.Scoring{place.Binpack, place.Spread}[seed%2]
		l.in.Desired.Policy.Name, l.in.Desired.Preemption = policy.Name, seed%3 == 0
		if seed >= 2 {
			l.in.Desired.Roles = []spec.Role{{Name: "kept", Weight: 1}}
			l.in.Desired.Reservations = []spec.Reservation{{Role: "kept", Resources: spec.Resources{CPU: 300, Memory: 200 * spec.MiB}}}
		}
		apps := make([]*spec.App, 90)
		for i := range apps {
			apps[i] = mixed(r, i)
		}
		for turn := range 6 {
			for range 12 {
				i := r.IntN(len(apps))
				apps[i] = mixed(r, i)
			}
			l.commit(apps...)
			for range 8 {
				n := &l.in.Nodes[r.IntN(len(l.in.Nodes))]
				n.State = []spec.NodeState{spec.NodeReady, spec.NodeUnknown, spec.NodeDown}[r.IntN(3)]
				n.LastSeen = l.in.Now.Add(-spec.Minute)
			}
			in := l.in
			in.Brief = turn != 3
			var first []byte
			for _, p := range []place.Policy{policy, wholeLook{policy}} {
				in.Policies = map[string]place.Policy{policy.Name: p}
				text, err := json.Marshal(planOf(in))
				if err != nil {
					t.Fatal(err)
				}
				if first == nil {
					first = text
				} else if string(first) != string(text) {
					t.Fatalf("seed %d, turn %d: from a search:\n%s\nfrom all nodes:\n%s", seed, turn, first, text)
				}
			}
			in.Policies = nil
			p, report := reconcile.Plan(in)
			l.gen++
			l.in = reconcile.Apply(l.in, reconcile.Decide(in, p, report, l.gen))
			l.in.Current = slices.Clone(l.in.Current)
			for i := range l.in.Current {
				l.follow(&l.in.Current[i])
			}
			l.advance(11 * spec.Second)
		}
	}
}
