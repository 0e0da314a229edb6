package registry

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"syscall"
	"time"
)

// maxRedirects on the way to one answer.
const maxRedirects = 5

// maxAnswer bounds all answers that are no blob, in bytes: greetings, tokens, errors and documents.
const maxAnswer = 8 << 20

// guard is what all requests of a registry go through, those included that the transport above makes by itself: for tokens,
// and after redirects.
type guard struct {
	inner http.RoundTripper
	plain bool // http is allowed
	host  string
	agent string
}

type blobKey struct{}

// withoutBound marks a request whose answer is bounded by who reads it.
func withoutBound(ctx context.Context) context.Context {
	return context.WithValue(ctx, blobKey{}, true)
}

// errPlain says that a registry was spoken to without TLS, or wanted that.
var errPlain = errors.New("it is not spoken to without TLS")

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(request *http.Request) (*http.Response, error) {
	if request.URL.Scheme != "https" && !(request.URL.Scheme == "http" && g.plain) {
		return nil, fmt.Errorf("%s: %w", request.URL.Redacted(), errPlain)
	}
	if g.agent != "" {
		request = request.Clone(request.Context())
		request.Header.Set("User-Agent", g.agent)
	}
	response, err := g.inner.RoundTrip(request)
	if err != nil {
		return nil, err
	}
	if request.Context().Value(blobKey{}) == nil {
		response.Body = &bounded{ReadCloser: response.Body, left: maxAnswer}
	}
	return response, nil
}

// redirect decides whether a redirect is followed. Credentials do not follow to another host: the transport sees to it.
func (g *guard) redirect(request *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if request.URL.Scheme != "https" && !(request.URL.Scheme == "http" && g.plain) {
		return fmt.Errorf("it redirects to %s, and only https is followed", request.URL.Scheme)
	}
	return nil
}

// bounded fails once more bytes come than a sane answer has.
type bounded struct {
	io.ReadCloser
	left int64
}

func (b *bounded) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= int64(n); b.left < 0 {
		return n, errLong
	}
	return n, err
}

var errLong = fmt.Errorf("its answer is longer than %d bytes", maxAnswer)

// dialer connects to what a registry asks for.
type dialer struct {
	own string // host of the registry, perhaps with a port

	mu      sync.Mutex
	proxies map[string]bool // that the environment names
}

// proxy is the proxy that the environment names for a request.
func (d *dialer) proxy(request *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(request)
	if u != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.proxies == nil {
			d.proxies = map[string]bool{}
		}
		d.proxies[hostPort(u)] = true
	}
	return u, err
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// errInside refuses an address.
var errInside = errors.New("a registry must not lead to an address of the machine itself")

// dial implements http.Transport.DialContext. The registry's own host may be anywhere, as may a proxy; what they lead to
// may not be this machine or its link.
func (d *dialer) dial(ctx context.Context, network, address string) (net.Conn, error) {
	n := &net.Dialer{Timeout: answerWithin, KeepAlive: 30 * time.Second}
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	known := d.proxies[address]
	d.mu.Unlock()
	own := d.own
	if h, _, err := net.SplitHostPort(d.own); err == nil {
		own = h
	}
	if !known && host != own {
		near := loopback(d.own) // a registry on this machine may have its tokens and blobs there too
		n.Control = func(_, address string, _ syscall.RawConn) error {
			h, _, err := net.SplitHostPort(address)
			if err != nil {
				return err
			}
			ip := net.ParseIP(h)
			if ip == nil || ip.IsLinkLocalUnicast() || ip.IsLinkLocalMulticast() || ip.IsUnspecified() || ip.IsMulticast() || ip.IsLoopback() && !near {
				return fmt.Errorf("%s: %w", h, errInside)
			}
			return nil
		}
	}
	return n.DialContext(ctx, network, address)
}
