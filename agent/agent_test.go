package agent

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stowage/stowage/agent/artifact"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"golang.org/x/sys/unix"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
)

// patience bounds every wait of these tests; the machine may be busy.
const patience = 2 * time.Minute

// fakeMaster signs certificates and takes one agent's stream at a time.
type fakeMaster struct {
	t       *testing.T
	ca      *x509.Certificate
	caKey   *ecdsa.PrivateKey
	api     *httptest.Server
	link    net.Listener
	secret  string
	log     lines         // of the agents that run told
	life    time.Duration // of the certificates it makes, an hour of which has passed
	renewed chan *big.Int // serial numbers of the certificates that were shown for others
	ups     chan *wire.Up
	streams chan wire.Master
}

func newFakeMaster(t *testing.T) *fakeMaster {
	m := &fakeMaster{t: t, secret: "hush", life: 1000 * time.Hour, renewed: make(chan *big.Int, 100), ups: make(chan *wire.Up, 1000), streams: make(chan wire.Master, 10)}
	m.caKey = newKey(t)
	m.ca = m.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "test CA"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign}, &m.caKey.PublicKey)
	key := newKey(t)
	leaf := m.sign(&x509.Certificate{Subject: pkix.Name{CommonName: "master"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, &key.PublicKey)
	pool := x509.NewCertPool()
	pool.AddCert(m.ca)
	server := &tls.Config{MinVersion: tls.VersionTLS13, ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, m.ca.Raw}, PrivateKey: key}}}
	m.api = httptest.NewUnstartedServer(http.HandlerFunc(m.join))
	m.api.TLS = server.Clone()
	m.api.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	m.api.StartTLS()
	t.Cleanup(m.api.Close)
	var err error
	if m.link, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	g := grpc.NewServer(append(wire.ServerOptions(), grpc.Creds(credentials.NewTLS(server)))...)
	wire.Register(g, m)
	done := make(chan struct{})
	go func() { defer close(done); _ = g.Serve(m.link) }()
	t.Cleanup(func() { g.Stop(); <-done })
	return m
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func (m *fakeMaster) sign(c *x509.Certificate, public any) *x509.Certificate {
	c.SerialNumber, _ = rand.Int(rand.Reader, big.NewInt(1<<62))
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(m.life-time.Hour)
	parent := m.ca
	if parent == nil {
		parent = c
	}
	raw, err := x509.CreateCertificate(rand.Reader, c, parent, public, m.caKey)
	if err != nil {
		m.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(raw)
	if err != nil {
		m.t.Fatal(err)
	}
	return out
}

func (m *fakeMaster) token() string {
	sum := sha256.Sum256(m.ca.Raw)
	return "stwjoin." + base64.RawURLEncoding.EncodeToString(sum[:]) + "." + m.secret
}

func (m *fakeMaster) join(w http.ResponseWriter, r *http.Request) {
	var q struct{ Node, CSR string }
	allowed := r.Header.Get("Authorization") == "Bearer "+m.secret
	if r.URL.Path == "/v1/renew" {
		if allowed = len(r.TLS.VerifiedChains) > 0; allowed {
			m.renewed <- r.TLS.PeerCertificates[0].SerialNumber
		}
	}
	if !allowed || json.NewDecoder(r.Body).Decode(&q) != nil {
		http.Error(w, "no", http.StatusUnauthorized)
		return
	}
	block, _ := pem.Decode([]byte(q.CSR))
	request, err := x509.ParseCertificateRequest(block.Bytes)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	c := m.sign(&x509.Certificate{Subject: pkix.Name{CommonName: q.Node}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}, request.PublicKey)
	encode := func(b []byte) string {
		return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: b}))
	}
	_ = json.NewEncoder(w).Encode(joinAnswer{Certificate: encode(c.Raw), CA: encode(m.ca.Raw), Link: m.link.Addr().String()})
}

