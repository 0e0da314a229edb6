package journal

import (
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/hashicorp/raft"
)

// Link is how members reach each other: a listener, and a way to dial another member's address. Addr is the address
// under which the others find this one.
type Link interface {
	net.Listener
	Dial(address string, timeout time.Duration) (net.Conn, error)
}

// ListenTCP makes a link over TCP. The others dial advertise, or the address listened on where that is empty. With
// config, both directions are TLS; it then needs a certificate, RootCAs and ClientCAs, and should require client
// certificates, since whoever can open a link can write to the journal.
func ListenTCP(listen, advertise string, config *tls.Config) (Link, error) {
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return nil, fmt.Errorf("listen for other masters: %w", err)
	}
	addr := l.Addr()
	if advertise != "" {
		if addr, err = net.ResolveTCPAddr("tcp", advertise); err != nil {
			l.Close()
			return nil, fmt.Errorf("resolve address to advertise to other masters: %w", err)
		}
		addr = namedAddr{addr, advertise}
	}
	if t, ok := addr.(*net.TCPAddr); ok && t.IP.IsUnspecified() {
		l.Close()
		return nil, fmt.Errorf("listen for other masters: %s is no address that others can dial: set one to advertise", addr)
	}
	if config != nil {
		l = tls.NewListener(l, config)
	}
	return &tcpLink{Listener: l, addr: addr, tls: config}, nil
}

// namedAddr keeps the name that was given instead of the address it resolved to, which may change.
type namedAddr struct {
	net.Addr
	name string
}

// String returns the name.
func (a namedAddr) String() string { return a.name }

type tcpLink struct {
	net.Listener
	addr net.Addr
	tls  *tls.Config
}

// Addr returns the advertised address.
func (l *tcpLink) Addr() net.Addr { return l.addr }

// Dial connects to another member, and where TLS is on checks that the certificate is for the address's host.
func (l *tcpLink) Dial(address string, timeout time.Duration) (net.Conn, error) {
	d := &net.Dialer{Timeout: timeout}
	if l.tls == nil {
		return d.Dial("tcp", address)
	}
	return tls.DialWithDialer(d, "tcp", address, l.tls)
}

// streams shows a Link to raft, whose addresses have a type of their own.
type streams struct{ Link }

// Dial connects to another member.
func (s streams) Dial(address raft.ServerAddress, timeout time.Duration) (net.Conn, error) {
	return s.Link.Dial(string(address), timeout)
}
