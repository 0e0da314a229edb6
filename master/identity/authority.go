package identity

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/stowage/stowage/spec"
)

// Validity of certificates, and when they are renewed.
const (
	// AuthorityValidity outlives the machines; changing an authority means joining every agent again.
	AuthorityValidity = 10 * 365 * 24 * time.Hour
	// ServerValidity of the master's certificate. It renews itself.
	ServerValidity = 365 * 24 * time.Hour
	// AgentValidity of an agent's certificate. Agents renew past the half of it.
	AgentValidity = 365 * 24 * time.Hour
	// backdate makes new certificates valid on machines whose clock is a little behind.
	backdate = 5 * time.Minute
)

const agents = "stowage agents" // the organization in the certificates of agents

// Authority is the cluster's certificate authority together with the master's own certificate. Its methods may be
// called from any goroutine.
type Authority struct {
	dir  string
	now  func() time.Time
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	made bool // by this call of OpenAuthority

	mu     sync.Mutex
	names  []string // host names and addresses the server certificate is for, sorted
	server *tls.Certificate
}

// OpenAuthority reads the authority in dir, or makes one. The names are what the master is reached by, beside those of
// this machine; now is the clock.
func OpenAuthority(dir string, names []string, now func() time.Time) (*Authority, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make identity folder: %w", err)
	}
	a := &Authority{dir: dir, now: now, names: serverNames(names)}
	cert, key, err := readPair(filepath.Join(dir, "ca"))
	if errors.Is(err, fs.ErrNotExist) {
		cert, key, err = a.found()
		a.made = true
	}
	if err != nil {
		return nil, fmt.Errorf("open certificate authority in %s: %w", dir, err)
	}
	a.cert, a.key, a.pool = cert, key, x509.NewCertPool()
	a.pool.AddCert(cert)
	if _, err := a.serverCertificate(); err != nil {
		return nil, err
	}
	return a, nil
}

// found makes a new authority.
func (a *Authority) found() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	serial, err := newSerial()
	if err != nil {
		return nil, nil, err
	}
	now := a.now()
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "Stowage cluster " + serial.Text(36)[:6]},
		NotBefore: now.Add(-backdate), NotAfter: now.Add(AuthorityValidity),
		IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature | x509.KeyUsageCRLSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, &key.PublicKey, key)
	if err != nil {
		return nil, nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, nil, err
	}
	return cert, key, writePair(filepath.Join(a.dir, "ca"), der, key)
}

// New reports whether the authority was made just now: no agent can have joined this cluster before.
func (a *Authority) New() bool { return a.made }

// PEM returns the authority's certificate for others to trust.
func (a *Authority) PEM() string {
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
}

// Fingerprint returns the SHA-256 of the authority's certificate (its DER bytes, as they travel in a TLS handshake) in
// unpadded base64url.
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert) }

// Fingerprint returns the SHA-256 of a certificate's DER bytes in unpadded base64url.
func Fingerprint(c *x509.Certificate) string {
	sum := sha256.Sum256(c.Raw)
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// TLS returns the configuration of a listener. The certificate of the authority travels with that of the master, so that
// an agent can compare its fingerprint. With mutual, a client without a certificate of an agent is refused; otherwise a
// client may show one.
func (a *Authority) TLS(mutual bool, protocols ...string) *tls.Config {
	auth := tls.VerifyClientCertIfGiven
	if mutual {
		auth = tls.RequireAndVerifyClientCert
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS13, ClientAuth: auth, ClientCAs: a.pool, NextProtos: protocols, Time: a.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return a.serverCertificate() },
	}
}

// serverCertificate returns the master's certificate, a new one when the old nears its end or lacks a name.
func (a *Authority) serverCertificate() (*tls.Certificate, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.server == nil {
		a.server = a.readServer()
	}
	if a.server != nil && a.serves(a.server.Leaf) {
		return a.server, nil
	}
	c, err := a.issueServer()
	if err != nil {
		return nil, fmt.Errorf("make the master's certificate: %w", err)
	}
	a.server = c
	return c, nil
}

func (a *Authority) readServer() *tls.Certificate {
	cert, key, err := readPair(filepath.Join(a.dir, "server"))
	if err != nil || cert.CheckSignatureFrom(a.cert) != nil {
		return nil
	}
	return a.chain(cert, key)
}

