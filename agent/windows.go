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
)

// windows are the open views into allocations that people have through the master: logs and exec.
type windows struct {
	logs func(ctx context.Context, o *wire.Open, w io.Writer, stderr io.Writer) error
	exec func(ctx context.Context, o *wire.Open, s executor.Streams) (executor.Exit, error)
	send func(*wire.Up)

	mu  sync.Mutex
	all map[uint64]*window
	wg  sync.WaitGroup
}

// window is one of them.
type window struct {
	cancel context.CancelFunc
	input  *io.PipeWriter
	inbox  chan []byte // what came for the input and is not yet written; nil is its end
	resize chan executor.Size

	mu     sync.Mutex
	room   *sync.Cond
	credit int // bytes that the reader still grants
	closed bool
}

// open begins a window and returns at once.
func (w *windows) open(o *wire.Open) {
	ctx, cancel := context.WithCancel(context.Background())
	reader, writer := io.Pipe()
	one := &window{cancel: cancel, input: writer, resize: make(chan executor.Size, 1), credit: wire.Window,
		inbox: make(chan []byte, wire.Window/1024)}
	one.room = sync.NewCond(&one.mu)
	w.mu.Lock()
	if w.all == nil {
		w.all = map[uint64]*window{}
	}
	w.all[o.Stream] = one
	w.mu.Unlock()
	w.wg.Go(func() { one.feed(ctx, func(n int) { w.send(&wire.Up{Data: &wire.Data{Stream: o.Stream, Credit: n}}) }) })
	w.wg.Go(func() {
		end := w.serve(ctx, o, one, reader)
		end.Stream, end.End = o.Stream, true
		w.close(o.Stream)
		w.send(&wire.Up{Data: end})
	})
}

func (w *windows) serve(ctx context.Context, o *wire.Open, one *window, stdin io.Reader) *wire.Data {
	stdout := &output{w: w, one: one, stream: o.Stream}
	stderr := &output{w: w, one: one, stream: o.Stream, stderr: true}
	var err error
	end := &wire.Data{}
	switch {
	case o.Logs != nil:
		err = w.logs(ctx, o, stdout, stderr)
	case o.Exec != nil:
		streams := executor.Streams{Stdout: stdout, Stderr: stderr, Resize: one.resize}
		if o.Exec.Stdin {
			streams.Stdin = stdin
		}
		var e executor.Exit
		if e, err = w.exec(ctx, o, streams); err == nil {
			end.Code = e.Code
		}
	default:
		err = errors.New("this agent is too old for what was asked: upgrade it")
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		end.Err = err.Error()
	}
	return end
}

// data takes a message for a window: input, a new size, credit, or its end.
func (w *windows) data(d *wire.Data) {
	w.mu.Lock()
	one := w.all[d.Stream]
	w.mu.Unlock()
	if one == nil {
		return
	}
	if d.Credit > 0 {
		one.mu.Lock()
		one.credit += d.Credit
		one.mu.Unlock()
		one.room.Broadcast()
	}
	if d.Rows > 0 && d.Columns > 0 {
		select {
		case <-one.resize:
		default:
		}
		one.resize <- executor.Size{Width: uint16(d.Columns), Height: uint16(d.Rows)}
	}
	if len(d.Bytes) > 0 {
		select {
		case one.inbox <- d.Bytes:
		default:
			one.cancel() // it sent more than it was granted
		}
	}
	if d.End {
		if d.Err != "" {
			one.cancel()
			return
		}
		select {
		case one.inbox <- nil:
		default:
			one.cancel()
		}
	}
}

// feed writes what came to the command's input, and grants as much again.
func (one *window) feed(ctx context.Context, grant func(int)) {
	defer one.input.Close()
	for {
		select {
		case b := <-one.inbox:
			if b == nil {
				return
			}
			if _, err := one.input.Write(b); err != nil {
				return
			}
			grant(len(b))
		case <-ctx.Done():
			return
		}
	}
}

func (w *windows) close(stream uint64) {
	w.mu.Lock()
	one := w.all[stream]
	delete(w.all, stream)
	w.mu.Unlock()
	if one != nil {
		one.end()
	}
}

func (one *window) end() {
	one.cancel()
	_ = one.input.CloseWithError(io.ErrClosedPipe)
	one.mu.Lock()
	one.closed = true
	one.mu.Unlock()
	one.room.Broadcast()
}

// closeAll ends every window: the link they belong to is gone.
func (w *windows) closeAll() {
	w.mu.Lock()
	all := w.all
	w.all = nil
	w.mu.Unlock()
	for _, one := range all {
		one.end()
	}
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
		n, err := o.one.take(min(len(p), wire.ChunkSize))
		if err != nil {
			return written, err
		}
		o.w.send(&wire.Up{Data: &wire.Data{Stream: o.stream, Bytes: append([]byte(nil), p[:n]...), Stderr: o.stderr}})
		p, written = p[n:], written+n
	}
	return written, nil
}

// take waits for credit and uses up to want of it.
func (one *window) take(want int) (int, error) {
	one.mu.Lock()
	defer one.mu.Unlock()
	for one.credit <= 0 && !one.closed {
		one.room.Wait()
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
