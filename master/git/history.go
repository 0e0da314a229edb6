package git

import (
	"container/heap"
	"errors"
	"fmt"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// maxWalk bounds how many commits one question may read: some seconds of work.
const maxWalk = 200_000

// ErrTooFar is returned when an answer would need more commits than a question may read.
var ErrTooFar = errors.New("the commits are too far apart")

// newest is a heap of commits, newest first.
type newest []*object.Commit

func (q newest) Len() int           { return len(q) }
func (q newest) Less(i, j int) bool { return q[i].Committer.When.After(q[j].Committer.When) }
func (q newest) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push adds a commit.
func (q *newest) Push(x any) { *q = append(*q, x.(*object.Commit)) }

// Pop removes the last one.
func (q *newest) Pop() any {
	old := *q
	c := old[len(old)-1]
	*q = old[:len(old)-1]
	return c
}

// Log returns up to n commits, newest first, beginning with the one of that hash.
func (r *Repo) Log(from string, n int) ([]Commit, error) {
	o, err := r.objects()
	if err != nil {
		return nil, err
	}
	var queue newest
	seen := map[plumbing.Hash]bool{}
	add := func(h plumbing.Hash) error {
		if seen[h] {
			return nil
		}
		seen[h] = true
		c, err := o.commit(h)
		if err == nil {
			heap.Push(&queue, c)
		}
		return err
	}
	if err := add(plumbing.NewHash(from)); err != nil {
		return nil, r.explain(err)
	}
	var out []Commit
	for len(queue) > 0 && len(out) < n {
		c := heap.Pop(&queue).(*object.Commit)
		out = append(out, commitOf(c))
		if len(out) == n {
			break
		}
		for _, p := range c.ParentHashes {
			if err := add(p); err != nil {
				return out, r.explain(err)
			}
		}
	}
	return out, nil
}

// Distance counts the commits that lie between two: ahead are those of to that from does not have, behind those of from
// that to does not have. After a forced push both may be positive. Hashes are full.
func (r *Repo) Distance(from, to string) (ahead, behind int, err error) {
	o, err := r.objects()
	if err != nil {
		return 0, 0, err
	}
	if from == to {
		return 0, 0, nil
	}
	ahead, behind, err = distance(o, plumbing.NewHash(from), plumbing.NewHash(to))
	if err != nil && !errors.Is(err, ErrTooFar) {
		err = r.explain(err)
	}
	return ahead, behind, err
}

const (
	ofFrom = 1 << iota // reachable from the first
	ofTo               // reachable from the second
)

// clockSlop is by how much the clocks of those who commit may differ without a commit being counted wrongly.
const clockSlop = 24 * time.Hour

// distance paints the history from both ends, newest first, until all that is left was reached from both and is older than
// every commit with one colour. A commit that gets a second colour after it was left behind is visited again: many are of
// the same second, and clocks differ.
func distance(o *objects, from, to plumbing.Hash) (ahead, behind int, err error) {
	colours := map[plumbing.Hash]int{}
	var queue newest
	open := 0 // in the queue with one colour only
	queued := map[plumbing.Hash]bool{}
	paint := func(h plumbing.Hash, colour int) error {
		old := colours[h]
		if old|colour == old {
			return nil
		}
		if len(colours) > maxWalk {
			return fmt.Errorf("count commits between %s and %s: %w", from, to, ErrTooFar)
		}
		colours[h] = old | colour
		if queued[h] {
			open-- // it had one colour, now it has both
			return nil
		}
		c, err := o.commit(h)
		if err != nil {
			return err
		}
		queued[h] = true
		heap.Push(&queue, c)
		if colours[h] != ofFrom|ofTo {
			open++
		}
		return nil
	}
	if err := errors.Join(paint(from, ofFrom), paint(to, ofTo)); err != nil {
		return 0, 0, err
	}
	var oldest time.Time // of what has been left behind with one colour
	for open > 0 || len(queue) > 0 && queue[0].Committer.When.Add(clockSlop).After(oldest) {
		c := heap.Pop(&queue).(*object.Commit)
		queued[c.Hash] = false
		colour := colours[c.Hash]
		if colour != ofFrom|ofTo {
			open--
			if when := c.Committer.When; oldest.IsZero() || when.Before(oldest) {
				oldest = when
			}
		}
		for _, p := range c.ParentHashes {
			if err := paint(p, colour); err != nil {
				return 0, 0, err
			}
		}
	}
	for _, c := range colours {
		switch c {
		case ofFrom:
			behind++
		case ofTo:
			ahead++
		}
	}
	return ahead, behind, nil
}