// Attach takes an agent's stream.
func (m *fakeMaster) Attach(stream wire.Master) error {
	hello, err := stream.Recv()
	if err != nil || hello.Hello == nil {
		return fmt.Errorf("no hello: %w", err)
	}
	if err := stream.Send(&wire.Down{Welcome: &wire.Welcome{FormatVersion: wire.FormatVersion}}); err != nil {
		return err
	}
	m.streams <- stream
	for {
		up, err := stream.Recv()
		if err != nil {
			return nil
		}
		m.ups <- up
	}
}

// connected waits for an agent's stream.
func (m *fakeMaster) connected() wire.Master {
	m.t.Helper()
	select {
	case s := <-m.streams:
		return s
	case <-time.After(patience):
		m.t.Fatal("no agent connects")
		return nil
	}
}

// status waits until the agent reports an allocation in a way that satisfies the condition.
func (m *fakeMaster) status(id spec.AllocationID, what string, ok func(*spec.AllocationStatus) bool) *spec.AllocationStatus {
	m.t.Helper()
	deadline := time.After(patience)
	var last *spec.AllocationStatus
	for {
		select {
		case up := <-m.ups:
			for i := range reported(up) {
				if a := &up.Report.Allocations[i]; a.ID == id {
					last = &a.Status
					if ok(last) {
						return last
					}
				}
			}
		case <-deadline:
			m.t.Fatalf("%s: not reported; last %+v", what, last)
		}
	}
}

// reported are the allocations of a message that is a report.
func reported(up *wire.Up) []spec.ReportAllocation {
	if up.Report == nil {
		return nil
	}
	return up.Report.Allocations
}

// lines are what an agent logs.
type lines struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

var executorBinary string

func TestMain(m *testing.M) {
	artifact.Serve() // the test binary may be a helper that fetches artifacts
	dir, err := os.MkdirTemp("", "stowage-agent-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	executorBinary = filepath.Join(dir, "stowage-executor")
	out, err := exec.Command("../cmd/stowage-executor/build", executorBinary).CombinedOutput()
	code := 1
	if err != nil {
		fmt.Fprintf(os.Stderr, "build executor: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	_ = os.RemoveAll(dir)
	os.Exit(code)
}

func needRoot(t *testing.T) {
	if os.Getuid() == 0 {
		return
	}
	if os.Getenv("STOWAGE_REQUIRE_ROOT") != "" {
		t.Fatal("this test starts containers and needs root")
	}
	t.Skip("this test starts containers and needs root")
}

// run starts an agent and returns how to end it.
func run(t *testing.T, m *fakeMaster, dir string) (stop func()) {
	t.Helper()
	return runOn(t, m, dir, facts.Options{})
}

// runOn is run on a machine that has what the options say.
func runOn(t *testing.T, m *fakeMaster, dir string, machine facts.Options) (stop func()) {
	t.Helper()
	machine.Address = "127.0.0.1"
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	cfg := Config{Node: "n1", DataDir: dir, Master: m.api.URL, JoinToken: m.token(), Executor: executorBinary,
		CgroupParent: "stowage-test-" + filepath.Base(dir), Facts: machine, Log: slog.New(slog.NewTextHandler(&m.log, nil))}
	go func() { done <- Run(ctx, cfg) }()
	ended := false
	stop = func() {
		if ended {
			return
		}
		ended = true
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("agent: %v", err)
			}
		case <-time.After(patience):
			t.Error("the agent does not end")
		}
		if t.Failed() {
			t.Logf("agent's log:\n%s", m.log.String())
		}
	}
	t.Cleanup(stop)
	return stop
}

// dataDir is short, as the path of a socket has to be, and taken down at the end.
func dataDir(t *testing.T) string { return dataDirIn(t, "") }

func dataDirIn(t *testing.T, parent string) string {
	dir, err := os.MkdirTemp(parent, "stwa")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := TakeDown(ctx, dir); err != nil {
			t.Errorf("take down: %v", err)
		}
	})
	return dir
}

