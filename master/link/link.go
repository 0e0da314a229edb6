// Package link is the master's end of the agents' streams: it takes their reports to the loop, brings them the newest
// assignment, and opens windows (logs, exec) into their tasks.
//
//	agent ──Hello──► check name ──► Connected ─► one reader: reports ──► Post (waits when the loop is busy)
//	      ◄─Welcome─                          └► one writer: newest assignment, windows' pieces within their credit
//
// An agent is known by its certificate; what it says of itself must agree. A second stream with the same certificate ends
// the first: that agent came back sooner than its loss was noticed. One with another certificate is another agent under the
// same name, and is refused while the first lives. An agent that does not read for SendTimeout is cut: when it comes back it gets what is newest, once.
package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
)

// Timings and limits of the link.
const (
	// HelloTimeout bounds how long a connected peer may take to introduce itself.
	HelloTimeout = 10 * time.Second
	// SendTimeout is how long an agent may leave its stream unread.
	SendTimeout = 10 * time.Second
	// SeenEvery is how often signs of life are passed on; several fit into spec.NodeUnknownAfter.
	SeenEvery = 2 * time.Second
	// MaxWindows that may be open into one node.
	MaxWindows = 256
	// probeAfter and probeTimeout notice a peer whose machine is gone within three seconds.
	probeAfter, probeTimeout = 2 * time.Second, time.Second
)

// Config says what a Server works with.
type Config struct {
	Version string // of the master's program
	// Leader returns the address of the link of the master that leads, and whether it is this one. With neither, agents are
	// asked to try again.
	Leader func() (address string, me bool)
	// Post passes events to the loop. It waits while the loop is busy, and fails when there is no loop any more.
	Post func(ctx context.Context, events ...control.Event) error
	Log  *slog.Logger
}

// Server serves the agents. Its methods may be called from any goroutine.
type Server struct {
	config Config
	wg     sync.WaitGroup

	mu      sync.Mutex
	session uint64
	agents  map[spec.NodeID]*agent
	closed  bool
}

// New returns a server that numbers its sessions upwards from the present time, so that those of a restarted master are
// higher than all before.
func New(config Config) *Server {
	return &Server{config: config, session: uint64(time.Now().UnixNano()), agents: map[spec.NodeID]*agent{}}
}

// Options are what the gRPC server of the link needs.
func Options(a *identity.Authority) []grpc.ServerOption {
	return append(wire.ServerOptions(),
		grpc.Creds(credentials.NewTLS(a.TLS(true, "h2"))),
		grpc.KeepaliveParams(keepalive.ServerParameters{Time: probeAfter, Timeout: probeTimeout}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: time.Second, PermitWithoutStream: true}),
		grpc.ConnectionTimeout(HelloTimeout), grpc.MaxConcurrentStreams(16),
		grpc.InitialWindowSize(1<<20), grpc.InitialConnWindowSize(4<<20),
	)
}

// Attach serves one stream of an agent until it breaks. It implements wire.Server.
func (s *Server) Attach(stream wire.Master) error {
	node, serial, err := peerNode(stream.Context())
	if err != nil {
		return err
	}
	if s.config.Leader != nil {
		if address, me := s.config.Leader(); !me {
			return s.elsewhere(stream, address)
		}
	}
	ctx, cut := context.WithCancelCause(stream.Context())
	defer cut(nil)
	a := &agent{server: s, node: node, serial: serial, stream: stream, ctx: ctx, cut: cut, wake: make(chan struct{}, 1), windows: map[uint64]*Window{}}
	if !s.hold() {
		return status.Error(codes.Unavailable, "this master is stopping")
	}
	// The reader outlives this function by the moment that gRPC needs to end its Recv; Close waits for it.
	go func() {
		defer s.wg.Done()
		a.cut(a.read())
	}()
	<-ctx.Done()
	a.finish()
	return outcome(context.Cause(ctx))
}

