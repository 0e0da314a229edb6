package git

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	githttp "github.com/go-git/go-git/v5/plumbing/transport/http"
)

const dialTimeout = 10 * time.Second

// dial opens a conversation with the remote.
func (r *Repo) dial(ctx context.Context) (session, error) {
	ep, err := transport.NewEndpoint(r.config.URL)
	if err != nil {
		return nil, err
	}
	if ep.Protocol == "ssh" {
		return r.dialSSH(ctx, ep)
	}
	return r.dialHTTP(ep)
}

func (r *Repo) dialHTTP(ep *transport.Endpoint) (session, error) {
	t, err := r.token()
	if err != nil {
		return nil, err
	}
	var auth transport.AuthMethod
	if t != "" {
		if ep.Protocol == "http" && !loopback(ep.Host) {
			return nil, &Error{Kind: Unsupported, Where: r.where, What: "a token would be sent over http:// for everybody to read", Remedy: "use https://"}
		}
		user := r.config.TokenUser
		if user == "" {
			user = "git"
		}
		auth = &githttp.BasicAuth{Username: user, Password: t}
	}
	roots, err := r.roots()
	if err != nil {
		return nil, err
	}
	d := &net.Dialer{Timeout: dialTimeout}
	tr := &http.Transport{
		Proxy:               http.ProxyFromEnvironment,
		TLSClientConfig:     &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout: dialTimeout,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			c, err := d.DialContext(ctx, network, addr)
			if err != nil {
				return nil, err
			}
			return &impatient{c, r.config.Stall}, nil
		},
	}
	s, err := githttp.NewClient(&http.Client{Transport: tr}).NewUploadPackSession(ep, auth)
	if err != nil {
		tr.CloseIdleConnections()
		return nil, err
	}
	return &httpSession{s, tr}, nil
}

// httpSession closes its connections with it.
type httpSession struct {
	transport.UploadPackSession
	tr *http.Transport
}

// Close ends the session.
func (s *httpSession) Close() error {
	err := s.UploadPackSession.Close()
	s.tr.CloseIdleConnections()
	return err
}

// token returns the token to send, "" for none.
func (r *Repo) token() (string, error) {
	if r.config.TokenFile == "" {
		return r.config.Token, nil
	}
	b, err := os.ReadFile(r.config.TokenFile)
	if err != nil {
		return "", &Error{Kind: Denied, Where: r.where, What: "the file with the token cannot be read", Remedy: "make it, with the token as its only line", Err: err}
	}
	return strings.TrimSpace(string(b)), nil
}

func (r *Repo) roots() (*x509.CertPool, error) {
	if r.config.CAFile == "" {
		return nil, nil
	}
	pem, err := os.ReadFile(r.config.CAFile)
	if err != nil {
		return nil, fmt.Errorf("read certificates to trust: %w", err)
	}
	pool, err := x509.SystemCertPool()
	if err != nil {
		pool = x509.NewCertPool()
	}
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("read certificates to trust: %s has none in PEM form", r.config.CAFile)
	}
	return pool, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// impatient is a connection whose other side must not be silent for long.
type impatient struct {
	net.Conn
	stall time.Duration
}

// Read fails with errStalled when nothing comes.
func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	return n, c.explain(err)
}

// Write fails with errStalled when nothing is taken.
func (c *impatient) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Write(p)
	return n, c.explain(err)
}

func (c *impatient) explain(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("%w (%v)", errStalled, c.stall)
	}
	return err
}
