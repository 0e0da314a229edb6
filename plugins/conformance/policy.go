package conformance

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strconv"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// PolicySubject is a policy under test.
type PolicySubject struct {
	Policy place.Policy
	Kill   func() error // kills its process; nil when it has none
}

// The sizes of the huge batch.
const (
	hugeNodes = 10_000
	hugeCount = 1_000
)

// Policy returns the cases for a scheduling policy.
func Policy(s PolicySubject) []Case {
	p := s.Policy
	cases := []Case{
		{"places where something fits", func(context.Context) error { return placesSomething(p) }},
		{"keeps to room, resources and limits", func(context.Context) error {
			for i, b := range Batches(1, 200) {
				if _, err := placeWell(p, b); err != nil {
					return fmt.Errorf("batch %d of seed 1: %w", i, err)
				}
			}
			return nil
		}},
		{"answers the same to the same question", func(context.Context) error { return repeats(p) }},
		{"answers questions at the same time", func(context.Context) error {
			batch := Batches(2, 1)[0]
			want, err := placeWell(p, batch)
			if err != nil {
				return err
			}
			return together(8, func() error { return placesLike(p, copyBatch(batch), want) })
		}},
		{"answers an empty question with nothing", func(context.Context) error { return emptyBatches(p) }},
		{"bears extreme numbers", func(context.Context) error { return extremeBatches(p) }},
		{"bears a huge question", func(context.Context) error {
			_, err := placeWell(p, randomBatch(rand.New(rand.NewPCG(3, 3)), hugeNodes, hugeCount))
			return err
		}},
	}
	if s.Kill != nil {
		cases = append(cases, Case{"comes back unharmed after being killed halfway", func(ctx context.Context) error {
			batch := randomBatch(rand.New(rand.NewPCG(4, 4)), hugeNodes, hugeCount)
			want, err := placeWell(p, batch)
			if err != nil {
				return err
			}
			return killHalfway(ctx, s.Kill, func() error { return placesLike(p, batch, want) })
		}})
	}
	return cases
}

// placeWell asks and checks the answer, and that the question was left alone.
func placeWell(p place.Policy, b *place.Batch) ([]place.Pick, error) {
	before := copyBatch(b)
	picks, err := p.Place(b)
	if err != nil {
		return nil, err
	}
	if !reflect.DeepEqual(before, b) {
		return nil, fmt.Errorf("it changed the batch")
	}
	return picks, plugins.CheckPicks(b, picks)
}

func placesLike(p place.Policy, b *place.Batch, want []place.Pick) error {
	got, err := placeWell(p, b)
	if err != nil {
		return err
	}
	return same(got, want)
}

func same(got, want []place.Pick) error {
	if len(got) != len(want) {
		return fmt.Errorf("it made %d picks, then %d", len(want), len(got))
	}
	for i := range got {
		if got[i].Node != want[i].Node || got[i].Score.Total != want[i].Score.Total {
			return fmt.Errorf("pick %d was node %d (%v), then node %d (%v)", i, want[i].Node, want[i].Score.Total, got[i].Node, got[i].Score.Total)
		}
	}
	return nil
}

func placesSomething(p place.Policy) error {
	b := randomBatch(rand.New(rand.NewPCG(5, 5)), 1, 1)
	b.Groups, b.Room[0], b.Count = nil, 1, 1
	copy(b.Free, b.Need)
	copy(b.Capacity, b.Need)
	picks, err := placeWell(p, b)
	if err == nil && len(picks) != 1 {
		err = fmt.Errorf("one node has room for just the one allocation that was asked for, and it made %d picks", len(picks))
	}
	return err
}

func repeats(p place.Policy) error {
	batches := Batches(6, 20)
	answers := make([][]place.Pick, len(batches))
	for i, b := range batches {
		var err error
		if answers[i], err = placeWell(p, b); err != nil {
			return err
		}
	}
	for i := len(batches) - 1; i >= 0; i-- { // in another order: it may remember nothing
		if err := placesLike(p, batches[i], answers[i]); err != nil {
			return fmt.Errorf("batch %d of seed 6: %w", i, err)
		}
	}
	return nil
}

func emptyBatches(p place.Policy) error {
	none := Batches(7, 1)[0]
	none.Count = 0
	nowhere := &place.Batch{App: "a", Kind: spec.KindService, Count: 3, Resources: []string{"cpu", "memory", "disk"}, Need: []int64{1, 1, 1}}
	for _, b := range []*place.Batch{none, nowhere} {
		picks, err := placeWell(p, b)
		if err != nil || len(picks) != 0 {
			return fmt.Errorf("asked for %d on %d nodes it made %d picks: %v", b.Count, len(b.Nodes), len(picks), err)
		}
	}
	return nil
}

