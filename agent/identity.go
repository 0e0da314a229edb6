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
	"io"
	"io/fs"
	"log/slog"
	randv2 "math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"time"

	"github.com/stowage/stowage/spec"
)

// papers are what the agent proves itself by: a key that never leaves the node, the certificate that the master made for it,
// and the CA by which it knows the master. They are one file, so that key and certificate always belong together.
type papers struct {
	FormatVersion int    `json:"format_version"`
	Key           string `json:"key"`         // PEM
	Certificate   string `json:"certificate"` // PEM
	CA            string `json:"ca"`          // PEM
	Link          string `json:"link"`        // host:port of the agents' port
	API           string `json:"api"`         // base URL of the master's API

	pair  tls.Certificate
	roots *x509.CertPool
}

// papersVersion is the format version of papers.
const papersVersion = 1

// identity holds the agent's papers, which are renewed while it runs.
type identity struct {
	path string
	now  atomic.Pointer[papers]
}

// joinAnswer is what POST /v1/join and /v1/renew answer.
type joinAnswer struct {
	Certificate string `json:"certificate"`
	CA          string `json:"ca"`
	Link        string `json:"link"`
}

// tls returns the configuration for connections to the master. Each shows the newest certificate.
func (id *identity) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: id.now.Load().roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &id.now.Load().pair, nil }}
}

// explain adds to the error of a connection what to do when it will not go away by itself.
func (id *identity) explain(err error) error {
	const again = "make a token with `stowage token create --kind agent` where the master runs, and restart this agent with --join TOKEN; its tasks run on"
	if ends := id.now.Load().pair.Leaf.NotAfter; time.Now().After(ends) {
		return fmt.Errorf("%w: this agent's certificate ended on %s: %s", err, ends.Format(time.DateOnly), again)
	}
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return fmt.Errorf("%w: the master does not belong to the cluster that this agent joined; if it was built anew without its old data, %s", err, again)
	}
	return err
}

// ensureIdentity loads the identity of an agent that has joined before, or joins with the token. A token is used only when
// there is no identity that serves: none at all, or one of another cluster, or past its end. One under another name is an error:
// what runs here belongs to that node.
func ensureIdentity(ctx context.Context, path string, node spec.NodeID, master, token string) (*identity, error) {
	id := &identity{path: path}
	p, err := loadPapers(path)
	if err == nil && p.pair.Leaf.Subject.CommonName != string(node) {
		old := p.pair.Leaf.Subject.CommonName
		return nil, fmt.Errorf("this data directory belongs to node %s, not %s: start the agent with --node %s, or choose another directory with --data; to give up node %s, run `stowage agent down --purge` on its directory", old, node, old, old)
	}
	switch {
	case err == nil && (token == "" || p.serve(node, token)):
		if master != "" {
			p.API = master
		}
		id.now.Store(p)
		return id, nil
	case err != nil && !errors.Is(err, fs.ErrNotExist) && token == "":
		return nil, fmt.Errorf("read identity: %w: join again with --join TOKEN", err)
	case token == "":
		return nil, errors.New("this agent has not joined a cluster: run `stowage token create --kind agent` where the master runs, and start the agent with --master URL --join TOKEN")
	case master == "":
		return nil, errors.New("join cluster: --master URL is missing: the address of the master's API, such as https://10.0.0.1:7470")
	}
	return id, id.join(ctx, node, master, token)
}

func loadPapers(path string) (*papers, error) {
	p := new(papers)
	if err := readJSON(path, p); err != nil {
		return nil, err
	}
	if p.FormatVersion > papersVersion {
		return nil, fmt.Errorf("read %s: it has format version %d, this agent knows up to %d: run the newer agent again", path, p.FormatVersion, papersVersion)
	}
	return p, p.parse()
}

func (p *papers) parse() (err error) {
	if p.pair, err = tls.X509KeyPair([]byte(p.Certificate), []byte(p.Key)); err != nil {
		return fmt.Errorf("read certificate: %w", err)
	}
	p.roots = x509.NewCertPool()
	if !p.roots.AppendCertsFromPEM([]byte(p.CA)) {
		return errors.New("read CA: it holds no certificate")
	}
	return nil
}

// serve reports whether the papers are good for a node of the cluster that a join token belongs to.
func (p *papers) serve(node spec.NodeID, token string) bool {
	print, _, err := parseJoin(token)
	block, _ := pem.Decode([]byte(p.CA))
	if err != nil || block == nil {
		return false
	}
	sum := sha256.Sum256(block.Bytes)
	return bytes.Equal(sum[:], print) && p.pair.Leaf.Subject.CommonName == string(node) && time.Now().Before(p.pair.Leaf.NotAfter)
}

// keep makes the answer of a master the papers from now on: on disk first.
func (id *identity) keep(key []byte, answer joinAnswer, master string) error {
	p := &papers{FormatVersion: papersVersion, Key: string(key), Certificate: answer.Certificate, CA: answer.CA, Link: answer.Link, API: master}
	if err := p.parse(); err != nil {
		return fmt.Errorf("the master's answer: %w", err)
	}
	err := os.MkdirAll(filepath.Dir(id.path), 0o700)
	if err == nil {
		err = writeJSON(id.path, p, true)
	}
	if err != nil {
		return fmt.Errorf("keep identity: %w", err)
	}
	id.now.Store(p)
	return nil
}

