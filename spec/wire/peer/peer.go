// Package peer notices that the other end of a connection has gone. It imports next to nothing: the executor uses it, which has to stay small.
package peer

import (
	"net"
	"os"

	"golang.org/x/sys/unix"
)

// Peer is the other end of a connection.
type Peer struct{ own *os.File }

// Of watches the other end of a connection. One of a connection that is no socket is never gone.
func Of(conn net.Conn) *Peer {
	if t, ok := conn.(interface{ NetConn() net.Conn }); ok { // a tls.Conn
		conn = t.NetConn()
	}
	socket, ok := conn.(interface{ File() (*os.File, error) })
	if !ok {
		return &Peer{}
	}
	own, err := socket.File() // one more descriptor, so that neither readers nor writers of the connection wait for the watch
	if err != nil {
		return &Peer{}
	}
	return &Peer{own}
}

// Gone waits until the peer has closed its end, also while what it sent before is still unread, as it is where a command does not read its
// input. It costs nothing while the connection stands. After Close it returns false.
func (p *Peer) Gone() bool {
	if p.own == nil {
		return false
	}
	raw, err := p.own.SyscallConn()
	return err == nil && raw.Read(closed) == nil
}

// Close ends the watch, and not the connection.
func (p *Peer) Close() {
	if p.own != nil {
		p.own.Close()
	}
}

// closed reports whether the other end of a socket will send no more.
func closed(fd uintptr) bool {
	poll := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
	n, err := unix.Poll(poll, 0)
	return err == nil && n > 0
}
