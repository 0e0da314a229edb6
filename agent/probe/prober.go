package probe

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/spec"
)

// Check is a check of a task that runs.
type Check struct {
	ID string // the caller's name for it, unique in the Prober
	spec.Check
	Address string // host:port that is asked; not for exec
	// Passing is where the check starts from: true for a task that was known to be well, when an agent takes it over.
	Passing bool
	// Exec runs Command in the task until ctx ends, for exec checks. Output is the beginning of what it printed.
	Exec func(ctx context.Context, command []string) (code int, output string, err error)
}

// Result is told when a check has run for the first time, when it begins to pass or to fail, when a check
// that does not pass fails in another way than before, and when it has failed Failures times in a row, or twice as often as before.
type Result struct {
	ID string
	spec.Result
}

// Limits of a Prober.
const (
	// MinInterval keeps a typing error from becoming a load test.
	MinInterval = 100 * spec.Millisecond
	// maxNetwork and maxExec bound how many checks run at the same time. Network checks that hang cost a descriptor each,
	// commands a process.
	maxNetwork = 512
	maxExec    = 16
	// maxOutput is how much of an answer is kept, in bytes.
	maxOutput = 200
	// spreadFirst bounds the random delay before the first run.
	spreadFirst = 100 * time.Millisecond
	// eagerDelay is the first pause of a check that has not passed yet.
	eagerDelay = 100 * time.Millisecond
)

// Prober runs checks. Make it with New; Add and Remove may be called at any time, from any goroutine.
type Prober struct {
	report func(Result)

	mu      sync.Mutex
	checks  map[string]*state
	queue   queue
	network pool
	exec    pool
	wake    chan struct{} // the head of the queue may have changed
}

// pool bounds how many runs of a kind there are at once.
type pool struct {
	free    int
	waiting []*state // due, in the order they became so
}

// state is a check with what is known of it.
type state struct {
	Check
	asks    question
	next    time.Time
	index   int // in the queue; -1 when not in it
	cancel  context.CancelFunc
	removed bool

	started  time.Time // of the current run
	eager    time.Duration
	passed   bool      // ever
	streak   int       // results in a row that speak against last.Passing
	row      int       // bad answers in a row
	counted  time.Time // when the last of them was asked for
	reported bool
	last     spec.Result
}

// New returns a Prober that tells results to report: one at a time for a check, at the same time for several. It must not block
// for long, and must not be called back into while holding a lock that Add or Remove callers hold.
func New(report func(Result)) *Prober {
	return &Prober{
		report: report, checks: map[string]*state{}, wake: make(chan struct{}, 1),
		network: pool{free: maxNetwork}, exec: pool{free: maxExec},
	}
}

// Add starts a check. It is an error if the check cannot be run as it is, or if its ID is taken.
func (p *Prober) Add(c Check) error {
	c = withDefaults(c)
	if err := validate(c); err != nil {
		return fmt.Errorf("add check %s: %w", c.ID, err)
	}
	s := &state{Check: c, index: -1, eager: min(eagerDelay, time.Duration(c.Interval)), passed: c.Passing}
	var err error
	if s.asks, err = newQuestion(&s.Check); err != nil {
		return fmt.Errorf("add check %s: %w", c.ID, err)
	}
	s.last = spec.Result{Check: c.Name, Passing: c.Passing}
	s.next = time.Now().Add(rand.N(min(spreadFirst, time.Duration(c.Interval))))
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.checks[c.ID] != nil {
		return fmt.Errorf("add check %s: there is one with this name", c.ID)
	}
	p.checks[c.ID] = s
	p.push(s)
	return nil
}

func withDefaults(c Check) Check {
	if c.Interval == 0 {
		c.Interval = spec.DefaultCheckInterval
	}
	if c.Timeout == 0 {
		c.Timeout = spec.DefaultCheckTimeout
	}
	if c.Failures == 0 {
		c.Failures = spec.DefaultCheckFailures
	}
	c.Successes = max(1, c.Successes)
	if c.Path == "" {
		c.Path = "/"
	}
	return c
}

func validate(c Check) error {
	switch {
	case c.Interval < MinInterval:
		return fmt.Errorf("the interval is less than %v", time.Duration(MinInterval))
	case c.Timeout < 0 || c.Failures < 0 || c.Successes < 0:
		return errors.New("timeout, failures and successes must not be negative")
	}
	switch {
	case c.Type == spec.CheckExec:
		if c.Exec == nil || len(c.Command) == 0 {
			return errors.New("there is no command to run")
		}
	case c.Type != spec.CheckTCP && !c.Type.HTTP() && !c.Type.GRPC():
		return errType(c.Type)
	case c.Address == "":
		return errors.New("there is no address to ask")
	}
	return nil
}

// Remove ends a check; a run under way is cancelled. A result that is just being told may still arrive.
func (p *Prober) Remove(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.checks[id]
	if s == nil {
		return
	}
	delete(p.checks, id)
	s.removed = true
	if s.cancel != nil {
		s.cancel()
	}
	if s.index >= 0 {
		heap.Remove(&p.queue, s.index)
	}
}

// push puts a check into the queue. p.mu is held.
func (p *Prober) push(s *state) {
	heap.Push(&p.queue, s)
	if s.index == 0 {
		select {
		case p.wake <- struct{}{}:
		default:
		}
	}
}