// hold counts a goroutine that Close waits for.
func (s *Server) hold() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	s.wg.Add(1)
	return true
}

func (s *Server) elsewhere(stream wire.Master, address string) error {
	if address == "" {
		return status.Error(codes.Unavailable, "no master leads at the moment; try again")
	}
	return stream.Send(&wire.Down{Welcome: &wire.Welcome{FormatVersion: wire.FormatVersion, Master: s.config.Version, Leader: address}})
}

// peerNode returns the node in the certificate of the stream's peer, and the certificate's serial number.
func peerNode(ctx context.Context) (spec.NodeID, string, error) {
	if p, ok := peer.FromContext(ctx); ok {
		if info, ok := p.AuthInfo.(credentials.TLSInfo); ok {
			if node, ok := identity.AgentOf(&info.State); ok {
				return node, info.State.PeerCertificates[0].SerialNumber.String(), nil
			}
		}
	}
	return "", "", status.Error(codes.Unauthenticated, "the certificate is not that of an agent: join with a token first")
}

// errReplaced ends a stream whose node opened another one.
var errReplaced = errors.New("the agent opened another stream; does a copy of its data directory run elsewhere?")

func outcome(err error) error {
	var st interface{ GRPCStatus() *status.Status }
	switch {
	case err == nil, errors.As(err, &st):
		return err
	case errors.Is(err, errReplaced):
		return status.Error(codes.Aborted, err.Error())
	default:
		return status.Error(codes.Unavailable, err.Error())
	}
}

// register makes a the node's stream, and ends the one before. The agent of a living stream has the name: another one,
// with a certificate of its own, is refused. A stream whose peer is gone lives for probeAfter and probeTimeout.
func (s *Server) register(a *agent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return status.Error(codes.Unavailable, "this master is stopping")
	}
	if a.ctx.Err() != nil {
		return context.Cause(a.ctx) // finish has run, or will, and must find nothing that it does not know
	}
	if old := s.agents[a.node]; old != nil {
		if old.serial != a.serial && old.ctx.Err() == nil {
			return status.Errorf(codes.AlreadyExists, "another agent is linked as %s: give one of the two another name with --node, or stop the other", a.node)
		}
		old.cut(errReplaced)
	}
	s.session++
	a.session = s.session
	s.agents[a.node] = a
	return nil
}

func (s *Server) unregister(a *agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.agents[a.node] == a {
		delete(s.agents, a.node)
	}
}

func (s *Server) agent(node spec.NodeID) *agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.agents[node]
}

// Send gives a session its newest assignment, in place of one that was not sent yet. A session that is over gets nothing.
func (s *Server) Send(node spec.NodeID, session uint64, assignment spec.Assignment) {
	if a := s.agent(node); a != nil && a.session == session {
		a.assign(&assignment)
	}
}

// Disconnect ends a session.
func (s *Server) Disconnect(node spec.NodeID, session uint64, why string) {
	if a := s.agent(node); a != nil && a.session == session {
		a.cut(errors.New(why))
	}
}

// Reset ends all sessions: the agents connect again, with full reports.
func (s *Server) Reset(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range s.agents {
		a.cut(errors.New(why))
	}
}

// Linked reports whether the agent of a node has a stream.
func (s *Server) Linked(node spec.NodeID) bool { return s.agent(node) != nil }

// Connected returns how many agents have a stream.
func (s *Server) Connected() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.agents)
}

// Close ends all sessions and waits for what serves them. The gRPC server is stopped by its owner, before or meanwhile.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	for _, a := range s.agents {
		a.cut(errors.New("this master is stopping"))
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Open opens a window into an allocation on a node. Its Stream is chosen here.
func (s *Server) Open(node spec.NodeID, open wire.Open) (*Window, error) {
	a := s.agent(node)
	if a == nil {
		return nil, fmt.Errorf("node %s is not in touch with the master: look at stowage node show %s", node, node)
	}
	return a.open(open)
}