func (a *Authority) chain(cert *x509.Certificate, key *ecdsa.PrivateKey) *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{cert.Raw, a.cert.Raw}, PrivateKey: key, Leaf: cert}
}

// serves reports whether a server certificate has all names and at least a quarter of its life left.
func (a *Authority) serves(c *x509.Certificate) bool {
	if a.now().Add(ServerValidity/4).After(c.NotAfter) || a.now().Before(c.NotBefore) {
		return false
	}
	return !slices.ContainsFunc(a.names, func(name string) bool { return c.VerifyHostname(name) != nil })
}

func (a *Authority) issueServer() (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		Subject: pkix.Name{CommonName: "Stowage master"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, name := range a.names {
		if ip := net.ParseIP(name); ip != nil {
			t.IPAddresses = append(t.IPAddresses, ip)
		} else {
			t.DNSNames = append(t.DNSNames, name)
		}
	}
	cert, err := a.sign(t, &key.PublicKey, ServerValidity)
	if err != nil {
		return nil, err
	}
	if err := writePair(filepath.Join(a.dir, "server"), cert.Raw, key); err != nil {
		return nil, err
	}
	return a.chain(cert, key), nil
}

func (a *Authority) sign(t *x509.Certificate, public any, validity time.Duration) (*x509.Certificate, error) {
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	now := a.now()
	t.SerialNumber, t.NotBefore, t.NotAfter = serial, now.Add(-backdate), now.Add(validity)
	t.KeyUsage, t.BasicConstraintsValid = x509.KeyUsageDigitalSignature, true
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, public, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// SignAgent makes the certificate of an agent from its certificate request (PEM). Only the key is taken from the request:
// what the certificate says is the master's word.
func (a *Authority) SignAgent(node spec.NodeID, csr string) (string, error) {
	if err := spec.CheckLabel(string(node)); err != nil {
		return "", fmt.Errorf("sign agent's certificate: %w", err)
	}
	block, _ := pem.Decode([]byte(csr))
	if block == nil || block.Type != "CERTIFICATE REQUEST" {
		return "", errors.New("sign agent's certificate: the request is no PEM block of type CERTIFICATE REQUEST")
	}
	req, err := x509.ParseCertificateRequest(block.Bytes)
	if err == nil {
		err = req.CheckSignature()
	}
	if err != nil {
		return "", fmt.Errorf("sign agent's certificate: the request is not valid: %w", err)
	}
	if key, ok := req.PublicKey.(*ecdsa.PublicKey); !ok || key.Curve != elliptic.P256() {
		return "", errors.New("sign agent's certificate: the key is not ECDSA P-256: make one of that kind")
	}
	cert, err := a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: string(node), Organization: []string{agents}},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, req.PublicKey, AgentValidity)
	if err != nil {
		return "", fmt.Errorf("sign agent's certificate: %w", err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})), nil
}

// AgentOf returns the node that a verified TLS connection belongs to, and false when the peer showed no agent's certificate.
func AgentOf(state *tls.ConnectionState) (spec.NodeID, bool) {
	if state == nil || len(state.VerifiedChains) == 0 {
		return "", false
	}
	leaf := state.VerifiedChains[0][0]
	if !slices.Contains(leaf.Subject.Organization, agents) || leaf.Subject.CommonName == "" {
		return "", false
	}
	return spec.NodeID(leaf.Subject.CommonName), true
}

// serverNames are all names of this machine and the given ones, sorted.
func serverNames(more []string) []string {
	names := []string{"localhost", "127.0.0.1", "::1"}
	if host, err := os.Hostname(); err == nil && host != "" {
		names = append(names, host)
	}
	if addrs, err := net.InterfaceAddrs(); err == nil {
		for _, a := range addrs {
			if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
				names = append(names, n.IP.String())
			}
		}
	}
	for _, n := range more {
		if host, _, err := net.SplitHostPort(n); err == nil {
			n = host
		}
		if n != "" && n != "0.0.0.0" && n != "::" {
			names = append(names, n)
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

func newSerial() (*big.Int, error) {
	return rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
}
