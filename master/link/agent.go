package link

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// agent is one stream of one node.
type agent struct {
	server  *Server
	node    spec.NodeID
	serial  string // of its certificate
	session uint64 // set by register
	stream  wire.Master
	ctx     context.Context
	cut     context.CancelCauseFunc

	wake chan struct{} // there is something to send
	wg   sync.WaitGroup

	mu         sync.Mutex
	assignment *spec.Assignment // the newest, unless it was sent
	downs      []*wire.Down     // for windows; bounded by their number and credit
	windows    map[uint64]*Window
	last       uint64 // stream number
	over       error  // why there are no more windows
}

// read introduces the agent and then takes what it says, until the stream breaks.
func (a *agent) read() error {
	if err := a.greet(); err != nil {
		return err
	}
	defer a.wg.Wait()
	seen := time.Now()
	a.wg.Go(func() { a.cut(a.write()) })
	defer a.cut(io.EOF)
	for {
		up, err := a.stream.Recv()
		if err != nil {
			return fmt.Errorf("read from agent: %w", err)
		}
		switch {
		case up.Report != nil:
			seen = time.Now()
			err = a.post(control.NodeReported{Node: a.node, Session: a.session, Report: *up.Report})
		case up.Data != nil:
			a.data(up.Data)
		}
		if now := time.Now(); err == nil && now.Sub(seen) >= SeenEvery/2 {
			seen = now
			err = a.post(control.NodeSeen{Node: a.node, Session: a.session})
		}
		if err != nil {
			return err
		}
	}
}

func (a *agent) post(ev control.Event) error {
	if err := a.server.config.Post(a.ctx, ev); err != nil {
		return status.Error(codes.Unavailable, "this master does not lead any more: "+err.Error())
	}
	return nil
}

// greet reads the Hello and answers it.
func (a *agent) greet() error {
	late := time.AfterFunc(HelloTimeout, func() { a.cut(status.Error(codes.DeadlineExceeded, "no hello came")) })
	up, err := a.stream.Recv()
	if !late.Stop() || err != nil {
		return errors.Join(err, context.Cause(a.ctx))
	}
	switch {
	case up.Hello == nil:
		return status.Error(codes.InvalidArgument, "the first message is no hello")
	case up.Hello.Node != a.node:
		return status.Errorf(codes.PermissionDenied, "the agent calls itself %s, its certificate is for %s: join as %s with a token", up.Hello.Node, a.node, up.Hello.Node)
	}
	if err := wire.Compatible(up.Hello.FormatVersion); err != nil {
		return status.Error(codes.FailedPrecondition, err.Error())
	}
	if err := a.server.register(a); err != nil {
		a.server.config.Log.Warn("agent refused", "node", a.node, "error", err)
		return err
	}
	welcome := &wire.Welcome{FormatVersion: wire.FormatVersion, Master: a.server.config.Version}
	if err := a.stream.Send(&wire.Down{Welcome: welcome}); err != nil {
		return err
	}
	a.server.config.Log.Info("agent connected", "node", a.node, "agent", up.Hello.Agent)
	return a.post(control.NodeConnected{Node: a.node, Session: a.session})
}

// finish tells everybody that the stream is over.
func (a *agent) finish() {
	cause := context.Cause(a.ctx)
	a.server.unregister(a)
	a.mu.Lock()
	a.over = fmt.Errorf("the link to node %s broke: %w", a.node, cause)
	for _, w := range a.windows {
		w.fail(a.over)
	}
	clear(a.windows)
	a.mu.Unlock()
	if a.session == 0 {
		return
	}
	a.server.config.Log.Info("agent gone", "node", a.node, "why", cause)
	ctx, cancel := context.WithTimeout(context.Background(), SendTimeout)
	defer cancel()
	// Without a loop there is nobody to tell, and nothing to be done about it.
	_ = a.server.config.Post(ctx, control.NodeDisconnected{Node: a.node, Session: a.session})
}

func (a *agent) assign(as *spec.Assignment) {
	a.mu.Lock()
	a.assignment = as
	a.mu.Unlock()
	a.nudge()
}

func (a *agent) queue(d *wire.Down) {
	a.mu.Lock()
	a.downs = append(a.downs, d)
	a.mu.Unlock()
	a.nudge()
}

func (a *agent) nudge() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// next takes what is to be sent next: assignments overtake windows.
func (a *agent) next() *wire.Down {
	a.mu.Lock()
	defer a.mu.Unlock()
	if as := a.assignment; as != nil {
		a.assignment = nil
		return &wire.Down{Assignment: as}
	}
	if len(a.downs) == 0 {
		return nil
	}
	d := a.downs[0]
	a.downs[0] = nil
	if a.downs = a.downs[1:]; len(a.downs) == 0 {
		a.downs = nil
	}
	return d
}

// write sends what is queued until the stream is over.
func (a *agent) write() error {
	for {
		d := a.next()
		if d == nil {
			select {
			case <-a.wake:
				continue
			case <-a.ctx.Done():
				return context.Cause(a.ctx)
			}
		}
		slow := time.AfterFunc(SendTimeout, func() { a.cut(errors.New("the agent does not read what it is sent")) })
		err := a.stream.Send(d)
		slow.Stop()
		if err != nil {
			return fmt.Errorf("send to agent: %w", err)
		}
	}
}