func app(command ...string) *spec.App {
	return &spec.App{Name: "web", Kind: spec.KindService, Count: 1,
		Network: spec.Network{Mode: spec.NetworkHost, Ports: []spec.PortSpec{{Name: "http", Protocol: spec.TCP}}},
		Restart: spec.Restart{Attempts: 3, Interval: spec.DefaultRestartInterval, Delay: spec.Millisecond, MaxDelay: spec.Millisecond},
		Tasks: []spec.Task{{Name: "server", Lifecycle: spec.LifecycleMain, Rootfs: spec.RootfsHost, Command: command, CPU: 50, Memory: 32 * spec.MiB,
			Stop: spec.Stop{Signal: "SIGTERM", Timeout: spec.Second}, Logs: spec.Logs{MaxSize: spec.MiB, MaxFiles: 2}}}}
}

func assignment(g spec.Generation, a *spec.App, want spec.Want) *wire.Down {
	slot := spec.Slot{App: a.Name, Index: 0}
	return &wire.Down{Assignment: &spec.Assignment{FormatVersion: 1, Node: "n1", Generation: g,
		Allocations: []spec.Allocation{{ID: spec.NewAllocationID(slot, 1), Slot: slot, Node: "n1", Generation: 1, Version: a.Hash(), Runtime: a.RuntimeHash(),
			Want: want, Ports: []spec.Port{{Name: "http", Number: 20123, Protocol: spec.TCP}}}},
		Versions: map[spec.Hash]*spec.App{a.Hash(): a}}}
}

func TestTasksOutliveTheAgent(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	dir := dataDir(t)
	stop := run(t, m, dir)
	stream := m.connected()
	a := app("sh", "-c", "echo port ${port.http} slot $STOWAGE_SLOT; exec sleep 100000")
	if err := stream.Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	first := m.status("web-0-1", "it runs", func(s *spec.AllocationStatus) bool { return s.State == spec.StateRunning && s.Tasks[0].Pid > 0 })
	stop()
	run(t, m, dir)
	stream = m.connected()
	again := m.status("web-0-1", "it is adopted", func(s *spec.AllocationStatus) bool { return s.State == spec.StateRunning && s.Tasks[0].Pid > 0 })
	if first.Tasks[0].Pid != again.Tasks[0].Pid || again.Restarts != 0 {
		t.Errorf("pid %d became %d after %d restarts", first.Tasks[0].Pid, again.Tasks[0].Pid, again.Restarts)
	}
	got := ""
	until := time.Now().Add(patience)
	for number := uint64(100); got == "" && time.Now().Before(until); number++ { // the task may be running and not have printed yet
		if err := stream.Send(&wire.Down{Open: &wire.Open{Stream: number, ID: "web-0-1", Logs: &wire.Logs{Tail: -1}}}); err != nil {
			t.Fatal(err)
		}
		got = m.window(number)
	}
	if got != "port 20123 slot 0\n" {
		t.Errorf("logs are %q", got)
	}
	if err := stream.Send(&wire.Down{Open: &wire.Open{Stream: 8, ID: "web-0-1", Exec: &wire.Exec{Command: []string{"hostname"}}}}); err != nil {
		t.Fatal(err)
	}
	if got := m.window(8); strings.TrimSpace(got) != "web-0" {
		t.Errorf("hostname is %q", got)
	}
	if err := stream.Send(assignment(3, a, spec.WantStop)); err != nil {
		t.Fatal(err)
	}
	m.status("web-0-1", "it stops", func(s *spec.AllocationStatus) bool { return s.State == spec.StateComplete })
}

// window collects what a window prints until it ends.
func (m *fakeMaster) window(stream uint64) string {
	m.t.Helper()
	var text []byte
	deadline := time.After(patience)
	for {
		select {
		case up := <-m.ups:
			if up.Data == nil || up.Data.Stream != stream {
				continue
			}
			text = append(text, up.Data.Bytes...)
			if up.Data.End {
				if up.Data.Err != "" {
					m.t.Errorf("window: %s", up.Data.Err)
				}
				return string(text)
			}
		case <-deadline:
			m.t.Fatal("a window does not end")
		}
	}
}

