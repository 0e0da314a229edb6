package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"golang.org/x/sys/unix"
)

// windows are the open views (logs, exec) that people have through one stream to the master. They end with it, and what they
// print never goes into another: the next stream counts its windows anew.
type windows struct {
	serve func(ctx context.Context, o *wire.Open, s executor.Streams) (code int, err error)
	send  func(*wire.Up)  // waits while the link is busy
	wg    *sync.WaitGroup // of what serves them

	mu  sync.Mutex
	all map[uint64]*window
}

// window is one of them.
type window struct {
	cancel context.CancelFunc
	input  *io.PipeWriter
	resize chan executor.Size
	signal chan int

	mu       sync.Mutex
	changed  *sync.Cond
	credit   int    // bytes that the reader still grants
	inbox    []byte // what came for the input and is not yet written, at most wire.Window
	inboxEnd bool   // nothing more comes
	closed   bool
}

// Limits of windows.
const (
	// maxWindows may be open at once through one stream; the master has the same limit.
	maxWindows = 256
	// maxSignals may wait for a command that is being started.
	maxSignals = 4
)

// open begins a window and returns at once.
func (w *windows) open(o *wire.Open) {
	ctx, cancel := context.WithCancel(context.Background())
	stdin, input := io.Pipe()
	one := &window{cancel: cancel, input: input, resize: make(chan executor.Size, 1), signal: make(chan int, maxSignals), credit: wire.Window}
	one.changed = sync.NewCond(&one.mu)
	w.mu.Lock()
	full := len(w.all) >= maxWindows
	if !full {
		w.all[o.Stream] = one
	}
	w.mu.Unlock()
	if full {
		cancel()
		w.wg.Go(func() {
			w.send(&wire.Up{Data: &wire.Data{Stream: o.Stream, End: true, Err: fmt.Sprintf("the node has %d open windows already: close some", maxWindows)}})
		})
		return
	}
	w.wg.Go(func() { one.feed(func(n int) { w.send(&wire.Up{Data: &wire.Data{Stream: o.Stream, Credit: n}}) }) })
	w.wg.Go(func() {
		streams := executor.Streams{Stdout: &output{w: w, one: one, stream: o.Stream},
			Stderr: &output{w: w, one: one, stream: o.Stream, stderr: true}, Stdin: stdin, Resize: one.resize, Signals: one.signal}
		end := &wire.Data{Stream: o.Stream, End: true}
		var err error
		if end.Code, err = w.serve(ctx, o, streams); err != nil && !errors.Is(err, context.Canceled) {
			end.Err = err.Error()
		}
		w.mu.Lock()
		delete(w.all, o.Stream)
		w.mu.Unlock()
		one.end()
		w.send(&wire.Up{Data: end})
	})
}

// data takes a message for a window: input, a new size, credit, or its end.
func (w *windows) data(d *wire.Data) {
	w.mu.Lock()
	one := w.all[d.Stream]
	w.mu.Unlock()
	if one == nil {
		return
	}
	if d.Rows > 0 && d.Columns > 0 {
		select {
		case <-one.resize:
		default:
		}
		one.resize <- executor.Size{Width: uint16(d.Columns), Height: uint16(d.Rows)}
	}
	if n := unix.SignalNum(d.Signal); n != 0 {
		select {
		case one.signal <- int(n):
		default: // the command has not begun, and there are enough
		}
	}
	if d.End && d.Err != "" || !one.take(d) {
		one.end() // also who waits for input, or for room to print, and for nothing else
	}
}

// take counts credit and keeps input; it reports false when more came than was granted.
func (one *window) take(d *wire.Data) bool {
	one.mu.Lock()
	defer one.mu.Unlock()
	one.credit += max(d.Credit, 0)
	if len(one.inbox)+len(d.Bytes) > wire.Window {
		return false
	}
	one.inbox = append(one.inbox, d.Bytes...)
	one.inboxEnd = one.inboxEnd || d.End
	one.changed.Broadcast()
	return true
}

// feed writes what came to the command's input, and grants as much again.
func (one *window) feed(grant func(int)) {
	defer one.input.Close()
	for {
		one.mu.Lock()
		for len(one.inbox) == 0 && !one.inboxEnd && !one.closed {
			one.changed.Wait()
		}
		b, over := one.inbox, one.closed
		one.inbox = nil
		one.mu.Unlock()
		if over || len(b) == 0 {
			return
		}
		for len(b) > 0 { // in pieces, so that a command which reads slowly is granted more before it has read all
			n, err := one.input.Write(b[:min(len(b), wire.ChunkSize)])
			if err != nil {
				return
			}
			b = b[n:]
			grant(n)
		}
	}
}

// end lets go of who serves the window.
func (one *window) end() {
	one.cancel()
	_ = one.input.CloseWithError(io.ErrClosedPipe)
	one.mu.Lock()
	defer one.mu.Unlock()
	one.closed = true
	one.changed.Broadcast()
}

// close ends every window: the stream they belong to is over, and sends nothing any more.
func (w *windows) close() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, one := range w.all {
		one.end()
	}
	clear(w.all)
}

// output sends what is written to it in pieces, as fast as the reader grants.
type output struct {
	w      *windows
	one    *window
	stream uint64
	stderr bool
}

// Write blocks while the reader has granted nothing.
func (o *output) Write(p []byte) (int, error) {
	written := 0
	for len(p) > 0 {
		n, err := o.one.spend(min(len(p), wire.ChunkSize))
		if err != nil {
			return written, err
		}
		o.w.send(&wire.Up{Data: &wire.Data{Stream: o.stream, Bytes: append([]byte(nil), p[:n]...), Stderr: o.stderr}})
		p, written = p[n:], written+n
	}
	return written, nil
}

// spend waits for credit and uses up to want of it.
func (one *window) spend(want int) (int, error) {
	one.mu.Lock()
	defer one.mu.Unlock()
	for one.credit <= 0 && !one.closed {
		one.changed.Wait()
	}
	if one.closed {
		return 0, io.ErrClosedPipe
	}
	n := min(want, one.credit)
	one.credit -= n
	return n, nil
}

// errNoTask says which tasks there are to choose from.
func errNoTask(id spec.AllocationID, app *spec.App, asked spec.TaskName) error {
	names := make([]string, len(app.Tasks))
	for i := range app.Tasks {
		names[i] = string(app.Tasks[i].Name)
	}
	if asked == "" {
		return fmt.Errorf("%s has several tasks: name one of %v", id, names)
	}
	return fmt.Errorf("%s has no task %q; there are %v", id, asked, names)
}