// Run runs the checks until ctx ends, waits for those under way, and returns nil. It is called once.
func (p *Prober) Run(ctx context.Context) error {
	var running sync.WaitGroup
	defer running.Wait()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		timer.Reset(p.start(ctx, &running))
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		case <-p.wake:
		}
	}
}

// idle is how long Run sleeps when there is nothing to do; Add wakes it.
const idle = time.Hour

// start starts what is due, and returns how long to wait for the next.
func (p *Prober) start(ctx context.Context, running *sync.WaitGroup) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for len(p.queue) > 0 {
		s := p.queue[0]
		if wait := s.next.Sub(now); wait > 0 {
			return wait
		}
		heap.Pop(&p.queue)
		pool := p.pool(s)
		if pool.free == 0 {
			pool.waiting = append(pool.waiting, s)
			continue
		}
		pool.free--
		p.begin(ctx, s, running)
	}
	return idle
}

func (p *Prober) pool(s *state) *pool {
	if s.Type == spec.CheckExec {
		return &p.exec
	}
	return &p.network
}

// begin starts one run. p.mu is held, and a place in the pool is taken.
func (p *Prober) begin(ctx context.Context, s *state, running *sync.WaitGroup) {
	s.started = time.Now()
	run, cancel := context.WithTimeout(ctx, time.Duration(s.Timeout))
	s.cancel = cancel
	running.Go(func() {
		output, err := s.asks.ask(run)
		if err != nil && run.Err() == context.DeadlineExceeded {
			err = fmt.Errorf("no answer within %v", time.Duration(s.Timeout))
		}
		cancel()
		if ctx.Err() != nil {
			return // a run that was broken off says nothing
		}
		if result, news := p.finish(s, output, err); news {
			p.report(result)
		}
		p.release(ctx, s, running)
	})
}

// finish works the outcome of a run into the state, and tells whether there is news.
func (p *Prober) finish(s *state, output string, err error) (Result, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s.removed {
		return Result{}, false
	}
	good := err == nil
	if !good {
		output = err.Error()
	}
	if good == s.last.Passing {
		s.streak = 0
	} else {
		s.streak++
	}
	s.count(good)
	before := s.last
	output = firstLine(output)
	switch {
	case good && !s.last.Passing && s.streak >= s.Successes, !good && s.last.Passing && s.streak >= s.Failures:
		s.last = spec.Result{Check: s.Name, Passing: good, Output: output, Since: spec.TimeOf(time.Now())}
		s.streak = 0
		s.last.Row = s.row
	case !good && !s.last.Passing:
		s.last.Output = output
		if s.row >= 2*s.last.Row || s.row == s.Failures {
			s.last.Row = s.row
		}
	case good && !s.last.Passing: // but not often enough
		if s.last.Row = 0; s.streak == 1 {
			s.last.Output = fmt.Sprintf("answers well, and has to %d times in a row", s.Successes)
		}
	case !s.reported && good == s.last.Passing:
		s.last.Output = output
	}
	if !s.reported {
		if s.last.Since == 0 {
			s.last.Since = spec.TimeOf(time.Now())
		}
		s.reported = true
		return Result{ID: s.ID, Result: s.last}, true
	}
	return Result{ID: s.ID, Result: s.last}, s.last != before
}

// count counts bad answers in a row. Those of a task that has never passed, which is asked early and often so that its start is seen at
// once, count once in each interval: how often is asked must not decide how long it may take.
func (s *state) count(good bool) {
	switch {
	case good:
		s.row, s.passed = 0, true
	case s.passed || s.row == 0 || s.started.Sub(s.counted) >= time.Duration(s.Interval):
		s.row++
		s.counted = s.started
	}
}

// release gives the place in the pool on, and puts the check back into the queue.
func (p *Prober) release(ctx context.Context, s *state, running *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s.cancel = nil
	if !s.removed {
		s.next = s.started.Add(s.pause())
		p.push(s)
	}
	pool := p.pool(s)
	for len(pool.waiting) > 0 {
		next := pool.waiting[0]
		pool.waiting = pool.waiting[1:]
		if !next.removed {
			p.begin(ctx, next, running)
			return
		}
	}
	pool.free++
}

// pause returns the time from the start of the last run to the start of the next.
func (s *state) pause() time.Duration {
	interval := time.Duration(s.Interval)
	if s.passed {
		return interval
	}
	pause := min(s.eager, interval)
	s.eager = min(2*s.eager, interval)
	return pause
}

// firstLine returns the first line that says something, cut to maxOutput.
func firstLine(text string) string {
	text = strings.TrimSpace(text)
	if i := strings.IndexByte(text, '\n'); i >= 0 {
		text = text[:i]
	}
	if len(text) > maxOutput {
		text = text[:maxOutput]
	}
	return strings.TrimSpace(strings.ToValidUTF8(text, "?"))
}

// queue is a heap of checks by the time of their next run.
type queue []*state

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].next.Before(q[j].next) }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}

// Push and Pop are for container/heap.
func (q *queue) Push(x any) {
	s := x.(*state)
	s.index = len(*q)
	*q = append(*q, s)
}

// Pop removes the last element.
func (q *queue) Pop() any {
	old := *q
	s := old[len(old)-1]
	old[len(old)-1] = nil
	s.index = -1
	*q = old[:len(old)-1]
	return s
}
