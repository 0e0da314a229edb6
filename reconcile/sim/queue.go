package sim

import "github.com/stowage/stowage/spec"

// item is something that will happen. do gets the world; it is nil for what was taken back.
type item struct {
	at    spec.Time
	seq   uint64 // order of creation: ties are broken by it, so that the order is total
	idle  bool   // happens for ever, and keeps nothing from being settled
	group int    // -1, or the machine that it belongs to
	do    func()
}

// queue is a binary heap of items, earliest first.
type queue struct {
	items []item
	seq   uint64
	busy  int // items that are not idle
}

func (q *queue) push(it item) {
	q.seq++
	it.seq = q.seq
	if !it.idle {
		q.busy++
	}
	q.items = append(q.items, it)
	for i := len(q.items) - 1; i > 0; {
		parent := (i - 1) / 2
		if !before(&q.items[i], &q.items[parent]) {
			break
		}
		q.items[i], q.items[parent] = q.items[parent], q.items[i]
		i = parent
	}
}

func (q *queue) pop() item {
	top := q.items[0]
	last := len(q.items) - 1
	q.items[0] = q.items[last]
	q.items[last] = item{}
	q.items = q.items[:last]
	for i := 0; ; {
		least := i
		for child := 2*i + 1; child <= 2*i+2 && child < last; child++ {
			if before(&q.items[child], &q.items[least]) {
				least = child
			}
		}
		if least == i {
			break
		}
		q.items[i], q.items[least] = q.items[least], q.items[i]
		i = least
	}
	if !top.idle {
		q.busy--
	}
	return top
}

func before(a, b *item) bool {
	if a.at != b.at {
		return a.at < b.at
	}
	return a.seq < b.seq
}

// random is SplitMix64: small, and the same on every machine.
type random struct{ state uint64 }

func (r *random) next() uint64 {
	r.state += 0x9e3779b97f4a7c15
	z := r.state
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (r *random) below(n int) int { return int(r.next() % uint64(n)) }

// between returns a duration from a to b.
func (r *random) between(a, b spec.Duration) spec.Duration {
	return a + spec.Duration(r.next()%uint64(b-a+1))
}
