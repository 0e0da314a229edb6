package artifact

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stowage/stowage/spec"
)

const (
	// answerWithin bounds the wait for a connection, and for the beginning of an answer.
	answerWithin = 30 * time.Second
	// maxRedirects on the way to one answer.
	maxRedirects = 10
)

// errNear refuses an address.
var errNear = errors.New("it is an address of the machine, its link or its platform, which nothing is fetched from")

// guard decides where requests may go, whatever names, redirects and proxies say.
type guard struct {
	first *url.URL // what was asked for
	// stall is how long a connection may bring nothing where it is waited for; 0: somebody else looks after that.
	stall time.Duration

	mu      sync.Mutex
	proxies map[string]bool // addresses that the environment names
}

// client is for the requests of one artifact.
func (g *guard) client() *http.Client {
	return &http.Client{CheckRedirect: g.redirect, Transport: &http.Transport{
		Proxy: g.proxy, DialContext: g.dial, ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: answerWithin, ResponseHeaderTimeout: answerWithin,
	}}
}

// redirect decides whether a redirect is followed, and what goes along.
func (g *guard) redirect(next *http.Request, via []*http.Request) error {
	if len(via) > maxRedirects {
		return fmt.Errorf("more than %d redirects", maxRedirects)
	}
	if next.URL.Scheme != "https" && (next.URL.Scheme != "http" || via[len(via)-1].URL.Scheme == "https") {
		return fmt.Errorf("it redirects from %s to %s, which is not followed", via[len(via)-1].URL.Scheme, next.URL.Scheme)
	}
	if next.URL.Scheme != g.first.Scheme || !strings.EqualFold(next.URL.Host, g.first.Host) {
		// What is meant for one host is no business of another: the library would take all but some along.
		for name := range next.Header {
			if name != "User-Agent" && name != "Accept-Encoding" && name != "Range" && name != "If-Range" {
				next.Header.Del(name)
			}
		}
	}
	return nil
}

// proxy is the proxy that the environment names for a request.
func (g *guard) proxy(request *http.Request) (*url.URL, error) {
	u, err := http.ProxyFromEnvironment(request)
	if u != nil {
		port := u.Port()
		if port == "" {
			port = map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[u.Scheme]
		}
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.proxies == nil {
			g.proxies = map[string]bool{}
		}
		g.proxies[net.JoinHostPort(u.Hostname(), port)] = true
	}
	return u, err
}

// dial connects, unless the address that a name turned out to have is refused. It is looked at when the connection is made, so no second answer of a
// name server counts.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := &net.Dialer{Timeout: answerWithin}
	g.mu.Lock()
	known := g.proxies[address]
	g.mu.Unlock()
	if !known {
		d.Control = func(_, address string, _ syscall.RawConn) error { return g.judge(address) }
	}
	c, err := d.DialContext(ctx, network, address)
	if err != nil || g.stall == 0 {
		return c, err
	}
	return &impatient{c, g.stall}, nil
}

// impatient is a connection whose other side must not be silent for long while it is waited for.
type impatient struct {
	net.Conn
	stall time.Duration
}

// Read fails when nothing comes.
func (c *impatient) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.stall)); err != nil {
		return 0, err
	}
	n, err := c.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = errStalled
	}
	return n, err
}

func (g *guard) judge(address string) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	ip := at.Addr().Unmap()
	if spec.NearAddress(ip) || ip.IsLoopback() && !loopback(g.first.Hostname()) {
		return fmt.Errorf("%s: %w", ip, errNear)
	}
	return nil
}

// loopback reports whether a host names this machine by itself: no resolver is asked.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
