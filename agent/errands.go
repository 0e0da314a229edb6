package agent

import (
	"context"
	"runtime"
	"sync"
)

// errands run work in the background: work with the same key one after the other, in order, other work side by side up
// to a bound.
type errands struct {
	slots chan struct{}
	wg    sync.WaitGroup

	mu    sync.Mutex
	lines map[string][]func()
}

// slotsPerCore bounds how many errands are under way: starting containers is work for the processor, and waiting for the kernel
// in between leaves room for one more. Four took a tenth longer than two for 200 containers on two cores.
const slotsPerCore = 2

func newErrands() *errands {
	return &errands{slots: make(chan struct{}, slotsPerCore*runtime.NumCPU()), lines: map[string][]func(){}}
}

// run does f after all earlier work with the same key.
func (e *errands) run(key string, f func()) {
	e.mu.Lock()
	defer e.mu.Unlock()
	line, busy := e.lines[key]
	e.lines[key] = append(line, f)
	if !busy {
		e.wg.Go(func() { e.serve(key) })
	}
}

func (e *errands) serve(key string) {
	for {
		e.mu.Lock()
		line := e.lines[key]
		if len(line) == 0 {
			delete(e.lines, key)
			e.mu.Unlock()
			return
		}
		e.lines[key] = line[1:]
		e.mu.Unlock()
		e.slots <- struct{}{}
		line[0]()
		<-e.slots
	}
}

// slotsKey is what the errands are known by in the context of their work.
type slotsKey struct{}

// in returns the context of work that these errands do.
func (e *errands) in(ctx context.Context) context.Context {
	return context.WithValue(ctx, slotsKey{}, e)
}

// aside does f without the slot that the work holds whose context this is: f waits for others, and nobody is to wait for it.
func aside(ctx context.Context, f func()) {
	if e, ok := ctx.Value(slotsKey{}).(*errands); ok {
		<-e.slots
		defer func() { e.slots <- struct{}{} }()
	}
	f()
}

// wait returns when nothing is under way.
func (e *errands) wait() { e.wg.Wait() }
