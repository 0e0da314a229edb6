// Package credit keeps the input of a command from holding up what stands behind it on the same connection: its sender sends no more
// than its receiver has room for, so the receiver always reads on, and signals, sizes and the end arrive while the command reads nothing.
package credit

import "sync"

// Window is how much input may be on the way before its receiver grants more, in bytes.
const Window = 256 << 10

// Allowance is what a sender may still send.
type Allowance struct {
	mu      sync.Mutex
	changed *sync.Cond
	left    int
	free    bool
	closed  bool
}

// NewAllowance begins with a number of bytes. With none the receiver is one that grants nothing, and there is no bound.
func NewAllowance(bytes int) *Allowance {
	a := &Allowance{left: bytes, free: bytes <= 0}
	a.changed = sync.NewCond(&a.mu)
	return a
}

// Grant adds to it.
func (a *Allowance) Grant(bytes int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.left += max(bytes, 0)
	a.changed.Broadcast()
}

// Spend waits until something may be sent, and returns how many of the wanted bytes; 0 once it is closed.
func (a *Allowance) Spend(want int) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	for !a.free && a.left == 0 && !a.closed {
		a.changed.Wait()
	}
	switch {
	case a.closed:
		return 0
	case a.free:
		return want
	}
	n := min(want, a.left)
	a.left -= n
	return n
}

// Close lets go of who waits.
func (a *Allowance) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	a.changed.Broadcast()
}

// Queue is what was received and is not yet passed on, at most [Window] bytes, or one longer piece.
type Queue struct {
	mu      sync.Mutex
	changed *sync.Cond
	pieces  [][]byte
	bytes   int
	ended   bool
	closed  bool
}

// NewQueue makes an empty queue.
func NewQueue() *Queue {
	q := &Queue{}
	q.changed = sync.NewCond(&q.mu)
	return q
}

// Put adds a piece, which the queue keeps. It waits for room, which a sender with an [Allowance] has left; behind the end nothing is added.
func (q *Queue) Put(p []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.bytes > 0 && q.bytes+len(p) > Window && !q.closed {
		q.changed.Wait()
	}
	if q.ended || q.closed || len(p) == 0 {
		return
	}
	q.pieces = append(q.pieces, p)
	q.bytes += len(p)
	q.changed.Broadcast()
}

// Get waits for the next piece. It takes up room until Done is called. ok is false at the end.
func (q *Queue) Get() (p []byte, ok bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	for len(q.pieces) == 0 && !q.ended && !q.closed {
		q.changed.Wait()
	}
	if len(q.pieces) == 0 || q.closed {
		return nil, false
	}
	p, q.pieces = q.pieces[0], q.pieces[1:]
	return p, true
}

// Done says that a piece of this many bytes was passed on.
func (q *Queue) Done(bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.bytes -= bytes
	q.changed.Broadcast()
}

// End says that nothing more comes; what is there is still passed on.
func (q *Queue) End() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.ended = true
	q.changed.Broadcast()
}

// Close throws away what is there, and lets go of who waits.
func (q *Queue) Close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed, q.pieces = true, nil
	q.changed.Broadcast()
}
