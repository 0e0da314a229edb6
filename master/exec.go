package master

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/master/link"
	"github.com/stowage/stowage/spec/wire"
	"github.com/stowage/stowage/spec/wire/credit"
	"github.com/stowage/stowage/spec/wire/peer"
)

// maxTerm bounds the name of a kind of terminal, in bytes.
const maxTerm = 64

// command reads what is to be run, and how.
func command(c *server.Call) (*wire.Exec, error) {
	q := c.URL.Query()
	e := &wire.Exec{Command: q["command"]}
	var err error
	if e.Terminal, err = flag(q.Get("terminal"), false); err != nil {
		return nil, err
	}
	if e.Stdin, err = flag(q.Get("stdin"), false); err != nil {
		return nil, err
	}
	if e.Rows, err = number(q.Get("rows"), 0); err != nil {
		return nil, err
	}
	if e.Columns, err = number(q.Get("columns"), 0); err != nil {
		return nil, err
	}
	e.Term = q.Get("term")
	switch {
	case strings.ContainsFunc(e.Term, unicode.IsControl) || len(e.Term) > maxTerm:
		return nil, badRequest("term is no kind of terminal", "name one such as xterm-256color")
	case len(e.Command) == 0:
		return nil, badRequest("no command is given", "name it with command=, once for each argument")
	case c.ProtoMajor != 1 || !strings.EqualFold(c.Header.Get("Upgrade"), api.ExecProtocol):
		return nil, &api.Error{Status: http.StatusUpgradeRequired, Message: "this needs an upgrade of the connection", Remedy: "ask over HTTP/1.1 with Connection: Upgrade and Upgrade: " + api.ExecProtocol}
	}
	return e, nil
}

// exec runs a command in a task: the connection becomes a stream of frames in both directions.
func (m *Master) exec(w http.ResponseWriter, c *server.Call) error {
	e, err := command(c)
	if err != nil {
		return err
	}
	granting, err := flag(c.URL.Query().Get("credit"), false)
	if err != nil {
		return err
	}
	win, err := m.window(c, wire.Open{Exec: e})
	if err != nil {
		return err
	}
	defer win.Close()
	conn, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return fmt.Errorf("take over connection: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Time{}); err != nil {
		return stop(err)
	}
	said := ""
	if granting {
		said = fmt.Sprintf("%s: %d\r\n", api.CreditHeader, credit.Window)
	}
	if _, err := fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: %s\r\n%s\r\n", api.ExecProtocol, said); err != nil {
		return stop(err)
	}
	m.config.Log.Info("exec", "who", c.Who, "allocation", c.PathValue("id"), "command", e.Command)
	d := dialogue{conn: conn, win: win, granting: granting, queue: credit.NewQueue(), idle: cmp.Or(m.config.IdleTime, idleTime)}
	return stop(d.run(c.Context(), buffered))
}

// dialogue is a command and its client.
type dialogue struct {
	conn  net.Conn
	win   *link.Window
	idle  time.Duration
	timer *time.Timer // ends it when nothing moves

	queue    *credit.Queue // input on its way to the command
	granting bool          // the client waits for credit

	write sync.Mutex // one frame at a time
	over  bool       // the last one was written
}

// run passes on what either says until the command has ended or the client is gone.
func (d *dialogue) run(ctx context.Context, from io.Reader) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	d.timer = time.AfterFunc(d.idle, func() {
		d.win.Fail(fmt.Errorf("nothing was typed or printed for %s: the command was hung up", d.idle))
	})
	defer d.timer.Stop()
	client := peer.Of(d.conn)
	var watch sync.WaitGroup
	watch.Go(func() {
		if client.Gone() {
			cancel()
			_ = d.conn.SetDeadline(time.Unix(1, 0))
		}
	})
	defer watch.Wait()
	defer client.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer cancel()
		d.input(from)
	}()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		d.feed(ctx)
	}()
	beating, stopBeating := context.WithCancel(ctx)
	beat := make(chan struct{})
	go func() {
		defer close(beat)
		for pause(beating, execAlive) {
			_ = d.locked(func() error { return api.WriteFrame(d.conn, api.FrameStdout, nil) })
		}
	}()
	err := d.output(ctx)
	stopBeating()
	<-beat
	cancel() // nobody reads what would still be fed
	d.queue.Close()
	<-fed
	hangUp(d.conn, done)
	return err
}

