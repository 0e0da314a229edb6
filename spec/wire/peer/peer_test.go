package peer

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestThePeerIsMissedThoughItsWordsAreUnread over both kinds of sockets, and no watch that is stopped says anything.
func TestThePeerIsMissedThoughItsWordsAreUnread(t *testing.T) {
	for network, address := range map[string]string{"tcp": "127.0.0.1:0", "unix": filepath.Join(t.TempDir(), "s")} {
		l, err := net.Listen(network, address)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		ends := func() (ours, theirs net.Conn) {
			theirs, err := net.Dial(network, l.Addr().String())
			if err == nil {
				ours, err = l.Accept()
			}
			if err != nil {
				t.Fatal(err)
			}
			return ours, theirs
		}
		ours, theirs := ends()
		defer ours.Close()
		gone := make(chan bool, 1)
		other := Of(ours)
		go func() { gone <- other.Gone() }()
		if _, err := theirs.Write([]byte("unread")); err != nil {
			t.Fatal(err)
		}
		select {
		case <-gone:
			t.Errorf("%s: gone while it stands", network)
		default:
		}
		// The connection is as usable as before, in both directions.
		if _, err := ours.Write([]byte("answer")); err != nil {
			t.Error(err)
		}
		b := make([]byte, 6)
		if n, err := theirs.Read(b); string(b[:n]) != "answer" {
			t.Errorf("%s: %q, %v", network, b[:n], err)
		}
		theirs.Close()
		select {
		case yes := <-gone:
			if !yes {
				t.Errorf("%s: the watch ends, and not by the end of the peer", network)
			}
		case <-time.After(time.Minute):
			t.Errorf("%s: the end of the peer is not seen", network)
		}
		other.Close()

		ours, theirs = ends()
		defer ours.Close()
		other = Of(ours)
		go func() { gone <- other.Gone() }()
		other.Close()
		if <-gone {
			t.Errorf("%s: a peer is gone that is there", network)
		}
		theirs.Close()
	}
}
