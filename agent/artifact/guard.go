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
	"slices"
	"strconv"
	"strings"
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
}

// client is for the requests of one artifact.
func (g *guard) client() *http.Client {
	direct := &http.Transport{
		DialContext: g.dial, ForceAttemptHTTP2: true, DisableCompression: true, TLSHandshakeTimeout: answerWithin, ResponseHeaderTimeout: answerWithin,
	}
	proxied := direct.Clone()
	proxied.Proxy, proxied.DialContext = http.ProxyFromEnvironment, g.dialProxy
	return &http.Client{CheckRedirect: g.redirect, Transport: &routes{g, direct, proxied}}
}

// routes sends requests directly or to the proxy that the environment names. Only who has set the environment chooses the address of a proxy: it is not
// judged, and a connection to it is none for requests whose target has the same address.
type routes struct {
	g               *guard
	direct, proxied *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (r *routes) RoundTrip(request *http.Request) (*http.Response, error) {
	proxy, err := http.ProxyFromEnvironment(request)
	switch {
	case err != nil:
		return nil, err
	case proxy == nil:
		return r.direct.RoundTrip(request)
	}
	// The proxy makes the connection: an address is judged as it is written, and what a name means is the proxy's business.
	if err := r.g.judgeHost(request.URL.Hostname()); err != nil {
		return nil, err
	}
	return r.proxied.RoundTrip(request)
}

// CloseIdleConnections is what http.Client looks for.
func (r *routes) CloseIdleConnections() {
	r.direct.CloseIdleConnections()
	r.proxied.CloseIdleConnections()
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

// dial connects, unless the address that a name turned out to have is refused. It is looked at when the connection is made, so no second answer of a
// name server counts.
func (g *guard) dial(ctx context.Context, network, address string) (net.Conn, error) {
	return g.connect(ctx, &net.Dialer{Timeout: answerWithin, Control: func(_, address string, _ syscall.RawConn) error { return g.judge(address) }}, network, address)
}

// dialProxy connects to a proxy.
func (g *guard) dialProxy(ctx context.Context, network, address string) (net.Conn, error) {
	return g.connect(ctx, &net.Dialer{Timeout: answerWithin}, network, address)
}

func (g *guard) connect(ctx context.Context, d *net.Dialer, network, address string) (net.Conn, error) {
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
	return g.judgeAddress(at.Addr())
}

func (g *guard) judgeAddress(ip netip.Addr) error {
	if spec.NearAddress(ip) || slices.ContainsFunc(spec.Ends(ip), netip.Addr.IsLoopback) && !loopback(g.first.Hostname()) {
		return fmt.Errorf("%s: %w", ip.Unmap(), errNear)
	}
	return nil
}

// judgeHost judges a host that somebody else resolves, as far as it is written as an address.
func (g *guard) judgeHost(host string) error {
	if ip, err := netip.ParseAddr(host); err == nil {
		return g.judgeAddress(ip)
	}
	// inet_aton(3) reads 169.254.43518 and 0xa9fea9fe as addresses: no name ends in a number (RFC 1123, section 2.1).
	end := strings.TrimSuffix(host, ".")
	end = end[strings.LastIndexByte(end, '.')+1:]
	if _, err := strconv.ParseUint(end, 0, 64); err == nil || end != "" && strings.Trim(end, "0123456789") == "" {
		return fmt.Errorf("%s: it is an address in a form that is not taken: write it in full", host)
	}
	return nil
}

// loopback reports whether a host names this machine by itself: no resolver is asked.
func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
