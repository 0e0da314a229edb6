package master_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// fakeAgent speaks the link and "runs" allocations at once. It keeps what it holds over reconnections, as a real one does.
type fakeAgent struct {
	node        spec.Node
	certificate tls.Certificate
	roots       *x509.CertPool
	link        string

	mu         sync.Mutex
	generation spec.Generation
	held       map[spec.AllocationID]*fakeAllocation
	starts     int
	stops      int
	room       int    // bytes that the reader of the window of an exec still grants
	echo       []byte // input that there was no room for
	inputEnded bool
	stuck      bool // the command of the exec reads nothing
	cancel     context.CancelFunc
	done       sync.WaitGroup
	connected  chan struct{} // receives at each welcome
	failure    error         // of the last stream
}

type fakeAllocation struct {
	decided spec.Allocation
	app     *spec.App
	status  spec.AllocationStatus
}

// joinAgent joins a node with a fresh token.
func joinAgent(t testing.TB, c *cluster, node string) *fakeAgent {
	t.Helper()
	token, err := c.client.CreateToken(t.Context(), api.TokenRequest{Kind: "agent", Name: node})
	if err != nil {
		t.Fatal(err)
	}
	answer, key, status := postJoin(t, c, token.Join, node)
	if status != http.StatusOK {
		t.Fatalf("joining answers %d", status)
	}
	block, _ := pem.Decode([]byte(answer.Certificate))
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM([]byte(answer.CA))
	return &fakeAgent{
		node: spec.Node{ID: spec.NodeID(node), Address: "127.0.0.1", Capacity: spec.Resources{CPU: 1_000_000, Memory: 4096 * spec.GiB, Disk: 4096 * spec.GiB},
			Attributes: map[string]string{"kernel.name": "linux"}},
		certificate: tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}, roots: roots, link: answer.Link,
		held: map[spec.AllocationID]*fakeAllocation{}, connected: make(chan struct{}, 100),
	}
}

// postJoin asks for a certificate, checking the master by the fingerprint in the token.
func postJoin(t testing.TB, c *cluster, join, node string) (answer api.JoinAnswer, key *ecdsa.PrivateKey, status int) {
	t.Helper()
	fingerprint, secret, err := identity.ParseJoinToken(join)
	if err != nil {
		t.Fatal(err)
	}
	key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	body, err := json.Marshal(api.JoinRequest{Node: spec.NodeID(node), CSR: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}))})
	if err != nil {
		t.Fatal(err)
	}
	pinned := &tls.Config{InsecureSkipVerify: true, VerifyConnection: func(s tls.ConnectionState) error {
		ca := s.PeerCertificates[len(s.PeerCertificates)-1]
		if identity.Fingerprint(ca) != fingerprint {
			return fmt.Errorf("the master is another one")
		}
		return s.PeerCertificates[0].CheckSignatureFrom(ca)
	}}
	transport := &http.Transport{TLSClientConfig: pinned}
	defer transport.CloseIdleConnections()
	r, err := http.NewRequestWithContext(t.Context(), "POST", c.ready.API+"/v1/join", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+secret)
	resp, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode == http.StatusOK {
		if err := json.Unmarshal(text, &answer); err != nil {
			t.Fatal(err)
		}
	}
	return answer, key, resp.StatusCode
}

// run keeps the agent connected until the test ends or stop is called.
func (a *fakeAgent) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	a.cancel = cancel
	a.done.Go(func() {
		for ctx.Err() == nil {
			err := a.attach(ctx, a.node.ID)
			a.mu.Lock()
			a.failure = err
			a.mu.Unlock()
			select {
			case <-ctx.Done():
			case <-time.After(20 * time.Millisecond):
			}
		}
	})
	t.Cleanup(a.stop)
}

func (a *fakeAgent) stop() {
	if a.cancel != nil {
		a.cancel()
	}
	a.done.Wait()
}

// attach serves one stream, introducing itself as a node.
func (a *fakeAgent) attach(parent context.Context, as spec.NodeID) error {
	ctx, cancel := context.WithCancel(parent)
	defer cancel()
	config := &tls.Config{RootCAs: a.roots, ServerName: "127.0.0.1"}
	if a.certificate.PrivateKey != nil {
		config.Certificates = []tls.Certificate{a.certificate}
	}
	conn, err := grpc.NewClient("passthrough:///"+a.link, grpc.WithTransportCredentials(credentials.NewTLS(config)))
	if err != nil {
		return err
	}
	defer conn.Close()
	stream, err := wire.Attach(ctx, conn)
	if err != nil {
		return err
	}
	if err := stream.Send(&wire.Up{Hello: &wire.Hello{FormatVersion: wire.FormatVersion, Node: as, Agent: "fake"}}); err != nil && err != io.EOF {
		return err
	}
	down, err := stream.Recv()
	if err != nil {
		return err
	}
	if down.Welcome == nil || down.Welcome.FormatVersion != wire.FormatVersion {
		return fmt.Errorf("no welcome but %+v", down)
	}
	if err := stream.Send(&wire.Up{Report: a.full()}); err != nil {
		return err
	}
	select {
	case a.connected <- struct{}{}:
	default:
	}
	var sending sync.Mutex
	send := func(up *wire.Up) error {
		sending.Lock()
		defer sending.Unlock()
		return stream.Send(up)
	}
	var beat sync.WaitGroup
	defer beat.Wait()
	defer cancel()
	beat.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
				if send(&wire.Up{}) != nil {
					return
				}
			case <-ctx.Done():
				return
			}
		}
	})
	for {
		down, err := stream.Recv()
		if err != nil {
			return err
		}
		var ups []*wire.Up
		switch {
		case down.Assignment != nil:
			if r := a.obey(down.Assignment); r != nil {
				ups = append(ups, &wire.Up{Report: r})
			}
		case down.Open != nil:
			ups = a.window(down.Open)
		case down.Data != nil:
			ups = a.data(down.Data)
		}
		for _, up := range ups {
			if err := send(up); err != nil {
				return err
			}
		}
	}
}