// An agent is taken off a machine once it is stopped: nothing of it runs then, and the directory goes only when asked.
func TestAnAgentIsTakenDown(t *testing.T) {
	needRoot(t)
	m, dir := newFakeMaster(t), dataDir(t)
	stop := run(t, m, dir)
	if err := m.connected().Send(assignment(1, app("sleep", "1000"), spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	pid := m.status("web-0-1", "it runs", func(s *spec.AllocationStatus) bool { return s.State == spec.StateRunning && s.Tasks[0].Pid > 0 }).Tasks[0].Pid
	if err := Down(t.Context(), dir, true); err == nil || !strings.Contains(err.Error(), "stop it first") {
		t.Fatalf("while the agent runs: %v", err)
	}
	stop()
	if err := Down(t.Context(), dir, false); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, 0); err == nil {
		t.Error("the task runs on")
	}
	if _, err := os.Stat(filepath.Join(dir, "identity", "papers.json")); err != nil {
		t.Errorf("the identity is gone: %v", err)
	}
	_, err := open(t.Context(), &Config{Node: "n2", DataDir: dir, Master: m.api.URL, JoinToken: m.token(), Executor: executorBinary, Facts: facts.Options{Address: "127.0.0.1"}})
	if err == nil || !strings.Contains(err.Error(), "--node n1") {
		t.Errorf("under another name: %v", err)
	}
	if err := Down(t.Context(), dir, true); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the directory is still there")
	}
}

