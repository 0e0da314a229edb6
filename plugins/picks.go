package plugins

import (
	"errors"
	"fmt"
	"slices"

	"github.com/stowage/stowage/reconcile/place"
)

// MaxScoreParts bounds the terms that a score is explained by.
const MaxScoreParts = 100

func shorten(text string) string { return text[:min(len(text), 100)] }

// CheckPicks reports how a policy's picks break the rules of their batch, or nil: too many, nodes that do not exist,
// or more on a node or in a group than there is room for.
func CheckPicks(b *place.Batch, picks []place.Pick) error {
	if len(picks) > b.Count {
		return fmt.Errorf("it answered with %d picks, it was asked for %d", len(picks), b.Count)
	}
	on := make(map[int]int64, len(picks))
	for _, p := range picks {
		if p.Node < 0 || p.Node >= len(b.Nodes) {
			return fmt.Errorf("it picked node number %d of %d", p.Node, len(b.Nodes))
		}
		on[p.Node]++
		if _, known := slices.BinarySearch(b.Nodes, p.Score.Next); p.Score.Next != "" && !known {
			return fmt.Errorf("it named %q as a runner-up, which is no node of the batch", shorten(string(p.Score.Next)))
		}
		if len(p.Score.NextWhy) > MaxText || len(p.Score.Parts) > MaxScoreParts {
			return errors.New("it explained a score at too great length")
		}
	}
	width := len(b.Resources)
	for _, p := range picks {
		n, id := on[p.Node], b.Nodes[p.Node]
		if n > int64(b.Room[p.Node]) {
			return fmt.Errorf("it picked %s %d times, which takes %d at most", id, n, b.Room[p.Node])
		}
		for d, need := range b.Need {
			if free := b.Free[p.Node*width+d]; need > 0 && n > free/need {
				return fmt.Errorf("it picked %s %d times: not enough %s there", id, n, b.Resources[d])
			}
		}
	}
	return checkGroups(b, picks)
}

func checkGroups(b *place.Batch, picks []place.Pick) error {
	for i := range b.Groups {
		g := &b.Groups[i]
		if g.Cap == nil {
			continue
		}
		have := append([]int32(nil), g.Have...)
		for _, p := range picks {
			of := g.Of[p.Node]
			if of < 0 || int(of) >= len(have) {
				continue
			}
			if have[of]++; have[of] > g.Cap[of] {
				return fmt.Errorf("it picked %s: no more than %d are allowed in its group of %s", b.Nodes[p.Node], g.Cap[of], g.Name)
			}
		}
	}
	return nil
}
