package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
)

// clock is a clock that tests move.
type clock struct{ t time.Time }

func (c *clock) now() time.Time { return c.t }

func newClock() *clock { return &clock{time.Now()} }

func request(t *testing.T, name string, curve elliptic.Curve) (string, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(curve, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: der})), key
}

// handshake connects a client to a server with these configurations and returns what the server learned.
func handshake(t *testing.T, server, client *tls.Config) (tls.ConnectionState, error) {
	t.Helper()
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	result := make(chan error, 1)
	go func() {
		c := tls.Client(a, client)
		err := c.Handshake()
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // with TLS 1.3 a refused certificate shows here
		}
		result <- err
		a.Close()
	}()
	s := tls.Server(b, server)
	err := s.Handshake()
	if err == nil {
		_, err = s.Write([]byte{1})
	}
	b.Close()
	return s.ConnectionState(), errors.Join(err, <-result)
}

func TestAgentsAreKnownByTheirCertificate(t *testing.T) {
	c := newClock()
	a, err := OpenAuthority(t.TempDir(), []string{"master.example:7470"}, c.now)
	if err != nil {
		t.Fatal(err)
	}
	csr, key := request(t, "root", elliptic.P256())
	text, err := a.SignAgent("n1", csr)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode([]byte(text))
	mine := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(a.PEM()))
	client := &tls.Config{RootCAs: pool, ServerName: "master.example", Certificates: []tls.Certificate{mine}}

	state, err := handshake(t, a.TLS(true), client)
	if err != nil {
		t.Fatal(err)
	}
	if node, ok := AgentOf(&state); !ok || node != "n1" {
		t.Errorf("the peer is %q (%v), want n1: the name comes from the master, not from the request", node, ok)
	}

	client.Certificates = nil
	if _, err := handshake(t, a.TLS(true), client); err == nil {
		t.Error("a client without a certificate was let in where one is required")
	}
	if state, err := handshake(t, a.TLS(false), client); err != nil {
		t.Errorf("a client without a certificate was refused where none is required: %v", err)
	} else if _, ok := AgentOf(&state); ok {
		t.Error("a client without a certificate counts as an agent")
	}

	other, err := OpenAuthority(t.TempDir(), nil, c.now)
	if err != nil {
		t.Fatal(err)
	}
	if text, err = other.SignAgent("n1", csr); err != nil {
		t.Fatal(err)
	}
	block, _ = pem.Decode([]byte(text))
	foreign := tls.Certificate{Certificate: [][]byte{block.Bytes}, PrivateKey: key}
	client.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &foreign, nil }
	if _, err := handshake(t, a.TLS(false), client); err == nil {
		t.Error("a certificate of another authority was accepted")
	}
}

func TestTheServerCertificateRenewsItself(t *testing.T) {
	c, dir := newClock(), t.TempDir()
	open := func(names ...string) *x509.Certificate {
		t.Helper()
		a, err := OpenAuthority(dir, names, c.now)
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.serverCertificate()
		if err != nil {
			t.Fatal(err)
		}
		return s.Leaf
	}
	first := open("a.example")
	if again := open("a.example"); !again.Equal(first) {
		t.Error("opening again made another certificate")
	}
	second := open("a.example", "b.example")
	if second.Equal(first) || second.VerifyHostname("b.example") != nil {
		t.Error("a new name did not make a new certificate")
	}
	c.t = c.t.Add(ServerValidity - ServerValidity/8)
	if third := open("a.example"); third.Equal(second) || third.NotAfter.Before(c.t.Add(ServerValidity/2)) {
		t.Error("a certificate near its end was kept")
	}
	for _, name := range []string{"localhost", "127.0.0.1", "::1"} {
		if err := second.VerifyHostname(name); err != nil {
			t.Error(err)
		}
	}
}

