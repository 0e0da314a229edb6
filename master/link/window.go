package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/stowage/stowage/spec/wire"
)

// Window is an open view into a task: its logs, or a command that runs in it. Each direction moves within a credit, so
// that a reader who is slow holds up nothing but itself. Reading is for one goroutine, writing for another.
type Window struct {
	id    uint64
	agent *agent

	mu      sync.Mutex
	changed chan struct{} // closed when something below changed, then replaced
	pieces  []wire.Data   // arrived and not yet read
	room    int           // bytes that the agent may still send
	eaten   int           // bytes read and not yet granted again
	credit  int           // bytes that may still be written
	ended   bool          // the agent's End has arrived
	err     error         // the window broke
	shut    bool          // closed on this side
	written bool          // CloseWrite was called
	signals int           // passed on
}

func (a *agent) open(o wire.Open) (*Window, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.over != nil {
		return nil, a.over
	}
	if len(a.windows) >= MaxWindows {
		return nil, fmt.Errorf("node %s has %d open windows already: close some", a.node, len(a.windows))
	}
	a.last++
	o.Stream = a.last
	w := &Window{id: o.Stream, agent: a, changed: make(chan struct{}), room: wire.Window, credit: wire.Window}
	a.windows[w.id] = w
	a.downs = append(a.downs, &wire.Down{Open: &o})
	a.nudge()
	return w, nil
}

// data takes a piece from the agent. It never waits: what may be on the way is bounded by the credit.
func (a *agent) data(d *wire.Data) {
	a.mu.Lock()
	w := a.windows[d.Stream]
	if w != nil && d.End {
		delete(a.windows, d.Stream)
	}
	a.mu.Unlock()
	if w != nil { // else it was closed here meanwhile
		w.take(d)
	}
}

func (w *Window) take(d *wire.Data) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.shut || w.ended || w.err != nil {
		return
	}
	w.credit += max(d.Credit, 0)
	w.room -= len(d.Bytes)
	switch {
	case w.room < 0:
		w.err = errors.New("the agent sent more than it was allowed to")
	case len(d.Bytes) > 0 || d.End:
		w.ended = d.End
		w.pieces = append(w.pieces, *d)
	}
	w.change()
}

// change wakes who waits. The lock is held.
func (w *Window) change() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Fail breaks the window for a reason, which whoever reads it gets. The agent hears of it with Close.
func (w *Window) Fail(err error) { w.fail(err) }

func (w *Window) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.ended && w.err == nil {
		w.err = err
		w.change()
	}
}

// Read returns the next piece. The last one has End set, with the exit code of a command, or why the window failed;
// after it Read returns io.EOF.
func (w *Window) Read(ctx context.Context) (wire.Data, error) {
	for {
		w.mu.Lock()
		if len(w.pieces) > 0 {
			d := w.pieces[0]
			w.pieces = w.pieces[1:]
			grant := w.eat(len(d.Bytes))
			w.mu.Unlock()
			if grant > 0 {
				w.agent.queue(&wire.Down{Data: &wire.Data{Stream: w.id, Credit: grant}})
			}
			return d, nil
		}
		err, ended, changed := w.err, w.ended, w.changed
		w.mu.Unlock()
		switch {
		case err != nil:
			return wire.Data{}, err
		case ended:
			return wire.Data{}, io.EOF
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return wire.Data{}, ctx.Err()
		}
	}
}

// eat counts what was read, and returns what to grant: in portions, so that credit costs few messages.
func (w *Window) eat(n int) int {
	w.eaten += n
	if w.ended || w.eaten < wire.Window/4 {
		return 0
	}
	grant := w.eaten
	w.room += grant
	w.eaten = 0
	return grant
}

// Write sends bytes to a command's standard input. It waits while the command does not read.
func (w *Window) Write(ctx context.Context, p []byte) error {
	for len(p) > 0 {
		w.mu.Lock()
		n := min(len(p), w.credit, wire.ChunkSize)
		w.credit -= n
		err, ended, changed := w.err, w.ended || w.shut || w.written, w.changed
		w.mu.Unlock()
		switch {
		case err != nil:
			return err
		case ended:
			return io.ErrClosedPipe
		case n > 0:
			w.agent.queue(&wire.Down{Data: &wire.Data{Stream: w.id, Bytes: append([]byte(nil), p[:n]...)}})
			p = p[n:]
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// CloseWrite ends the command's standard input. It may be called more than once.
func (w *Window) CloseWrite() {
	w.mu.Lock()
	again := w.written
	w.written = true
	w.mu.Unlock()
	if !again {
		w.agent.queue(&wire.Down{Data: &wire.Data{Stream: w.id, End: true}})
	}
}

// Resize tells a terminal's new size. Of sizes that wait to be sent the newest goes.
func (w *Window) Resize(rows, columns int) {
	a := w.agent
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, d := range a.downs {
		if d.Data != nil && d.Data.Stream == w.id && d.Data.Rows > 0 {
			d.Data.Rows, d.Data.Columns = rows, columns
			return
		}
	}
	a.downs = append(a.downs, &wire.Down{Data: &wire.Data{Stream: w.id, Rows: rows, Columns: columns}})
	a.nudge()
}

// Signal sends a signal, by its name, to the command and what it has started.
func (w *Window) Signal(name string) {
	w.mu.Lock()
	again := w.signals >= maxSignals
	w.signals++
	w.mu.Unlock()
	if !again {
		w.agent.queue(&wire.Down{Data: &wire.Data{Stream: w.id, Signal: name}})
	}
}

// maxSignals that one window passes on: they have no credit, and a person sends a few.
const maxSignals = 1000

// Close ends the window from this side: the agent stops what it was doing for it. It may be called more than once.
func (w *Window) Close() {
	w.mu.Lock()
	over := w.shut || w.ended
	w.shut = true
	w.pieces = nil
	w.change()
	w.mu.Unlock()
	a := w.agent
	a.mu.Lock()
	_, open := a.windows[w.id]
	delete(a.windows, w.id)
	a.mu.Unlock()
	if open && !over {
		a.queue(&wire.Down{Data: &wire.Data{Stream: w.id, End: true, Err: "closed"}})
	}
}

// All reads what the agent says until its end, up to a number of bytes.
func (w *Window) All(ctx context.Context, most int) ([]byte, error) {
	var all []byte
	for {
		d, err := w.Read(ctx)
		switch {
		case err != nil:
			return nil, err
		case d.Err != "":
			return nil, errors.New(d.Err)
		case len(all)+len(d.Bytes) > most:
			return nil, fmt.Errorf("node %s says more than %d bytes", w.agent.node, most)
		}
		if all = append(all, d.Bytes...); d.End {
			return all, nil
		}
	}
}
