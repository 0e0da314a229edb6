package credit

import (
	"bytes"
	"sync"
	"testing"
)

// A sender within its allowance never fills the queue, whatever the sizes, and everything arrives in order.
func TestWhatIsGrantedHasRoom(t *testing.T) {
	a, q := NewAllowance(Window), NewQueue()
	sent := bytes.Repeat([]byte("0123456789abcdef!"), 40_000)
	var wg sync.WaitGroup
	wg.Go(func() {
		defer q.End()
		for left, size := sent, 1; len(left) > 0; size = size*7%70_001 + 1 {
			n := a.Spend(min(size, len(left)))
			q.mu.Lock()
			if q.bytes+n > Window {
				t.Errorf("%d bytes and %d more are in a queue of %d", q.bytes, n, Window)
			}
			q.mu.Unlock()
			q.Put(left[:n])
			left = left[n:]
		}
	})
	var got []byte
	for {
		p, ok := q.Get()
		if !ok {
			break
		}
		got = append(got, p...)
		q.Done(len(p))
		a.Grant(len(p))
	}
	wg.Wait()
	if !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came, or others", len(got), len(sent))
	}
}

// One without an allowance is held up, not its bytes kept without bound; closing lets everybody go.
func TestTheQueueIsBounded(t *testing.T) {
	q, a := NewQueue(), NewAllowance(0)
	if n := a.Spend(10 * Window); n != 10*Window {
		t.Errorf("without a bound %d bytes may be sent", n)
	}
	q.Put(make([]byte, 3*Window)) // a longer one goes in alone
	entered := make(chan struct{})
	go func() { q.Put([]byte("x")); close(entered) }()
	if p, ok := q.Get(); !ok || len(p) != 3*Window {
		t.Errorf("%d bytes, %v", len(p), ok)
	}
	select {
	case <-entered:
		t.Error("it was let in while the queue was full")
	default:
	}
	q.Done(3 * Window)
	<-entered
	q.Put(make([]byte, Window-1))
	var wg sync.WaitGroup
	wg.Go(func() { q.Put([]byte("y")) })
	limited := NewAllowance(1)
	limited.Spend(1)
	wg.Go(func() {
		if n := limited.Spend(1); n != 0 {
			t.Errorf("%d bytes of nothing", n)
		}
	})
	q.Close()
	limited.Close()
	wg.Wait()
	if _, ok := q.Get(); ok {
		t.Error("a closed queue has something")
	}
}
