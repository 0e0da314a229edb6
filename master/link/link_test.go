package link

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/status"
)

const patience = 2 * time.Minute

// bench is a link with a loop that only collects.
type bench struct {
	authority *identity.Authority
	server    *Server
	address   string
	events    chan control.Event
}

func newBench(t testing.TB, leader func() (string, bool), post func(control.Event)) *bench {
	t.Helper()
	a, err := identity.OpenAuthority(t.TempDir(), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	b := &bench{authority: a, events: make(chan control.Event, 1000)}
	if post == nil {
		post = func(ev control.Event) { b.events <- ev }
	}
	b.server = New(Config{Version: "test", Leader: leader, Log: slog.New(slog.DiscardHandler), Post: func(ctx context.Context, events ...control.Event) error {
		for _, ev := range events {
			post(ev)
		}
		return nil
	}})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.address = l.Addr().String()
	g := grpc.NewServer(Options(a)...)
	wire.Register(g, b.server)
	done := make(chan error, 1)
	go func() { done <- g.Serve(l) }()
	t.Cleanup(func() {
		b.server.Reset("the test is over")
		g.Stop()
		b.server.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return b
}

// dial opens a stream as a node, with a new certificate for it.
func (b *bench) dial(t testing.TB, node spec.NodeID) wire.Agent {
	t.Helper()
	return b.dialWith(t, b.certify(t, node))
}

func (b *bench) certify(t testing.TB, node spec.NodeID) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	text, err := b.authority.SignAgent(node, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	return tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
}

func (b *bench) dialWith(t testing.TB, certificate tls.Certificate) wire.Agent {
	t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(b.authority.PEM()))
	conn, err := grpc.NewClient("passthrough:///"+b.address, grpc.WithTransportCredentials(credentials.NewTLS(&tls.Config{
		RootCAs: roots, Certificates: []tls.Certificate{certificate}})))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); conn.Close() })
	stream, err := wire.Attach(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

func (b *bench) attach(t testing.TB, node spec.NodeID) wire.Agent {
	t.Helper()
	return b.attachWith(t, node, b.certify(t, node))
}

func (b *bench) attachWith(t testing.TB, node spec.NodeID, certificate tls.Certificate) wire.Agent {
	t.Helper()
	s := b.dialWith(t, certificate)
	if err := s.Send(&wire.Up{Hello: &wire.Hello{FormatVersion: wire.FormatVersion, Node: node}}); err != nil {
		t.Fatal(err)
	}
	if down, err := s.Recv(); err != nil || down.Welcome == nil || down.Welcome.Master != "test" {
		t.Fatalf("%+v, %v", down, err)
	}
	return s
}

// next returns the next event of a type, others are passed over.
func next[T control.Event](t *testing.T, b *bench) T {
	t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case ev := <-b.events:
			if e, ok := ev.(T); ok {
				return e
			}
		case <-timeout:
			var zero T
			t.Fatalf("no %T came", zero)
		}
	}
}

func TestASessionFromBeginningToEnd(t *testing.T) {
	b := newBench(t, nil, nil)
	certificate := b.certify(t, "n1")
	s := b.attachWith(t, "n1", certificate)
	connected := next[control.NodeConnected](t, b)
	if err := s.Send(&wire.Up{Report: &spec.Report{Full: true, Generation: 3}}); err != nil {
		t.Fatal(err)
	}
	if r := next[control.NodeReported](t, b); r.Node != "n1" || r.Session != connected.Session || r.Report.Generation != 3 {
		t.Errorf("%+v", r)
	}
	b.server.Send("n1", connected.Session+1, spec.Assignment{Generation: 9})
	b.server.Send("n1", connected.Session, spec.Assignment{Generation: 4})
	if d, err := s.Recv(); err != nil || d.Assignment == nil || d.Assignment.Generation != 4 {
		t.Errorf("%+v, %v", d, err)
	}
	// A second stream of the agent ends the first; its session is higher.
	again := b.attachWith(t, "n1", certificate)
	if _, err := s.Recv(); status.Code(err) != codes.Aborted {
		t.Errorf("the first stream: %v", err)
	}
	second := next[control.NodeConnected](t, b)
	if second.Session <= connected.Session {
		t.Errorf("session %d after %d", second.Session, connected.Session)
	}
	if e := next[control.NodeDisconnected](t, b); e.Session != connected.Session {
		t.Errorf("%+v", e)
	}
	b.server.Disconnect("n1", connected.Session, "an old one")
	if err := again.Send(&wire.Up{Report: &spec.Report{Generation: 5}}); err != nil {
		t.Fatal(err)
	}
	if r := next[control.NodeReported](t, b); r.Report.Generation != 5 {
		t.Errorf("%+v", r)
	}
	b.server.Disconnect("n1", second.Session, "removed")
	if _, err := again.Recv(); status.Code(err) != codes.Unavailable || !strings.Contains(err.Error(), "removed") {
		t.Errorf("%v", err)
	}
}

