package reconcile

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/reconcile/rollout"
)

// turn is the next steps of a job, placed together.
type turn struct {
	job   int // index into the jobs of the band
	steps []*rollout.Step
}

// turns says in which order the jobs of a band are placed as long as all of them fit: those that have least choice of
// nodes first, and among equals such that few nodes come into use. Only the order is chosen here: each allocation still
// goes to the node that is best at its turn. Whose rules or policy look at more than room come before those that fill
// up what is left.
func (w *world) turns(jobs []*job) []turn {
	order := make([]int, len(jobs))
	choice, filler := make([]int, len(jobs)), make([]bool, len(jobs))
	for i, j := range jobs {
		order[i], choice[i], filler[i] = i, len(w.matcher(j.x, j.version).Takes()), w.fills(j)
	}
	if len(jobs) > 1 {
		slices.SortStableFunc(order, func(a, b int) int {
			return cmp.Or(cmp.Compare(choice[a], choice[b]), compareBool(filler[a], filler[b]))
		})
	}
	turns := make([]turn, 0, len(jobs))
	for len(order) > 0 {
		first, n := order[0], 1
		for n < len(order) && choice[order[n]] == choice[first] && filler[order[n]] == filler[first] {
			n++
		}
		if filler[first] && n > 1 {
			turns = append(turns, w.packed(jobs, order[:n])...)
		} else {
			for _, i := range order[:n] {
				turns = append(turns, turn{i, jobs[i].steps})
			}
		}
		order = order[n:]
	}
	if w.related {
		depth := w.depths(jobs)
		slices.SortStableFunc(turns, func(a, b turn) int { return cmp.Compare(depth[jobs[a.job].x], depth[jobs[b.job].x]) })
	}
	return turns
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}

// fills reports whether all that the job asks for is room, from the policy that packs.
func (w *world) fills(j *job) bool {
	if _, brought := w.in.Policies[place.Binpack.Name]; brought || w.policyOf(j.version.app).Name != place.Binpack.Name {
		return false
	}
	return !j.version.app.Gang && len(j.x.faulty) == 0 && plain(j.steps) && w.matcher(j.x, j.version).OnlyRoom()
}

// packed orders the jobs of the given indexes, which accept equally many nodes, so that few nodes come into use.
func (w *world) packed(jobs []*job, which []int) []turn {
	pieces := make([]place.Piece, len(which))
	for k, i := range which {
		pieces[k] = place.Piece{Need: jobs[i].version.need, Count: len(jobs[i].steps)}
	}
	nodes := w.matcher(jobs[which[0]].x, jobs[which[0]].version).Open()
	done := make([]int, len(which))
	turns := make([]turn, 0, len(which))
	for _, t := range w.fleet.Order(nodes, pieces) {
		i := which[t.Piece]
		from := done[t.Piece]
		done[t.Piece] += t.Count
		turns = append(turns, turn{i, jobs[i].steps[from:done[t.Piece]]})
	}
	return turns
}
