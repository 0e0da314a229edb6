package journal

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// cable is a link that can be cut.
type cable struct {
	Link
	cut   atomic.Bool
	mu    sync.Mutex
	conns []net.Conn
}

func (c *cable) keep(n net.Conn, err error) (net.Conn, error) {
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.cut.Load() {
		n.Close()
		return nil, errors.New("cut")
	}
	c.conns = append(c.conns, n)
	return n, nil
}

func (c *cable) Dial(address string, timeout time.Duration) (net.Conn, error) {
	if c.cut.Load() {
		return nil, errors.New("cut")
	}
	return c.keep(c.Link.Dial(address, timeout))
}

func (c *cable) Accept() (net.Conn, error) {
	for {
		n, err := c.Link.Accept()
		if err != nil {
			return nil, err
		}
		if n, err = c.keep(n, nil); err == nil {
			return n, nil
		}
	}
}

func (c *cable) set(cut bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cut.Store(cut)
	for _, n := range c.conns {
		n.Close()
	}
	c.conns = nil
}

// member is one of a group, with a Lead that runs until the test ends.
type member struct {
	*Journal
	machine *list
	cable   *cable
	config  Config
	reigns  atomic.Int64
	inside  atomic.Bool
}

func listen(t *testing.T, config *tls.Config) *cable {
	t.Helper()
	l, err := ListenTCP("127.0.0.1:0", "", config)
	if err != nil {
		t.Fatal(err)
	}
	return &cable{Link: l}
}

func startMember(t *testing.T, m *member) {
	t.Helper()
	m.machine = &list{}
	m.config.Machine, m.config.Link = m.machine, m.cable
	j, err := Open(m.config)
	if err != nil {
		t.Fatal(err)
	}
	m.Journal = j
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		j.Lead(ctx, func(ctx context.Context) error {
			m.reigns.Add(1)
			m.inside.Store(true)
			defer m.inside.Store(false)
			<-ctx.Done()
			return nil
		})
	}()
	t.Cleanup(func() { cancel(); <-done; j.Close() })
}

func startGroup(t *testing.T, n int, config *tls.Config) []*member {
	t.Helper()
	var group []*member
	var members []Member
	for i := range n {
		m := &member{cable: listen(t, config)}
		m.config = Config{Dir: t.TempDir(), ID: fmt.Sprint("m", i), SnapshotEntries: 50}
		members = append(members, Member{ID: m.config.ID, Address: m.cable.Addr().String()})
		group = append(group, m)
	}
	for _, m := range group {
		m.config.Members = members
		startMember(t, m)
	}
	return group
}

// leaderOf waits until one of the group is inside Lead's function.
func leaderOf(t *testing.T, group []*member) *member {
	t.Helper()
	var found *member
	within(t, 20*time.Second, "a leader", func() bool {
		for _, m := range group {
			if m.inside.Load() {
				found = m
			}
		}
		return found != nil
	})
	return found
}

// appendSomewhere appends to whoever leads until it is acknowledged.
func appendSomewhere(t *testing.T, group []*member, entry string) {
	t.Helper()
	within(t, 20*time.Second, "append "+entry, func() bool {
		for _, m := range group {
			if m.inside.Load() && m.Append(t.Context(), []byte(entry)) == nil {
				return true
			}
		}
		return false
	})
}

func equal(t *testing.T, group []*member, want []string) {
	t.Helper()
	for _, m := range group {
		within(t, 20*time.Second, m.config.ID+" has every entry", func() bool { return inOrder(m.machine.all(), want) == nil })
	}
	for _, m := range group[1:] {
		within(t, 20*time.Second, "the members are equal", func() bool { return slices.Equal(m.machine.all(), group[0].machine.all()) })
	}
}

func without(group []*member, m *member) []*member {
	return slices.DeleteFunc(slices.Clone(group), func(o *member) bool { return o == m })
}

func TestGroupLosesItsLeader(t *testing.T) {
	for name, config := range map[string]*tls.Config{"tcp": nil, "tls": mutualTLS(t)} {
		t.Run(name, func(t *testing.T) {
			group := startGroup(t, 3, config)
			var want []string
			for i := range 120 {
				e := fmt.Sprint("before ", i)
				appendSomewhere(t, group, e)
				want = append(want, e)
			}
			old := leaderOf(t, group)
			rest := without(group, old)
			start := time.Now()
			old.cable.set(true)
			if err := old.Close(); err != nil {
				t.Fatal(err)
			}
			appendSomewhere(t, rest, "after")
			t.Logf("leader gone to next append: %v", time.Since(start))
			want = append(want, "after")
			equal(t, rest, want)

			// It comes back at another address, tells the others, and catches up.
			old.config.Link = nil
			old.cable = listen(t, config)
			startMember(t, old)
			leader := leaderOf(t, rest)
			if err := leader.Add(Member{ID: old.config.ID, Address: old.cable.Addr().String()}); err != nil {
				t.Fatal(err)
			}
			equal(t, group, want)
		})
	}
}

func TestGroupCutsOffItsLeader(t *testing.T) {
	group := startGroup(t, 3, nil)
	appendSomewhere(t, group, "one")
	old := leaderOf(t, group)
	rest := without(group, old)
	old.cable.set(true)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := old.Append(ctx, []byte("lost")); err == nil {
		t.Error("a leader without a majority acknowledged an entry")
	}
	within(t, 20*time.Second, "the former leader leaves its function", func() bool { return !old.inside.Load() })
	if err := old.Append(t.Context(), []byte("late")); FateOf(err) != NotWritten || !errors.Is(err, ErrNotLeader) {
		t.Errorf("append to a former leader: %v", err)
	}
	appendSomewhere(t, rest, "two")
	old.cable.set(false)
	appendSomewhere(t, group, "three")
	equal(t, group, []string{"one", "two", "three"})
	if slices.Contains(old.machine.all(), "late") {
		t.Error("an append that was not written came into force")
	}
	if m, ok := old.Leader(); !ok || m.Address == "" {
		t.Errorf("leader is %v, %v", m, ok)
	}
}

// One member becomes three, and one again.
func TestGroupGrowsAndShrinks(t *testing.T) {
	group := startGroup(t, 1, nil)
	var want []string
	for i := range 100 { // past a snapshot, so that new members need it
		want = append(want, fmt.Sprint("one ", i))
		appendSomewhere(t, group, want[i])
	}
	for i := range 2 {
		m := &member{cable: listen(t, nil)}
		m.config = Config{Dir: t.TempDir(), ID: fmt.Sprint("new", i), Join: true, SnapshotEntries: 50}
		startMember(t, m)
		if err := group[0].Add(Member{ID: m.config.ID, Address: m.cable.Addr().String()}); err != nil {
			t.Fatal(err)
		}
		group = append(group, m)
	}
	appendSomewhere(t, group, "three")
	want = append(want, "three")
	equal(t, group, want)
	leader := leaderOf(t, group)
	for _, m := range without(group, leader) {
		if err := leader.Remove(m.config.ID); err != nil {
			t.Fatal(err)
		}
	}
	appendSomewhere(t, []*member{leader}, "alone")
	if members, err := leader.Members(); err != nil || len(members) != 1 {
		t.Errorf("members %v, %v", members, err)
	}
}

// mutualTLS makes a certificate for 127.0.0.1 that both sides trust and demand.
func mutualTLS(t *testing.T) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "master"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		RootCAs:      pool, ClientCAs: pool, ClientAuth: tls.RequireAndVerifyClientCert, MinVersion: tls.VersionTLS13,
	}
}
