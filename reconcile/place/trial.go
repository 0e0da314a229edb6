package place

import "github.com/stowage/stowage/spec"

// Clear takes everything off the nodes.
func (f *Fleet) Clear() {
	clear(f.used)
	clear(f.credit)
	clear(f.load)
	for i := range f.held {
		f.held[i], f.leaving[i] = f.held[i][:0], nil
	}
}

// Fits returns how many allocations of the request the fleet takes beside what is there, at most r.Count. Nothing is
// placed.
func (f *Fleet) Fits(r *Request) int {
	m := r.Match
	if len(m.limits)+len(m.same) > 0 || r.Single {
		return len(Fill(f.Batch(r), Binpack))
	}
	sum := 0
	for _, node := range r.candidates() {
		i := int(node)
		if f.states[i] != spec.NodeReady || !f.fits(i, m.Need, r.Wait) {
			continue
		}
		room := int32(r.Count)
		if m.named {
			room = f.roomByName(i, r, room)
		}
		at, most := i*len(f.dims), int64(room)
		for d, ask := range m.Need {
			if ask > 0 {
				free := f.capacity[at+d] - f.used[at+d]
				if r.Wait {
					free += f.credit[at+d]
				}
				most = min(most, free/ask)
			}
		}
		if sum += int(most); sum >= r.Count {
			return r.Count
		}
	}
	return sum
}

// FirstFit returns the first node that takes an allocation of the request, or -1, but not the one given; and how many
// nodes it looked at.
func (f *Fleet) FirstFit(r *Request, not int) (node, looked int) {
	groups, same := r.Match.groups(r), f.sameHave(r.Match, r)
	for _, n := range r.candidates() {
		looked++
		i := int(n)
		if i == not || f.states[i] != spec.NodeReady || !f.fits(i, r.Match.Need, false) || !groups.accept(i) || !accepts(same, i) {
			continue
		}
		if r.Match.named && f.roomByName(i, r, 1) == 0 {
			continue
		}
		return i, looked
	}
	return -1, looked
}

// Limited reports whether the app has rules by which an empty node alone is no place: over its own allocations, or near
// those of another app.
func (m *Matcher) Limited() bool { return len(m.limits)+len(m.same) > 0 || m.near }

// PerNode returns how many allocations an empty node like the given one would take, at most limit.
func (m *Matcher) PerNode(node, limit int) int {
	most := int64(limit)
	for d, ask := range m.Need {
		if ask > 0 {
			most = min(most, m.fleet.Capacity(node)[d]/ask)
		}
	}
	for _, p := range m.App.Network.Ports {
		if p.Static != 0 {
			most = min(most, 1)
		}
	}
	return int(most)
}

// OnlyRoom reports whether the app asks for nothing but room on one of the nodes that it accepts: it has no rule and no
// wish over where its allocations are, so that any order of placing it is as good to it as any other.
func (m *Matcher) OnlyRoom() bool {
	for _, p := range m.App.Network.Ports {
		if p.Static != 0 {
			return false
		}
	}
	return len(m.limits)+len(m.same)+len(m.wishes)+len(m.terms)+len(m.App.Affinities) == 0
}