// TestTakingDownEndsWhatAKilledExecutorLeft: the executor was killed and no agent is there to start another.
func TestTakingDownEndsWhatAKilledExecutorLeft(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	dir := dataDir(t)
	stop := run(t, m, dir)
	if err := m.connected().Send(assignment(2, app("sleep", "100000"), spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	s := m.status("web-0-1", "it runs", func(s *spec.AllocationStatus) bool { return s.State == spec.StateRunning && s.Tasks[0].Pid > 0 })
	stop()
	features, err := executor.NewClient(filepath.Join(dir, "executor.sock")).Ping(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(features.Pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := TakeDown(ctx, dir); err != nil {
		t.Fatal(err)
	}
	// Its parent is gone, so it may stay a zombie until the machine's first process looks.
	if stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", s.Tasks[0].Pid)); err == nil && !strings.Contains(string(stat), ") Z ") {
		t.Errorf("task %d outlived the end of its agent: %s", s.Tasks[0].Pid, stat)
	}
}

func TestACrashedTaskIsRestartedThenFails(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	run(t, m, dataDir(t))
	a := app("sh", "-c", "exit 3")
	if err := m.connected().Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	s := m.status("web-0-1", "it fails", func(s *spec.AllocationStatus) bool { return s.State == spec.StateFailed })
	if s.Restarts != 3 || s.Tasks[0].Exit == nil || s.Tasks[0].Exit.Code != 3 {
		t.Errorf("after %d restarts, exit %+v: %s", s.Restarts, s.Tasks[0].Exit, s.Reason)
	}
}

func TestAnAgentJoinsOnlyTheClusterOfItsToken(t *testing.T) {
	m, other := newFakeMaster(t), newFakeMaster(t)
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "papers.json")
	_, err := ensureIdentity(ctx, path, "n1", other.api.URL, m.token())
	if err == nil || !strings.Contains(err.Error(), "does not belong to the cluster of this join token") {
		t.Errorf("joining another cluster: %v", err)
	}
	first, err := ensureIdentity(ctx, path, "n1", m.api.URL, m.token())
	if err != nil {
		t.Fatal(err)
	}
	for why, id := range map[string]func() (*identity, error){
		"without a token":       func() (*identity, error) { return ensureIdentity(ctx, path, "n1", "", "") },
		"with a token, not new": func() (*identity, error) { return ensureIdentity(ctx, path, "n1", m.api.URL, m.token()) },
	} {
		again, err := id()
		if err != nil || again.now.Load().Link != m.link.Addr().String() || again.now.Load().Certificate != first.now.Load().Certificate {
			t.Errorf("%s the identity is not found again: %v", why, err)
		}
	}
	if _, err := ensureIdentity(ctx, path, "n2", m.api.URL, m.token()); err == nil || !strings.Contains(err.Error(), "--node n1") {
		t.Errorf("another name with a token: %v", err)
	}
}

func TestACertificatePastHalfOfItsLifeIsRenewed(t *testing.T) {
	m := newFakeMaster(t)
	m.life = time.Hour + time.Minute
	path := filepath.Join(t.TempDir(), "papers.json")
	id, err := ensureIdentity(context.Background(), path, "n1", m.api.URL, m.token())
	if err != nil {
		t.Fatal(err)
	}
	first := id.now.Load()
	m.life = 1000 * time.Hour
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- id.watch(ctx, "n1", slog.New(slog.DiscardHandler)) }()
	deadline := time.Now().Add(patience)
	for id.now.Load() == first && time.Now().Before(deadline) {
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	second := id.now.Load()
	if !second.pair.Leaf.NotAfter.After(first.pair.Leaf.NotAfter) || second.Key == first.Key || second.API != first.API {
		t.Fatalf("after the renewal the certificate ends %s", second.pair.Leaf.NotAfter)
	}
	if err := os.WriteFile(path+".tmp", []byte("{"), 0o600); err != nil { // as a crash leaves it
		t.Fatal(err)
	}
	again, err := ensureIdentity(context.Background(), path, "n1", "", "")
	if err != nil || again.now.Load().Certificate != second.Certificate {
		t.Fatalf("on disk is another certificate: %v", err)
	}
	if err := again.renew(context.Background(), "n1"); err != nil {
		t.Fatal(err)
	}
	for _, want := range []*papers{first, second} {
		if got := <-m.renewed; got.Cmp(want.pair.Leaf.SerialNumber) != 0 {
			t.Errorf("certificate %d was shown, want %d", got, want.pair.Leaf.SerialNumber)
		}
	}
	if len(m.renewed) > 0 {
		t.Error("a fresh certificate was renewed")
	}
}

func TestACertificateThatEndedIsReplacedWithATokenOnly(t *testing.T) {
	m := newFakeMaster(t)
	m.life = time.Hour - time.Second
	path := filepath.Join(t.TempDir(), "papers.json")
	if _, err := ensureIdentity(context.Background(), path, "n1", m.api.URL, m.token()); err != nil {
		t.Fatal(err)
	}
	m.life = 1000 * time.Hour
	id, err := ensureIdentity(context.Background(), path, "n1", "", "")
	if err != nil {
		t.Fatalf("tasks would be left alone: %v", err)
	}
	if err := id.renew(context.Background(), "n1"); err == nil || !strings.Contains(err.Error(), "--join TOKEN") {
		t.Errorf("renewing with a certificate that ended: %v", err)
	}
	if id, err = ensureIdentity(context.Background(), path, "n1", m.api.URL, m.token()); err != nil || !time.Now().Before(id.now.Load().pair.Leaf.NotAfter) {
		t.Errorf("joining again: %v", err)
	}
}

// TestAFullDiskStartsAndStopsNothing: what cannot be remembered is not done; what runs, runs on; and it goes on when there is room.
func TestAFullDiskStartsAndStopsNothing(t *testing.T) {
	needRoot(t)
	m := newFakeMaster(t)
	dir := dataDir(t)
	small := filepath.Join(dir, "memory")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := unix.Mount("tmpfs", small, "tmpfs", 0, "size=256k"); err != nil {
		t.Skipf("a small file system cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(small, unix.MNT_DETACH); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	stop := run(t, m, dir)
	stream := m.connected()
	a, b := app("sleep", "100000"), app("sh", "-c", "exec sleep 100000")
	b.Name = "other"
	if err := stream.Send(assignment(2, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	running := func(s *spec.AllocationStatus) bool { return s.State == spec.StateRunning && s.Tasks[0].Pid > 0 }
	first := m.status("web-0-1", "it runs", running)

	ballast := filepath.Join(small, "ballast")
	if err := os.WriteFile(ballast, make([]byte, 1<<20), 0o600); !errors.Is(err, unix.ENOSPC) {
		t.Fatalf("the disk does not get full: %v", err)
	}
	both := assignment(3, a, spec.WantStop)
	more := assignment(3, b, spec.WantRun).Assignment
	both.Assignment.Allocations = append(both.Assignment.Allocations, more.Allocations...)
	both.Assignment.Versions[b.Hash()] = b
	if err := stream.Send(both); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !strings.Contains(m.log.String(), "cannot write the agent's memory"); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the agent does not say that its disk is full")
		}
	}
	if err := unix.Kill(first.Tasks[0].Pid, 0); err != nil {
		t.Errorf("the task that cannot be forgotten is gone: %v", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "allocations", "other-0-1")); err == nil {
		t.Error("an allocation that cannot be remembered was begun")
	}
	stop() // and an agent that starts on the full disk finds what was
	run(t, m, dir)
	stream = m.connected()
	if err := stream.Send(both); err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(first.Tasks[0].Pid, 0); err != nil {
		t.Errorf("the task is gone after a restart on a full disk: %v", err)
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	// It may be told as running still, or as stopped already: in either case it is the run of before.
	again := m.status("web-0-1", "it is adopted", func(s *spec.AllocationStatus) bool { return s.State.Rank() >= spec.StateRunning.Rank() })
	if again.Tasks[0].Started != first.Tasks[0].Started || again.Restarts != 0 {
		t.Errorf("the run that began at %v became one that began at %v, after %d restarts", first.Tasks[0].Started, again.Tasks[0].Started, again.Restarts)
	}
	stopped, begun := again.State == spec.StateComplete, false
	for deadline := time.Now().Add(patience); (!stopped || !begun) && time.Now().Before(deadline); {
		select {
		case up := <-m.ups:
			for i := range reported(up) {
				al := &up.Report.Allocations[i]
				stopped = stopped || al.ID == "web-0-1" && al.Status.State == spec.StateComplete
				begun = begun || al.ID == "other-0-1" && al.Status.State == spec.StateRunning
			}
		case <-time.After(patience):
		}
	}
	if !stopped || !begun {
		t.Errorf("with room again: stopped %v, begun %v", stopped, begun)
	}
}

// TestARestartOfTheAgentIsNoNewsOfHealth: the first answers after it are bad, fewer than make a check fail.
func TestARestartOfTheAgentIsNoNewsOfHealth(t *testing.T) {
	needRoot(t)
	var bad, asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if bad.Add(-1) >= 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		asked.Add(1)
	}))
	t.Cleanup(server.Close)
	m := newFakeMaster(t)
	dir := dataDir(t)
	stop := run(t, m, dir)
	a := app("sleep", "100000")
	a.Tasks[0].Checks = []spec.Check{{Name: "up", Type: spec.CheckHTTP, Port: "http", Gate: true, Interval: 100 * spec.Millisecond, Timeout: 10 * spec.Second, Failures: 3}}
	down := assignment(2, a, spec.WantRun)
	down.Assignment.Allocations[0].Ports[0].Number = server.Listener.Addr().(*net.TCPAddr).Port
	if err := m.connected().Send(down); err != nil {
		t.Fatal(err)
	}
	m.status("web-0-1", "it is healthy", func(s *spec.AllocationStatus) bool { return s.Healthy })
	stop()
	bad.Store(2)
	before := asked.Load()
	run(t, m, dir)
	stream := m.connected()
	m.status("web-0-1", "it is adopted", func(s *spec.AllocationStatus) bool { return s.Healthy })
	for deadline := time.Now().Add(patience); asked.Load() < before+4; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the adopted task is not checked")
		}
	}
	down.Assignment.Generation, down.Assignment.Allocations[0].Want = 3, spec.WantStop
	if err := stream.Send(down); err != nil {
		t.Fatal(err)
	}
	m.status("web-0-1", "it stops", func(s *spec.AllocationStatus) bool {
		if s.State == spec.StateRunning && !s.Healthy {
			t.Errorf("it became unhealthy: %+v", s)
		}
		return s.State == spec.StateComplete
	})
}