// output passes on what the command prints, and its end.
func (d *dialogue) output(ctx context.Context) error {
	for {
		piece, err := d.win.Read(ctx)
		if ctx.Err() != nil {
			return err
		}
		if err != nil {
			piece = wire.Data{End: true, Err: err.Error()}
		}
		d.timer.Reset(d.idle)
		if err := d.locked(func() error { d.over = piece.End; return writePiece(d.conn, piece, true) }); err != nil || piece.End {
			return err
		}
	}
}

func (d *dialogue) locked(write func() error) error {
	d.write.Lock()
	defer d.write.Unlock()
	if d.over {
		return nil
	}
	if err := d.conn.SetWriteDeadline(time.Now().Add(execTimeout)); err != nil {
		return err
	}
	return write()
}

// idleTime is how long a command may neither read nor print, without a setting: a shell that was left open overnight is closed.
const idleTime = 4 * time.Hour

// hangUpWithin is how long a client may take to close a connection whose last frame it was sent.
const hangUpWithin = 2 * time.Second

// hangUp ends a connection so that the last frame arrives: closing it with input unread would have the system throw away
// what the client has not read yet. done is closed when the reading of input has ended.
func hangUp(conn net.Conn, done <-chan struct{}) {
	if half, ok := conn.(interface{ CloseWrite() error }); ok && half.CloseWrite() == nil {
		timer := time.NewTimer(hangUpWithin)
		defer timer.Stop()
		select {
		case <-done:
		case <-timer.C:
		}
	}
	_ = conn.Close() // ends the reading of input
	<-done
}

// maxSignalName bounds the name of a signal, in bytes.
const maxSignalName = 16

// execAlive is how often the client of a command gets an empty frame. When a client dies whose input the command does not read, the end of
// its connection waits behind that input; what is sent to it is then answered by its system.
const execAlive = 2 * time.Second

// execTimeout is how long the reader of a command's output may leave it unread.
const execTimeout = 10 * time.Minute

// feed passes input on to the command, as fast as that reads, and grants the client as much again.
func (d *dialogue) feed(ctx context.Context) {
	for {
		p, ok := d.queue.Get()
		if !ok {
			break
		}
		if err := d.win.Write(ctx, p); err != nil && ctx.Err() != nil {
			return // else the command has ended: what still comes is dropped
		}
		d.queue.Done(len(p))
		if d.granting {
			_ = d.locked(func() error { return api.WriteJSONFrame(d.conn, api.FrameCredit, api.Credit{Bytes: len(p)}) })
		}
	}
	if ctx.Err() == nil {
		d.win.CloseWrite()
	}
}

// input takes what the client sends, until the client is gone. What is for the command waits in a queue, so that a signal passes by it.
func (d *dialogue) input(r io.Reader) {
	win := d.win
	for {
		kind, payload, err := api.ReadFrame(r)
		if err != nil {
			return
		}
		d.timer.Reset(d.idle)
		switch kind {
		case api.FrameStdin:
			if len(payload) == 0 {
				d.queue.End()
			} else {
				d.queue.Put(payload)
			}
		case api.FrameResize:
			var s api.Size
			if json.Unmarshal(payload, &s) == nil && s.Rows > 0 && s.Columns > 0 {
				win.Resize(s.Rows, s.Columns)
			}
		case api.FrameSignal:
			var s api.Signal
			if json.Unmarshal(payload, &s) == nil && s.Signal != "" && len(s.Signal) <= maxSignalName {
				win.Signal(s.Signal)
			}
		}
	}
}