func TestWhoIsTurnedAway(t *testing.T) {
	b := newBench(t, nil, nil)
	for name, c := range map[string]struct {
		up   wire.Up
		code codes.Code
	}{
		"another name":    {wire.Up{Hello: &wire.Hello{FormatVersion: wire.FormatVersion, Node: "n2"}}, codes.PermissionDenied},
		"another version": {wire.Up{Hello: &wire.Hello{FormatVersion: wire.FormatVersion + 2, Node: "n1"}}, codes.FailedPrecondition},
		"no hello":        {wire.Up{Report: &spec.Report{}}, codes.InvalidArgument},
	} {
		s := b.dial(t, "n1")
		if err := s.Send(&c.up); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Recv(); status.Code(err) != c.code {
			t.Errorf("%s: %v", name, err)
		}
	}
	select {
	case ev := <-b.events:
		t.Errorf("the loop heard %T of it", ev)
	default:
	}
}

// Two agents under one name: the one that is linked stays, and the other is told what to do.
func TestANameIsThatOfTheAgentThatIsLinked(t *testing.T) {
	b := newBench(t, nil, nil)
	first := b.attach(t, "n1")
	session := next[control.NodeConnected](t, b).Session
	second := b.dial(t, "n1")
	if err := second.Send(&wire.Up{Hello: &wire.Hello{FormatVersion: wire.FormatVersion, Node: "n1"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Recv(); status.Code(err) != codes.AlreadyExists || !strings.Contains(err.Error(), "--node") {
		t.Fatalf("the second agent: %v", err)
	}
	b.server.Send("n1", session, spec.Assignment{Generation: 7})
	if down, err := first.Recv(); err != nil || down.Assignment == nil {
		t.Fatalf("the first agent: %+v, %v", down, err)
	}
	if err := first.CloseSend(); err != nil {
		t.Fatal(err)
	}
	next[control.NodeDisconnected](t, b)
	b.attach(t, "n1")
	if s := next[control.NodeConnected](t, b).Session; s <= session {
		t.Errorf("session %d follows %d", s, session)
	}
}

func TestOneThatDoesNotLeadSendsOn(t *testing.T) {
	var address atomic.Value
	address.Store("other:7471")
	b := newBench(t, func() (string, bool) { return address.Load().(string), false }, nil)
	s := b.dial(t, "n1")
	if d, err := s.Recv(); err != nil || d.Welcome == nil || d.Welcome.Leader != "other:7471" {
		t.Errorf("%+v, %v", d, err)
	}
	address.Store("")
	if _, err := b.dial(t, "n1").Recv(); status.Code(err) != codes.Unavailable {
		t.Errorf("without a leader: %v", err)
	}
}

// Of several assignments that wait for a slow agent, the newest counts.
func TestTheNewestAssignmentWins(t *testing.T) {
	b := newBench(t, nil, nil)
	s := b.attach(t, "n1")
	session := next[control.NodeConnected](t, b).Session
	large := make([]spec.Allocation, 20_000) // larger than all windows of the connection
	const last = 200
	for g := 1; g <= last; g++ {
		b.server.Send("n1", session, spec.Assignment{Generation: spec.Generation(g), Allocations: large})
	}
	n, got := 0, spec.Generation(0)
	for got < last {
		d, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if d.Assignment.Generation <= got {
			t.Fatalf("generation %d after %d", d.Assignment.Generation, got)
		}
		got = d.Assignment.Generation
		n++
	}
	if n > last/2 {
		t.Errorf("%d of %d assignments were sent: they are not coalesced", n, last)
	}
}

func TestWindows(t *testing.T) {
	b := newBench(t, nil, nil)
	s := b.attach(t, "n1")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := b.server.Open("nobody", wire.Open{}); err == nil {
		t.Error("opened a window into a node that is not there")
	}
	w, err := b.server.Open("n1", wire.Open{ID: "a-0-1", Exec: &wire.Exec{Command: []string{"x"}}})
	if err != nil {
		t.Fatal(err)
	}
	d, err := s.Recv()
	if err != nil || d.Open == nil || d.Open.ID != "a-0-1" {
		t.Fatalf("%+v, %v", d, err)
	}
	id := d.Open.Stream

	// A writer waits for credit: the window's worth arrives, and no more until the agent grants it.
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := w.Write(ctx, make([]byte, wire.Window+10)); err != nil {
			t.Error(err)
		}
		w.CloseWrite()
	})
	got := 0
	for got < wire.Window {
		d, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got += len(d.Data.Bytes)
	}
	if err := s.Send(&wire.Up{Data: &wire.Data{Stream: id, Credit: 10}}); err != nil {
		t.Fatal(err)
	}
	for ended := false; !ended; {
		d, err := s.Recv()
		if err != nil {
			t.Fatal(err)
		}
		got += len(d.Data.Bytes)
		ended = d.Data.End
	}
	wg.Wait()
	if got != wire.Window+10 {
		t.Errorf("%d bytes arrived, want %d", got, wire.Window+10)
	}

	// What the agent sends arrives in order, and reading grants credit.
	for i := range 10 {
		if err := s.Send(&wire.Up{Data: &wire.Data{Stream: id, Bytes: []byte{byte(i)}}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Send(&wire.Up{Data: &wire.Data{Stream: id, End: true, Code: 4}}); err != nil {
		t.Fatal(err)
	}
	for i := range 10 {
		if d, err := w.Read(ctx); err != nil || d.Bytes[0] != byte(i) {
			t.Fatalf("%+v, %v", d, err)
		}
	}
	if d, err := w.Read(ctx); err != nil || !d.End || d.Code != 4 {
		t.Errorf("%+v, %v", d, err)
	}
	if _, err := w.Read(ctx); err != io.EOF {
		t.Errorf("after the end: %v", err)
	}
	if err := w.Write(ctx, []byte("x")); err != io.ErrClosedPipe {
		t.Errorf("writing after the end: %v", err)
	}
	w.Close()
}

func TestAWindowOfAnAgentThatSendsTooMuchBreaks(t *testing.T) {
	b := newBench(t, nil, nil)
	s := b.attach(t, "n1")
	w, err := b.server.Open("n1", wire.Open{ID: "a-0-1", Logs: &wire.Logs{}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	d, err := s.Recv()
	if err != nil {
		t.Fatal(err)
	}
	for range wire.Window/wire.ChunkSize + 1 {
		if err := s.Send(&wire.Up{Data: &wire.Data{Stream: d.Open.Stream, Bytes: make([]byte, wire.ChunkSize)}}); err != nil {
			t.Fatal(err)
		}
	}
	// A report behind it shows that all has arrived before anything is read.
	if err := s.Send(&wire.Up{Report: &spec.Report{}}); err != nil {
		t.Fatal(err)
	}
	next[control.NodeReported](t, b)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for err == nil {
		_, err = w.Read(ctx)
	}
	if !strings.Contains(err.Error(), "allowed") {
		t.Errorf("%v", err)
	}
}

func TestWindowsBreakWithTheLink(t *testing.T) {
	b := newBench(t, nil, nil)
	b.attach(t, "n1")
	session := next[control.NodeConnected](t, b).Session
	w, err := b.server.Open("n1", wire.Open{ID: "a-0-1", Logs: &wire.Logs{}})
	if err != nil {
		t.Fatal(err)
	}
	b.server.Disconnect("n1", session, "removed")
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if _, err := w.Read(ctx); err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "n1") {
		t.Errorf("%v", err)
	}
	for i := range MaxWindows + 1 {
		if _, err := b.server.Open("n1", wire.Open{}); err == nil {
			t.Fatalf("window %d opened without a link", i)
		}
	}
}

func TestWindowsAreLimited(t *testing.T) {
	b := newBench(t, nil, nil)
	b.attach(t, "n1")
	var last *Window
	for i := range MaxWindows {
		w, err := b.server.Open("n1", wire.Open{})
		if err != nil {
			t.Fatalf("window %d: %v", i, err)
		}
		last = w
	}
	if _, err := b.server.Open("n1", wire.Open{}); err == nil {
		t.Error("there is no limit")
	}
	last.Close()
	if _, err := b.server.Open("n1", wire.Open{}); err != nil {
		t.Errorf("after one was closed: %v", err)
	}
}

func TestAWindowThatGotTooMuchStaysBroken(t *testing.T) {
	a := &agent{wake: make(chan struct{}, 1), windows: map[uint64]*Window{}}
	w, err := a.open(wire.Open{})
	if err != nil {
		t.Fatal(err)
	}
	a.data(&wire.Data{Stream: 1, Bytes: make([]byte, wire.Window)})
	a.data(&wire.Data{Stream: 1, Bytes: []byte("lost")})
	if d, err := w.Read(t.Context()); err != nil || len(d.Bytes) != wire.Window {
		t.Fatalf("%d bytes, %v", len(d.Bytes), err)
	}
	a.data(&wire.Data{Stream: 1, End: true}) // there would be room for it
	if d, err := w.Read(t.Context()); err == nil {
		t.Errorf("it ends as if all had come: %+v", d)
	}
}

func TestSizesAndEndsOfInputDoNotPileUp(t *testing.T) {
	a := &agent{wake: make(chan struct{}, 1), windows: map[uint64]*Window{}}
	w, err := a.open(wire.Open{})
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		w.Resize(1+i, 80)
		w.CloseWrite()
	}
	if size := a.downs[1].Data; len(a.downs) != 3 || size.Rows != 1000 || !a.downs[2].Data.End {
		t.Errorf("%d messages wait, the size is %d rows", len(a.downs), size.Rows)
	}
	if err := w.Write(context.Background(), []byte("x")); err == nil {
		t.Error("wrote after the end")
	}
}

// BenchmarkStatusUpdates measures updates of allocations into one master, decoded, from four agents that batch as many
// as one step of an agent gives under load. The goal is 200,000 per second.
func BenchmarkStatusUpdates(b *testing.B) {
	const agents, batch = 4, 100
	var updates atomic.Int64
	done := make(chan struct{})
	want := int64(b.N/(agents*batch)+1) * agents * batch
	bench := newBench(b, nil, func(ev control.Event) {
		if r, ok := ev.(control.NodeReported); ok && updates.Add(int64(len(r.Report.Allocations))) == want {
			close(done)
		}
	})
	report := &spec.Report{FormatVersion: 1, Generation: 7}
	for i := range batch {
		report.Allocations = append(report.Allocations, spec.ReportAllocation{ID: spec.AllocationID(fmt.Sprintf("shop.web-%d-7", i)),
			Status: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, HealthySince: 1, Since: 1,
				Tasks: []spec.TaskStatus{{Name: "server", State: spec.StateRunning, Pid: 4711, Started: 1}}}})
	}
	streams := make([]wire.Agent, agents)
	for i := range streams {
		streams[i] = bench.attach(b, spec.NodeID(fmt.Sprintf("n%d", i)))
	}
	b.ResetTimer()
	for _, s := range streams {
		go func() {
			for range b.N/(agents*batch) + 1 {
				if err := s.Send(&wire.Up{Report: report}); err != nil {
					b.Error(err)
					return
				}
			}
		}()
	}
	<-done
	b.ReportMetric(float64(want)/b.Elapsed().Seconds(), "updates/s")
}