// TestAMasterThatWasBuiltAnew has another CA: the agent says what to do, and with a token of it the tasks run on.
func TestAMasterThatWasBuiltAnew(t *testing.T) {
	needRoot(t)
	old, anew := newFakeMaster(t), newFakeMaster(t)
	dir := dataDir(t)
	stop := run(t, old, dir)
	stream := old.connected()
	a := app("sleep", "100000")
	if err := stream.Send(assignment(200, a, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	running := func(s *spec.AllocationStatus) bool { return s.State == spec.StateRunning && s.Tasks[0].Pid > 0 }
	first := old.status("web-0-1", "it runs", running)
	stop()

	id, err := ensureIdentity(context.Background(), filepath.Join(dir, "identity", "papers.json"), "n1", anew.api.URL, "")
	if err != nil {
		t.Fatal(err)
	}
	l := &link{node: "n1", identity: id, leader: anew.link.Addr().String(), log: slog.New(slog.DiscardHandler)}
	for what, err := range map[string]error{"link": l.attach(context.Background()), "renewal": id.renew(context.Background(), "n1")} {
		if err == nil || !strings.Contains(err.Error(), "restart this agent with --join TOKEN") {
			t.Errorf("%s with a master of another CA: %v", what, err)
		}
	}

	run(t, anew, dir)
	stream = anew.connected()
	adopted := anew.status("web-0-1", "it is adopted", running)
	if err := stream.Send(assignment(201, a, spec.WantRun)); err != nil { // a master goes on above what agents report
		t.Fatal(err)
	}
	b := app("sleep", "100000")
	b.Tasks[0].Checks = []spec.Check{{Name: "up", Type: spec.CheckTCP, Port: "http"}}
	if err := stream.Send(assignment(202, b, spec.WantRun)); err != nil {
		t.Fatal(err)
	}
	kept := anew.status("web-0-1", "it follows the new master", func(s *spec.AllocationStatus) bool { return len(s.Tasks[0].Checks) > 0 })
	if adopted.Tasks[0].Pid != first.Tasks[0].Pid || kept.Tasks[0].Pid != first.Tasks[0].Pid || kept.Restarts != 0 {
		t.Errorf("pid %d became %d, then %d", first.Tasks[0].Pid, adopted.Tasks[0].Pid, kept.Tasks[0].Pid)
	}
}

func TestMemoryKeepsWholeRecordsOnly(t *testing.T) {
	m := memory{t.TempDir()}
	log := slog.New(slog.DiscardHandler)
	if _, err := m.load(log); err != nil {
		t.Fatal(err)
	}
	record := node.Record{Decided: spec.Allocation{ID: "web-0-1"}, App: app("true")}
	if err := m.save(node.Save{Header: &node.Header{FormatVersion: 1, Generation: 9}, Put: []node.Record{record}}); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"web-1-1.json.tmp": "{", "web-2-1.json": "{"} {
		if err := os.WriteFile(filepath.Join(m.dir, "allocations", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := m.load(log)
	if err != nil || got.Header.Generation != 9 || len(got.Records) != 1 || got.Records[0].Decided.ID != "web-0-1" {
		t.Errorf("loaded %+v, %v", got, err)
	}
	if err := m.save(node.Save{Drop: []spec.AllocationID{"web-0-1", "never-0-1"}}); err != nil {
		t.Fatal(err)
	}
	if got, err = m.load(log); err != nil || len(got.Records) != 0 {
		t.Errorf("after the drop: %+v, %v", got, err)
	}
	if err := os.WriteFile(m.header(), nil, 0o600); err != nil { // as a loss of power may leave it
		t.Fatal(err)
	}
	if got, err = m.load(log); err != nil || got.Header.Generation != 0 {
		t.Errorf("with an empty header: %+v, %v", got, err)
	}
	if err := os.WriteFile(m.header(), []byte(`{"format_version":99}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err = m.load(log); err == nil || errors.Is(err, os.ErrNotExist) {
		t.Errorf("a newer format is read: %v", err)
	}
}