// full is the report that begins a stream.
func (a *fakeAgent) full() *spec.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	r := &spec.Report{FormatVersion: 1, Node: &a.node, Full: true, Generation: a.generation}
	told := map[spec.Hash]bool{}
	for _, id := range a.ids() {
		h := a.held[id]
		ra := spec.ReportAllocation{ID: id, Status: h.status, Decided: &h.decided}
		if !told[h.decided.Version] {
			ra.Spec, told[h.decided.Version] = h.app, true
		}
		r.Allocations = append(r.Allocations, ra)
	}
	return r
}

func (a *fakeAgent) ids() []spec.AllocationID {
	var ids []spec.AllocationID
	for id := range a.held {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return ids
}

// obey does at once what an assignment asks for.
func (a *fakeAgent) obey(as *spec.Assignment) *spec.Report {
	a.mu.Lock()
	defer a.mu.Unlock()
	if as.Generation <= a.generation {
		return nil
	}
	a.generation = as.Generation
	now := spec.TimeOf(time.Now())
	r := &spec.Report{FormatVersion: 1, Generation: as.Generation}
	listed := map[spec.AllocationID]bool{}
	for _, al := range as.Allocations {
		listed[al.ID] = true
		h := a.held[al.ID]
		switch {
		case h == nil && al.Want == spec.WantRun:
			a.starts++
			h = &fakeAllocation{status: spec.AllocationStatus{State: spec.StateRunning, Since: now, Tasks: []spec.TaskStatus{{Name: "main", State: spec.StateRunning, Pid: 1000 + a.starts}}}}
			h.status.Healthy, h.status.HealthySince = true, now
			a.held[al.ID] = h
		case h == nil:
			h = &fakeAllocation{status: spec.AllocationStatus{State: spec.StateComplete, Since: now, Reason: "it never ran"}}
			a.held[al.ID] = h
		case al.Want == spec.WantStop && !h.status.State.Terminal():
			a.stops++
			h.status = spec.AllocationStatus{State: spec.StateComplete, Since: now, Reason: "stopped on request"}
		default:
			h.decided, h.app = al, as.Versions[al.Version]
			continue
		}
		h.decided, h.app = al, as.Versions[al.Version]
		r.Allocations = append(r.Allocations, spec.ReportAllocation{ID: al.ID, Status: h.status})
	}
	for _, id := range a.ids() {
		if h := a.held[id]; !listed[id] && h.status.State.Terminal() {
			delete(a.held, id)
			r.Allocations = append(r.Allocations, spec.ReportAllocation{ID: id, Status: h.status, Gone: true})
		}
	}
	return r
}

// window answers: logs are three lines, exec repeats its command and then its input, unless it is stuck, and ends at a signal.
func (a *fakeAgent) window(o *wire.Open) []*wire.Up {
	piece := func(d wire.Data) *wire.Up { d.Stream = o.Stream; return &wire.Up{Data: &d} }
	if o.Exec != nil {
		greeting := []byte(strings.Join(o.Exec.Command, " ") + o.Exec.Term + "\n")
		a.room, a.echo, a.inputEnded, a.stuck = wire.Window-len(greeting), nil, false, o.Exec.Command[0] == "stuck"
		return []*wire.Up{piece(wire.Data{Bytes: greeting})}
	}
	return []*wire.Up{piece(wire.Data{Bytes: []byte("one\ntwo\n")}), piece(wire.Data{Bytes: []byte("three\n"), Stderr: true}), piece(wire.Data{End: true})}
}

func (a *fakeAgent) data(d *wire.Data) []*wire.Up {
	piece := func(x wire.Data) *wire.Up { x.Stream = d.Stream; return &wire.Up{Data: &x} }
	if d.Signal != "" {
		return []*wire.Up{piece(wire.Data{Bytes: []byte(d.Signal)}), piece(wire.Data{End: true, Code: 130})}
	}
	if a.stuck {
		return nil
	}
	a.room += d.Credit
	a.echo = append(a.echo, d.Bytes...)
	a.inputEnded = a.inputEnded || d.End && d.Err == ""
	var ups []*wire.Up
	for n := min(a.room, len(a.echo), wire.ChunkSize); n > 0; n = min(a.room, len(a.echo), wire.ChunkSize) {
		ups = append(ups, piece(wire.Data{Bytes: a.echo[:n]}), piece(wire.Data{Credit: n}))
		a.room, a.echo = a.room-n, a.echo[n:]
	}
	switch {
	case a.inputEnded && len(a.echo) == 0:
		a.inputEnded = false
		ups = append(ups, piece(wire.Data{End: true, Code: 7}))
	case d.Rows > 0:
		ups = append(ups, piece(wire.Data{Bytes: fmt.Appendf(nil, "%dx%d\n", d.Rows, d.Columns), Stderr: true}))
	}
	return ups
}

// counts returns how many allocations run, and how many were ever started and stopped.
func (a *fakeAgent) counts() (running, starts, stops int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, h := range a.held {
		if h.status.State == spec.StateRunning {
			running++
		}
	}
	return running, a.starts, a.stops
}