func extremeBatches(p place.Policy) error {
	for name, change := range map[string]func(*place.Batch){
		"nothing needed":      func(b *place.Batch) { clear(b.Need) },
		"nothing there":       func(b *place.Batch) { clear(b.Free); clear(b.Capacity) },
		"more used than had":  func(b *place.Batch) { b.Free[0] = -b.Capacity[0] },
		"all that can be had": func(b *place.Batch) { b.Free[1], b.Capacity[1] = spec.MaxBytes, spec.MaxBytes },
		"no room":             func(b *place.Batch) { clear(b.Room) },
		"boundless room":      func(b *place.Batch) { b.Room[0] = math.MaxInt32 },
		"far more than fits":  func(b *place.Batch) { b.Count = spec.MaxCount },
		"a low term": func(b *place.Batch) {
			b.Terms = []place.Term{{Name: "x", Value: make([]spec.Milli, len(b.Nodes))}}
			b.Terms[0].Value[0] = -1 << 40
		},
	} {
		b := randomBatch(rand.New(rand.NewPCG(8, 8)), 5, 4)
		change(b)
		if _, err := placeWell(p, b); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// Batches makes n batches from a seed: the same ones each time.
func Batches(seed uint64, n int) []*place.Batch {
	r := rand.New(rand.NewPCG(seed, seed))
	batches := make([]*place.Batch, n)
	for i := range batches {
		batches[i] = randomBatch(r, 1+r.IntN(40), r.IntN(60))
	}
	return batches
}

func randomBatch(r *rand.Rand, nodes, count int) *place.Batch {
	b := &place.Batch{
		App: "shop/web", Kind: spec.KindService, Priority: r.IntN(101), Seed: r.Uint64(), Count: count,
		Resources: []string{"cpu", "memory", "disk", "gpu"},
		Need:      []int64{int64(100 + r.IntN(2000)), int64(16+r.IntN(1024)) << 20, int64(r.IntN(2)) << 30, int64(r.IntN(3)/2) * 1000},
	}
	for i := range nodes {
		b.Nodes = append(b.Nodes, spec.NodeID(fmt.Sprintf("n%05d", i)))
		b.Room = append(b.Room, int32(1+r.IntN(50)))
		b.Own = append(b.Own, int32(r.IntN(3)))
		b.Load = append(b.Load, b.Own[i]+int32(r.IntN(20)))
		for d, most := range []int64{64_000, 256 << 30, 1 << 40, 8000} {
			if d == 3 {
				most = most / 1000 * int64(r.IntN(2)) * 1000
			}
			capacity := b.Need[d] + r.Int64N(most+1)
			b.Capacity = append(b.Capacity, capacity)
			b.Free = append(b.Free, b.Need[d]+r.Int64N(capacity-b.Need[d]+1))
		}
	}
	if r.IntN(2) == 0 {
		b.Terms = []place.Term{{Name: "near shop/cache", Value: make([]spec.Milli, nodes)}}
		for i := range nodes {
			b.Terms[0].Value[i] = spec.Milli(r.IntN(1001) - 500)
		}
	}
	for g := range r.IntN(3) {
		b.Groups = append(b.Groups, randomGroup(r, "group"+strconv.Itoa(g), nodes))
	}
	return b
}

// randomGroup bounds each group so that every node accepts at least one allocation, as the planner promises.
func randomGroup(r *rand.Rand, name string, nodes int) place.Group {
	values := 1 + r.IntN(5)
	g := place.Group{Name: name, Of: make([]int32, nodes), Have: make([]int32, values)}
	for i := range nodes {
		g.Of[i] = int32(r.IntN(values))
	}
	for v := range values {
		g.Have[v] = int32(r.IntN(3))
	}
	if r.IntN(2) == 0 {
		g.Cap = make([]int32, values)
		for v := range values {
			g.Cap[v] = g.Have[v] + 1 + int32(r.IntN(10))
		}
	}
	if g.Cap == nil || r.IntN(2) == 0 {
		g.Cost = make([]spec.Milli, values)
		for v := range values {
			g.Cost[v] = spec.Milli(r.IntN(500))
		}
	}
	return g
}

func copyBatch(b *place.Batch) *place.Batch {
	c := *b
	c.Resources, c.Nodes = append([]string(nil), b.Resources...), append([]spec.NodeID(nil), b.Nodes...)
	c.Need, c.Capacity, c.Free = append([]int64(nil), b.Need...), append([]int64(nil), b.Capacity...), append([]int64(nil), b.Free...)
	c.Room, c.Own, c.Load = append([]int32(nil), b.Room...), append([]int32(nil), b.Own...), append([]int32(nil), b.Load...)
	c.Terms, c.Groups = append([]place.Term(nil), b.Terms...), append([]place.Group(nil), b.Groups...)
	for i := range c.Terms {
		c.Terms[i].Value = append([]spec.Milli(nil), b.Terms[i].Value...)
	}
	for i := range c.Groups {
		g := &c.Groups[i]
		g.Of, g.Have = append([]int32(nil), g.Of...), append([]int32(nil), g.Have...)
		g.Cap, g.Cost = append([]int32(nil), g.Cap...), append([]spec.Milli(nil), g.Cost...)
	}
	return &c
}
