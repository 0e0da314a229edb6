package agent

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
)

const (
	// heartbeat is how often an agent with nothing to say shows that it lives: several of them fit into spec.NodeUnknownAfter.
	heartbeat = 2 * time.Second
	// firstRetry and lastRetry bound the pause between two attempts to reach the master.
	firstRetry, lastRetry = 100 * time.Millisecond, 5 * time.Second
	// welcomeWithin bounds how long a master may take to answer the Hello.
	welcomeWithin = 10 * time.Second
	// maxQueued reports may wait for a slow link; beyond it the link is cut, and the next one begins with a full report.
	maxQueued = 1024
)

// link is the agent's stream to the master. It reconnects for ever, with growing, jittered pauses.
type link struct {
	node     spec.NodeID
	version  string
	identity *identity
	tell     func(node.Event)
	serve    func(ctx context.Context, o *wire.Open, s executor.Streams) (code int, err error) // a window
	serving  sync.WaitGroup                                                                    // of windows
	log      *slog.Logger
	leader   string // where a master that does not lead sent us; "" is the master of the identity

	mu      sync.Mutex
	present *outlet // nil while there is no stream
}

// outlet is the sending half of one stream. Reports overtake the bulk of open windows.
type outlet struct {
	ctx     context.Context
	cut     context.CancelCauseFunc
	reports chan *wire.Up
	bulk    chan *wire.Up
}

// report queues a report for the present stream; without one it is dropped, as the next stream begins with a full report.
func (l *link) report(r *spec.Report) {
	l.mu.Lock()
	o := l.present
	l.mu.Unlock()
	if o == nil {
		return
	}
	select {
	case o.reports <- &wire.Up{Report: r}:
	default:
		o.cut(errors.New("the master reads too slowly"))
	}
}

// pass sends a piece of a window, and waits while the link is busy. After the end of the stream it is dropped: so is the window.
func (o *outlet) pass(up *wire.Up) {
	select {
	case o.bulk <- up:
	case <-o.ctx.Done():
	}
}

func (l *link) setPresent(o *outlet) {
	l.mu.Lock()
	l.present = o
	l.mu.Unlock()
}

// run keeps the link up until the context ends.
func (l *link) run(ctx context.Context) error {
	wait := firstRetry
	for ctx.Err() == nil {
		began := time.Now()
		err := l.attach(ctx)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > lastRetry {
			wait = firstRetry
		}
		l.log.Warn("no link to the master; tasks run on, trying again", "master", l.master(), "error", err, "pause", wait)
		if !errors.Is(err, errElsewhere) {
			l.leader = "" // it may be gone for good
		}
		if !pause(ctx, wait/2+rand.N(wait)) {
			return nil
		}
		wait = min(wait*2, lastRetry)
	}
	return nil
}

// master is where the next stream goes.
func (l *link) master() string { return cmp.Or(l.leader, l.identity.now.Load().Link) }

// errElsewhere ends a stream to a master that does not lead.
var errElsewhere = errors.New("this master does not lead")

// attach opens one stream and serves it until it breaks.
func (l *link) attach(parent context.Context) error {
	ctx, cut := context.WithCancelCause(parent)
	defer cut(nil)
	handshakes := &handshakes{TransportCredentials: credentials.NewTLS(l.identity.tls())}
	conn, err := grpc.NewClient(l.master(), grpc.WithTransportCredentials(handshakes),
		grpc.WithConnectParams(grpc.ConnectParams{Backoff: backoff.DefaultConfig, MinConnectTimeout: welcomeWithin}),
		grpc.WithKeepaliveParams(keepalive.ClientParameters{Time: 10 * time.Second, Timeout: 5 * time.Second}))
	if err != nil {
		return fmt.Errorf("open link: %w", err)
	}
	defer conn.Close()
	stream, err := wire.Attach(ctx, conn)
	if err == nil {
		err = l.greet(ctx, cut, stream)
	}
	if failed := handshakes.failed.Load(); err != nil && failed != nil {
		err = *failed // gRPC keeps its text only
	}
	if err != nil {
		return l.identity.explain(err)
	}
	o := &outlet{ctx: ctx, cut: cut, reports: make(chan *wire.Up, maxQueued), bulk: make(chan *wire.Up)}
	l.setPresent(o)
	l.log.Info("linked to the master", "master", l.master())
	var writer sync.WaitGroup
	writer.Go(func() { cut(o.write(stream)) })
	l.tell(node.Connected{})
	views := &windows{serve: l.serve, send: o.pass, wg: &l.serving, all: map[uint64]*window{}}
	err = l.read(stream, views)
	cut(err)
	l.setPresent(nil)
	views.close()
	l.tell(node.Disconnected{})
	writer.Wait()
	if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// handshakes remembers why the last one failed.
type handshakes struct {
	credentials.TransportCredentials
	failed atomic.Pointer[error]
}

// ClientHandshake implements credentials.TransportCredentials.
func (h *handshakes) ClientHandshake(ctx context.Context, authority string, raw net.Conn) (net.Conn, credentials.AuthInfo, error) {
	conn, info, err := h.TransportCredentials.ClientHandshake(ctx, authority, raw)
	if h.failed.Store(nil); err != nil {
		h.failed.Store(&err)
	}
	return conn, info, err
}

// Clone implements credentials.TransportCredentials. gRPC makes one for each connection, and there is one.
func (h *handshakes) Clone() credentials.TransportCredentials { return h }

// greet says who this is and waits for the answer.
func (l *link) greet(ctx context.Context, cut context.CancelCauseFunc, stream wire.Agent) error {
	late := time.AfterFunc(welcomeWithin, func() { cut(errors.New("the master accepts the connection and does not answer")) })
	defer late.Stop()
	hello := &wire.Hello{FormatVersion: wire.FormatVersion, Node: l.node, Agent: l.version}
	if err := stream.Send(&wire.Up{Hello: hello}); err != nil && err != io.EOF {
		return fmt.Errorf("greet master: %w", err)
	}
	down, err := stream.Recv()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			return cause
		}
		return fmt.Errorf("greet master: %w", err)
	}
	switch {
	case down.Welcome == nil:
		return errors.New("greet master: its first message is no welcome")
	case down.Welcome.Leader != "":
		l.leader = down.Welcome.Leader
		return fmt.Errorf("%w; going to %s", errElsewhere, down.Welcome.Leader)
	}
	return wire.Compatible(down.Welcome.FormatVersion)
}

func (l *link) read(stream wire.Agent, views *windows) error {
	for {
		down, err := stream.Recv()
		switch {
		case err != nil:
			return err
		case down.Assignment != nil:
			l.tell(node.Assigned{Assignment: *down.Assignment})
		case down.Open != nil:
			views.open(down.Open)
		case down.Data != nil:
			views.data(down.Data)
		}
	}
}

// write sends what is queued, and a sign of life when there is nothing for a while.
func (o *outlet) write(stream wire.Agent) error {
	tick := time.NewTicker(heartbeat)
	defer tick.Stop()
	for {
		var up *wire.Up
		select {
		case up = <-o.reports:
		default:
			select {
			case up = <-o.reports:
			case up = <-o.bulk:
			case <-tick.C:
				up = &wire.Up{}
			case <-o.ctx.Done():
				return o.ctx.Err()
			}
		}
		if err := stream.Send(up); err != nil {
			return fmt.Errorf("send to master: %w", err)
		}
	}
}