// parseJoin splits a join token into the fingerprint of the CA and the secret.
func parseJoin(token string) (fingerprint []byte, secret string, err error) {
	parts := strings.Split(token, ".")
	if len(parts) == 3 && parts[0] == "stwjoin" && parts[2] != "" {
		if fingerprint, err = base64.RawURLEncoding.DecodeString(parts[1]); err == nil && len(fingerprint) == sha256.Size {
			return fingerprint, parts[2], nil
		}
	}
	return nil, "", errors.New("the join token cannot be read: it looks like stwjoin.….…, as `stowage token create --kind agent` prints it")
}

// request makes a key and a certificate request for it, both in PEM.
func request(node spec.NodeID) (key, csr []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make key: %w", err)
	}
	if csr, err = x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(node)}}, private); err != nil {
		return nil, nil, fmt.Errorf("make certificate request: %w", err)
	}
	if key, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
		return nil, nil, fmt.Errorf("encode key: %w", err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key}), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: csr}), nil
}

// join makes a key, has the master sign it, and keeps the result. The master is trusted only if its CA has the token's
// fingerprint.
func (id *identity) join(ctx context.Context, node spec.NodeID, master, token string) error {
	fingerprint, secret, err := parseJoin(token)
	if err != nil {
		return fmt.Errorf("join cluster: %w", err)
	}
	key, csr, err := request(node)
	if err != nil {
		return err
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // VerifyConnection does the verifying
		VerifyConnection: func(state tls.ConnectionState) error { return verifyPinned(state, fingerprint) }}
	answer, err := post(ctx, config, master+"/v1/join", secret, node, csr)
	if err == nil {
		err = id.keep(key, answer, master)
	}
	if err != nil {
		return fmt.Errorf("join cluster at %s: %w", master, err)
	}
	return nil
}

const (
	// renewLook is how often an agent looks whether its certificate is past the half of its life, give or take a half, so that
	// agents which joined together do not renew together.
	renewLook = time.Minute
	// renewRest follows a renewal: a clock that is years off must not make one each minute.
	renewRest = time.Hour
)

// watch renews the certificate whenever it is past the half of its life, until the context ends.
func (id *identity) watch(ctx context.Context, node spec.NodeID, log *slog.Logger) error {
	failures := 0
	for {
		wait := renewLook
		leaf := id.now.Load().pair.Leaf
		if half := leaf.NotBefore.Add(leaf.NotAfter.Sub(leaf.NotBefore) / 2); time.Now().After(half) {
			err := id.renew(ctx, node)
			switch {
			case ctx.Err() != nil:
				return nil
			case err == nil:
				failures, wait = 0, renewRest
				log.Info("certificate renewed", "until", id.now.Load().pair.Leaf.NotAfter)
			default:
				if failures++; failures&(failures-1) == 0 { // the 1st, 2nd, 4th, 8th … time
					log.Warn("the certificate cannot be renewed; trying again", "ends", leaf.NotAfter, "error", err, "attempts", failures)
				}
			}
		}
		if !pause(ctx, wait/2+randv2.N(wait)) {
			return nil
		}
	}
}

// renew asks for the next certificate, with the present one.
func (id *identity) renew(ctx context.Context, node spec.NodeID) error {
	p := id.now.Load()
	key, csr, err := request(node)
	if err != nil {
		return err
	}
	answer, err := post(ctx, id.tls(), p.API+"/v1/renew", "", node, csr)
	if err == nil {
		err = id.keep(key, answer, p.API)
	}
	if err != nil {
		return fmt.Errorf("renew certificate at %s: %w", p.API, id.explain(err))
	}
	return nil
}

// verifyPinned accepts a server whose chain ends in the CA with the fingerprint.
func verifyPinned(state tls.ConnectionState, fingerprint []byte) error {
	roots, others := x509.NewCertPool(), x509.NewCertPool()
	found := false
	for _, c := range state.PeerCertificates[1:] {
		if sum := sha256.Sum256(c.Raw); bytes.Equal(sum[:], fingerprint) {
			roots.AddCert(c)
			found = true
		} else {
			others.AddCert(c)
		}
	}
	if !found {
		return errors.New("the master does not belong to the cluster of this join token (its CA is another): check the address, or make a new token there")
	}
	_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, Intermediates: others, DNSName: state.ServerName})
	return err
}

// post asks a master to sign.
func post(ctx context.Context, config *tls.Config, url, secret string, node spec.NodeID, csr []byte) (joinAnswer, error) {
	body, err := json.Marshal(map[string]string{"node": string(node), "csr": string(csr)})
	if err != nil {
		return joinAnswer{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return joinAnswer{}, err
	}
	request.Header.Set("Content-Type", "application/json")
	if secret != "" {
		request.Header.Set("Authorization", "Bearer "+secret)
	}
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true}, Timeout: 30 * time.Second}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return joinAnswer{}, err
	}
	defer response.Body.Close()
	data, err := io.ReadAll(io.LimitReader(response.Body, 1<<20))
	if err != nil {
		return joinAnswer{}, err
	}
	if response.StatusCode != http.StatusOK {
		return joinAnswer{}, fmt.Errorf("the master answers %s: %s", response.Status, strings.TrimSpace(string(data)))
	}
	var answer joinAnswer
	if err := json.Unmarshal(data, &answer); err != nil {
		return joinAnswer{}, fmt.Errorf("read answer: %w", err)
	}
	return answer, nil
}
