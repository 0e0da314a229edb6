package wire

import (
	"fmt"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

// EncodeBatch writes a batch. The request shares slices with the batch.
func EncodeBatch(b *place.Batch) *PlaceRequest {
	r := &PlaceRequest{
		App: string(b.App), Kind: string(b.Kind), Priority: int32(b.Priority), Config: b.Config, Seed: b.Seed, Count: int32(b.Count),
		Resources: b.Resources, Need: b.Need, Capacity: b.Capacity, Free: b.Free, Room: b.Room, Own: b.Own, Load: b.Load,
		Nodes: convert[string](b.Nodes),
	}
	for _, t := range b.Terms {
		r.Terms = append(r.Terms, &Term{Name: t.Name, Value: convert64[int64](t.Value)})
	}
	for _, g := range b.Groups {
		r.Groups = append(r.Groups, &Group{Name: g.Name, Of: g.Of, Have: g.Have, Cap: g.Cap, Cost: convert64[int64](g.Cost)})
	}
	return r
}

// DecodeBatch reads what EncodeBatch wrote. The batch shares slices with the request. It is an error when the columns
// do not fit together, so that a policy need not look.
func DecodeBatch(r *PlaceRequest) (*place.Batch, error) {
	b := &place.Batch{
		App: spec.AppName(r.GetApp()), Kind: spec.Kind(r.GetKind()), Priority: int(r.GetPriority()), Config: r.GetConfig(),
		Seed: r.GetSeed(), Count: int(r.GetCount()), Resources: r.GetResources(), Need: r.GetNeed(), Capacity: r.GetCapacity(),
		Free: r.GetFree(), Room: r.GetRoom(), Own: r.GetOwn(), Load: r.GetLoad(), Nodes: convert[spec.NodeID](r.GetNodes()),
	}
	for _, t := range r.GetTerms() {
		b.Terms = append(b.Terms, place.Term{Name: t.GetName(), Value: convert64[spec.Milli](t.GetValue())})
	}
	for _, g := range r.GetGroups() {
		b.Groups = append(b.Groups, place.Group{Name: g.GetName(), Of: g.GetOf(), Have: g.GetHave(), Cap: g.GetCap(), Cost: convert64[spec.Milli](g.GetCost())})
	}
	return b, checkBatch(b)
}

func checkBatch(b *place.Batch) error {
	n, width := len(b.Nodes), len(b.Resources)
	ok := b.Count >= 0 && len(b.Need) == width && len(b.Capacity) == n*width && len(b.Free) == n*width &&
		len(b.Room) == n && len(b.Own) == n && len(b.Load) == n
	for _, t := range b.Terms {
		ok = ok && len(t.Value) == n
	}
	for _, g := range b.Groups {
		ok = ok && len(g.Of) == n && (g.Cap == nil || len(g.Cap) == len(g.Have)) && (g.Cost == nil || len(g.Cost) == len(g.Have))
		for _, of := range g.Of {
			ok = ok && of >= 0 && int(of) < len(g.Have)
		}
	}
	if !ok {
		return fmt.Errorf("decode batch of %q: its columns do not fit together", b.App)
	}
	return nil
}

// EncodePicks writes a policy's picks.
func EncodePicks(picks []place.Pick) *PlaceResponse {
	r := &PlaceResponse{Picks: make([]*Pick, len(picks))}
	for i, p := range picks {
		m := &Pick{Node: int32(p.Node), Total: int64(p.Score.Total), Next: string(p.Score.Next), NextWhy: p.Score.NextWhy,
			NextTotal: int64(p.Score.NextAt), Feasible: int32(p.Score.Feasible)}
		for _, part := range p.Score.Parts {
			m.Parts = append(m.Parts, &Part{Name: part.Name, Value: int64(part.Value)})
		}
		r.Picks[i] = m
	}
	return r
}

// DecodePicks reads what EncodePicks wrote. The picks are not checked yet.
func DecodePicks(r *PlaceResponse) []place.Pick {
	picks := make([]place.Pick, 0, len(r.GetPicks()))
	for _, m := range r.GetPicks() {
		p := place.Pick{Node: int(m.GetNode()), Score: spec.Score{Total: spec.Milli(m.GetTotal()), Next: spec.NodeID(m.GetNext()),
			NextWhy: m.GetNextWhy(), NextAt: spec.Milli(m.GetNextTotal()), Feasible: int(m.GetFeasible())}}
		for _, part := range m.GetParts() {
			p.Score.Parts = append(p.Score.Parts, spec.ScorePart{Name: part.GetName(), Value: spec.Milli(part.GetValue())})
		}
		picks = append(picks, p)
	}
	return picks
}

func convert[To, From ~string](in []From) []To {
	out := make([]To, len(in))
	for i, v := range in {
		out[i] = To(v)
	}
	return out
}

// convert64 keeps nil, which means "none".
func convert64[To, From ~int64](in []From) []To {
	if in == nil {
		return nil
	}
	out := make([]To, len(in))
	for i, v := range in {
		out[i] = To(v)
	}
	return out
}