func TestWhatIsNotSigned(t *testing.T) {
	a, err := OpenAuthority(t.TempDir(), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	good, _ := request(t, "x", elliptic.P256())
	large, _ := request(t, "x", elliptic.P384())
	for name, csr := range map[string]string{
		"no PEM": "x", "another block": a.PEM(), "another curve": large, "cut short": good[:len(good)/2],
		"changed": strings.Replace(good, good[60:64], "AAAA", 1),
	} {
		if _, err := a.SignAgent("n1", csr); err == nil {
			t.Errorf("%s: signed", name)
		}
	}
	for _, node := range []spec.NodeID{"", "N1", "../x", "a b"} {
		if _, err := a.SignAgent(node, good); err == nil {
			t.Errorf("signed for the node %q", node)
		}
	}
}

func TestTokens(t *testing.T) {
	c, path := newClock(), filepath.Join(t.TempDir(), "tokens.json")
	tokens, err := OpenTokens(path, c.now)
	if err != nil {
		t.Fatal(err)
	}
	secret, made, err := tokens.Create(Agent, "for n1", DefaultJoinTTL)
	if err != nil {
		t.Fatal(err)
	}
	forever, _, err := tokens.Create(Operator, "me", 0)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(secret, "stw_agent_") {
		t.Errorf("the token is %q", secret)
	}
	if _, _, err := tokens.Create("god", "x", 0); err == nil {
		t.Error("made a token of an unknown kind")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(data), secret[len("stw_agent_"):]) {
		t.Error("the file holds the secret")
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the file's mode is %v (%v)", info.Mode(), err)
	}
	if tokens, err = OpenTokens(path, c.now); err != nil {
		t.Fatal(err)
	}
	if k, err := tokens.Check(secret); err != nil || k.ID != made.ID || k.Kind != Agent || k.Hash != "" {
		t.Errorf("after reading again: %+v, %v", k, err)
	}
	for _, bad := range []string{"", "stw_agent_", secret + "x", secret[:len(secret)-1]} {
		if _, err := tokens.Check(bad); !errors.Is(err, ErrToken) {
			t.Errorf("Check(%q) = %v", bad, err)
		}
	}
	c.t = c.t.Add(25 * time.Hour)
	if _, err := tokens.Check(secret); !errors.Is(err, ErrToken) {
		t.Errorf("an expired token: %v", err)
	}
	k, err := tokens.Check(forever)
	if err != nil {
		t.Fatal(err)
	}
	if ok, err := tokens.Revoke(k.ID); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if _, err := tokens.Check(forever); !errors.Is(err, ErrToken) {
		t.Errorf("a revoked token: %v", err)
	}
	if ok, _ := tokens.Revoke(k.ID); ok {
		t.Error("revoked twice")
	}
}

func TestLocalCredentials(t *testing.T) {
	dir := t.TempDir()
	a, err := OpenAuthority(filepath.Join(dir, "identity"), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := OpenTokens(filepath.Join(dir, "tokens.json"), time.Now)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "credentials.json")
	first, err := Local(path, "https://127.0.0.1:1", a, tokens)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Local(path, "https://127.0.0.1:2", a, tokens)
	if err != nil || again.Token != first.Token || again.Address != "https://127.0.0.1:2" {
		t.Errorf("the second time: %+v, %v", again, err)
	}
	if read, err := ReadCredentials(path); err != nil || read != again {
		t.Errorf("read %+v, %v", read, err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if mended, err := Local(path, "https://127.0.0.1:2", a, tokens); err != nil || mended.Token == first.Token {
		t.Errorf("a damaged file: %+v, %v", mended, err)
	}
}

func TestJoinTokens(t *testing.T) {
	a, err := OpenAuthority(t.TempDir(), nil, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	fp, secret, err := ParseJoinToken(JoinToken(a.Fingerprint(), "stw_agent_x-y_z") + "\n")
	if err != nil || fp != a.Fingerprint() || secret != "stw_agent_x-y_z" {
		t.Errorf("parsed %q, %q, %v", fp, secret, err)
	}
	for _, bad := range []string{"", "stwjoin", "stwjoin..stw_agent_x", "x." + a.Fingerprint() + ".stw_agent_x", "stwjoin." + a.Fingerprint() + ".x"} {
		if _, _, err := ParseJoinToken(bad); err == nil {
			t.Errorf("%q was accepted", bad)
		}
	}
}

func TestAPairThatDoesNotMatchIsRefused(t *testing.T) {
	one, two := t.TempDir(), t.TempDir()
	for _, dir := range []string{one, two} {
		if _, err := OpenAuthority(dir, nil, time.Now); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Rename(filepath.Join(two, "ca.key"), filepath.Join(one, "ca.key")); err != nil {
		t.Fatal(err)
	}
	if _, err := OpenAuthority(one, nil, time.Now); err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("a mixed pair: %v", err)
	}
}
