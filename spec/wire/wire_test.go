package wire_test

import (
	"context"
	"io"
	"net"
	"reflect"
	"testing"

	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
)

// mirror answers each report with an assignment of the allocations that it names.
type mirror struct{}

func (mirror) Attach(m wire.Master) error {
	for {
		up, err := m.Recv()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		if up.Report == nil {
			continue
		}
		a := &spec.Assignment{FormatVersion: wire.FormatVersion, Generation: up.Report.Generation + 1}
		for _, r := range up.Report.Allocations {
			a.Allocations = append(a.Allocations, spec.Allocation{ID: r.ID, Want: spec.WantStop, Placed: r.Status.Since})
		}
		if err := m.Send(&wire.Down{Assignment: a}); err != nil {
			return err
		}
	}
}

func link(tb testing.TB) wire.Agent {
	tb.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	server := grpc.NewServer(wire.ServerOptions()...)
	wire.Register(server, mirror{})
	done := make(chan struct{})
	go func() { defer close(done); _ = server.Serve(listener) }()
	tb.Cleanup(func() { server.Stop(); <-done })
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = conn.Close() })
	ctx, cancel := context.WithCancel(context.Background())
	tb.Cleanup(cancel)
	agent, err := wire.Attach(ctx, conn)
	if err != nil {
		tb.Fatal(err)
	}
	return agent
}

func TestLinkCarriesValuesUnchanged(t *testing.T) {
	agent := link(t)
	report := &spec.Report{Generation: 7, Allocations: []spec.ReportAllocation{
		{ID: "shop.web-0-7", Status: spec.AllocationStatus{State: spec.StateRunning, Since: 1_500_000_000_000_000_001}},
	}}
	if err := agent.Send(&wire.Up{Report: report}); err != nil {
		t.Fatal(err)
	}
	down, err := agent.Recv()
	if err != nil {
		t.Fatal(err)
	}
	want := &spec.Assignment{FormatVersion: wire.FormatVersion, Generation: 8, Allocations: []spec.Allocation{
		{ID: "shop.web-0-7", Want: spec.WantStop, Placed: 1_500_000_000_000_000_001},
	}}
	if !reflect.DeepEqual(down.Assignment, want) {
		t.Errorf("got %+v, want %+v", down.Assignment, want)
	}
}

func TestCompatibleIsOneVersionOfSkew(t *testing.T) {
	for peer, ok := range map[int]bool{wire.FormatVersion - 2: false, wire.FormatVersion - 1: true, wire.FormatVersion: true,
		wire.FormatVersion + 1: true, wire.FormatVersion + 2: false} {
		if err := wire.Compatible(peer); (err == nil) != ok {
			t.Errorf("version %d: %v", peer, err)
		}
	}
}

func BenchmarkReport(b *testing.B) {
	agent := link(b)
	up := &wire.Up{Report: &spec.Report{Generation: 7, Allocations: []spec.ReportAllocation{
		{ID: "shop.web-0-7", Status: spec.AllocationStatus{State: spec.StateRunning, Healthy: true, Since: 1_500_000_000_000_000_001,
			Tasks: []spec.TaskStatus{{Name: "server", State: spec.StateRunning, Pid: 4711}}}},
	}}}
	errs := make(chan error, 1)
	go func() {
		for range b.N {
			if err := agent.Send(up); err != nil {
				errs <- err
				return
			}
		}
		errs <- nil
	}()
	for range b.N {
		if _, err := agent.Recv(); err != nil {
			b.Fatal(err)
		}
	}
	if err := <-errs; err != nil {
		b.Fatal(err)
	}
}
