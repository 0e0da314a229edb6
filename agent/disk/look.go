package disk

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// share is the part of a processor that all walks together may take, as one part in so many.
	share = 20
	// lightNames is up to how many names a folder is looked at in the light lane, where one walk waits for another: some 90 ms. Those with more
	// are walked through beside it.
	lightNames = 20_000
	// heavyAtOnce bounds the heavy walks that have begun; each holds a descriptor for each folder on its way. They take turns.
	heavyAtOnce = 4
)

// Run measures until the context ends, and tells who has too much: again with each look, until it has not. It tells from several goroutines.
func (l *Limiter) Run(ctx context.Context, tell func(Over)) error {
	var heavy sync.WaitGroup
	defer heavy.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
		if !l.measures() {
			continue
		}
		now := time.Now()
		inUse, err := inUse(l.root)
		if err != nil {
			l.log.Warn("the disk of tasks cannot be measured", "error", err)
			continue
		}
		for _, f := range l.dueHeavy(now, inUse) {
			heavy.Go(func() { l.lookHeavy(ctx, f, now, inUse, tell) })
		}
		l.lookLight(ctx, now, inUse, tell)
	}
}

// measures reports whether there is anything to measure.
func (l *Limiter) measures() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.folders) > 0
}

// lookLight measures folders with few names, one after the other. One that turns out to have many is left to the heavy lane.
func (l *Limiter) lookLight(ctx context.Context, now time.Time, inUse Amount, tell func(Over)) {
	for _, f := range l.due(now, inUse) {
		if ctx.Err() != nil {
			return
		}
		began := time.Now()
		w := walk{limit: f.limit.Files, light: l.light, pause: ctx.Err}
		used, err := w.measure(f.path)
		if over, is := l.looked(f, now, time.Since(began), inUse, used, err); is {
			tell(over)
		}
	}
}

// lookHeavy measures a folder of the heavy lane, which passes its turn to the others of it now and then.
func (l *Limiter) lookHeavy(ctx context.Context, f *folder, now time.Time, inUse Amount, tell func(Over)) {
	var cost time.Duration // while it had its turn
	l.turn <- struct{}{}
	began := time.Now()
	w := walk{limit: f.limit.Files, pause: func() error {
		cost += time.Since(began)
		<-l.turn
		l.turn <- struct{}{}
		began = time.Now()
		return ctx.Err()
	}}
	used, err := w.measure(f.path)
	cost += time.Since(began)
	<-l.turn
	if over, is := l.looked(f, now, cost, inUse, used, err); is {
		tell(over)
	}
}

// looked notes what a look has found, and reports whether it is too much. now is when the look began, inUse what the file system had then.
func (l *Limiter) looked(f *folder, now time.Time, cost time.Duration, inUse, used Amount, err error) (Over, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.folders[f.path] != f { // taken away, emptied or limited anew meanwhile
		return Over{}, false
	}
	f.walking, f.cost, f.ended = false, cost, time.Now()
	switch {
	case errors.Is(err, errHeavy):
		f.heavy = true
		return Over{}, false
	case err != nil && hides(err):
		l.log.Warn("a task's disk cannot be measured, and counts as used up", "error", err)
		used.Bytes = max(used.Bytes, f.limit.Bytes+1)
	case errors.Is(err, unix.ENOENT) || errors.Is(err, context.Canceled): // not made yet, or gone
		return Over{}, false
	case err != nil:
		l.log.Warn("the disk of a task cannot be measured", "error", err)
		return Over{}, false
	}
	f.used, f.inUse, f.at, f.heavy = used, inUse, now, used.Files > l.light
	return Over{f.path, used, f.limit}, used.beyond(f.limit)
}

// due lists the folders of the light lane to measure, those first that take the least.
func (l *Limiter) due(now time.Time, inUse Amount) []*folder {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.dueOf(false, now, inUse, func(a, b *folder) int { return cmp.Compare(a.cost, b.cost) })
}

// dueHeavy lists the folders of the heavy lane to begin with, those first that wait the longest, and marks them.
func (l *Limiter) dueHeavy(now time.Time, inUse Amount) []*folder {
	l.mu.Lock()
	defer l.mu.Unlock()
	free := heavyAtOnce
	for _, f := range l.folders {
		if f.walking {
			free--
		}
	}
	due := l.dueOf(true, now, inUse, func(a, b *folder) int { return a.ended.Compare(b.ended) })
	due = due[:min(max(free, 0), len(due))]
	for _, f := range due {
		f.walking = true
	}
	return due
}

// dueOf lists the folders of a lane that may hold too much or have not been measured for long, and have waited for what the last look took.
func (l *Limiter) dueOf(heavy bool, now time.Time, inUse Amount, order func(a, b *folder) int) []*folder {
	costs := make([]time.Duration, 0, len(l.folders))
	for _, f := range l.folders {
		costs = append(costs, f.cost)
	}
	each := allowance(costs)
	var due []*folder
	for _, f := range l.folders {
		grown := f.used
		grown.Bytes += max(inUse.Bytes-f.inUse.Bytes, 0)
		grown.Files += max(inUse.Files-f.inUse.Files, 0)
		reason := f.at.IsZero() || grown.beyond(f.limit) || now.Sub(f.at) >= measureEvery
		if f.heavy == heavy && !f.walking && reason && now.Sub(f.ended) >= pause(f.cost, each) {
			due = append(due, f)
		}
	}
	slices.SortFunc(due, func(a, b *folder) int { return cmp.Or(order(a, b), cmp.Compare(a.path, b.path)) })
	return due
}

// allowance is how much time each folder may take in every lookEvery, so that all together take no more than their share of a processor: who needs
// less gets what he needs, and the others as much as each other (max-min fairness). A folder that takes long waits long itself, and has no other wait.
func allowance(costs []time.Duration) time.Duration {
	left := lookEvery / share
	slices.Sort(costs)
	for i, cost := range costs {
		each := left / time.Duration(len(costs)-i)
		if cost > each {
			return max(each, 1)
		}
		left -= cost
	}
	return lookEvery
}

// pause is how long a folder is left alone after a look.
func pause(cost, allowance time.Duration) time.Duration {
	if cost <= allowance {
		return 0 // until the next look at the file system
	}
	return time.Duration(float64(lookEvery) * float64(cost) / float64(allowance))
}
