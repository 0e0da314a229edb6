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
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/stowage/stowage/spec"
)

// identity is what the agent proves itself by: a key that never leaves the node, the certificate that the master made for
// it, and the CA by which it knows the master.
//
//	DIR/key.pem DIR/cert.pem DIR/ca.pem    DIR/master.json {link, api}
type identity struct {
	certificate tls.Certificate
	ca          *x509.CertPool
	link        string // host:port of the agents' port
	api         string // base URL of the API
}

// contact is where the master was found when the agent joined.
type contact struct {
	Link string `json:"link"`
	API  string `json:"api"`
}

// joinAnswer is what POST /v1/join answers.
type joinAnswer struct {
	Certificate string `json:"certificate"`
	CA          string `json:"ca"`
	Link        string `json:"link"`
}

// tls returns the configuration for connections to the master.
func (id *identity) tls() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, RootCAs: id.ca, Certificates: []tls.Certificate{id.certificate}}
}

// renewBefore is how long before its end a certificate is renewed.
const renewBefore = 180 * 24 * time.Hour

// ensureIdentity loads the identity of an agent that has joined before, or joins with the token. A token is used only when
// there is no identity, or when it belongs to another cluster than the identity does.
func ensureIdentity(ctx context.Context, dir string, node spec.NodeID, master, token string) (*identity, error) {
	id, err := loadIdentity(dir)
	if err == nil && (token == "" || id.knows(dir, token)) {
		if master != "" {
			id.api = master
		}
		return id, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) && token == "" {
		return nil, fmt.Errorf("read identity: %w: join again with --join TOKEN", err)
	}
	if token == "" {
		return nil, errors.New("this agent has not joined a cluster: run `stowage token create --kind agent` where the master runs, and start the agent with --master URL --join TOKEN")
	}
	if master == "" {
		return nil, errors.New("join cluster: --master URL is missing: the address of the master's API, such as https://10.0.0.1:7470")
	}
	return join(ctx, dir, node, master, token)
}

func loadIdentity(dir string) (*identity, error) {
	cert, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
	if err != nil {
		return nil, err
	}
	key, err := os.ReadFile(filepath.Join(dir, "key.pem"))
	if err != nil {
		return nil, err
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return nil, err
	}
	var where contact
	if err := readJSON(filepath.Join(dir, "master.json"), &where); err != nil {
		return nil, err
	}
	return newIdentity(cert, key, ca, where)
}

func newIdentity(cert, key, ca []byte, where contact) (*identity, error) {
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return nil, fmt.Errorf("read certificate: %w", err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return nil, errors.New("read CA: it holds no certificate")
	}
	return &identity{certificate: pair, ca: pool, link: where.Link, api: where.API}, nil
}

// knows reports whether a join token belongs to the CA that the identity already has.
func (id *identity) knows(dir, token string) bool {
	print, _, err := parseJoin(token)
	if err != nil {
		return false
	}
	ca, err := os.ReadFile(filepath.Join(dir, "ca.pem"))
	if err != nil {
		return false
	}
	block, _ := pem.Decode(ca)
	if block == nil {
		return false
	}
	sum := sha256.Sum256(block.Bytes)
	return bytes.Equal(sum[:], print)
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

// join makes a key, has the master sign it, and keeps the result. The master is trusted only if its CA has the token's
// fingerprint.
func join(ctx context.Context, dir string, node spec.NodeID, master, token string) (*identity, error) {
	fingerprint, secret, err := parseJoin(token)
	if err != nil {
		return nil, fmt.Errorf("join cluster: %w", err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make key: %w", err)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: string(node)}}, key)
	if err != nil {
		return nil, fmt.Errorf("make certificate request: %w", err)
	}
	keyBytes, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, fmt.Errorf("encode key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, // VerifyConnection below does the verifying
		VerifyConnection: func(state tls.ConnectionState) error { return verifyPinned(state, fingerprint) }}
	answer, err := postJoin(ctx, config, master, secret, node, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE REQUEST", Bytes: request}))
	if err != nil {
		return nil, fmt.Errorf("join cluster at %s: %w", master, err)
	}
	return keepIdentity(dir, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyBytes}), answer, master)
}

func keepIdentity(dir string, key []byte, answer joinAnswer, master string) (*identity, error) {
	where := contact{Link: answer.Link, API: master}
	id, err := newIdentity([]byte(answer.Certificate), key, []byte(answer.CA), where)
	if err != nil {
		return nil, fmt.Errorf("join cluster: the master's answer: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("keep identity: %w", err)
	}
	for name, data := range map[string][]byte{"key.pem": key, "cert.pem": []byte(answer.Certificate), "ca.pem": []byte(answer.CA)} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return nil, fmt.Errorf("keep identity: %w", err)
		}
	}
	if err := writeJSON(filepath.Join(dir, "master.json"), where); err != nil {
		return nil, fmt.Errorf("keep identity: %w", err)
	}
	return id, nil
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

func postJoin(ctx context.Context, config *tls.Config, master, secret string, node spec.NodeID, csr []byte) (joinAnswer, error) {
	body, err := json.Marshal(map[string]string{"node": string(node), "csr": string(csr)})
	if err != nil {
		return joinAnswer{}, err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, strings.TrimRight(master, "/")+"/v1/join", bytes.NewReader(body))
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
