package master

import (
	"context"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
	"github.com/stowage/stowage/master/git"
	"github.com/stowage/stowage/master/identity"
	"github.com/stowage/stowage/master/journal"
	"github.com/stowage/stowage/master/link"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/wire"
	"google.golang.org/grpc"
)

// CredentialsFile is the name of the file in the data folder that lets commands on this machine in.
const CredentialsFile = "credentials.json"

// closeTimeout is how long requests under way may take to finish when the master stops.
const closeTimeout = 500 * time.Millisecond

// Master is one running master.
type Master struct {
	config    Config
	started   spec.Time
	authority *identity.Authority
	tokens    *identity.Tokens
	repo      *git.Repo
	revisions *revisions
	host      *host.Host
	lookups   chan struct{} // has a place for each question to a registry
	machine   *machine
	journal   *journal.Journal
	link      *link.Server
	api       *server.Server
	story     *story
	metrics   figures
	streaming atomic.Int64  // streams that are open
	trees     chan struct{} // has a place for each tree in memory

	listenAPI, listenLink net.Listener

	term    atomic.Pointer[term] // nil while this master does not decide
	trouble atomic.Pointer[trouble]

	opened time.Time
	timing sync.Mutex
	clock  spec.Clock // guarded by timing

	version  atomic.Uint64 // counts what a snapshot could show
	seeing   sync.Mutex
	seen     *snapshot // the last one; guarded by seeing
	changing sync.Mutex
	changed  chan struct{} // closed at every change, then replaced; guarded by changing
}

// trouble is why this master does not decide.
type trouble struct {
	phase  api.Phase
	what   string
	remedy string
}

// Run runs a master until ctx ends, and returns nil then. Any other end is an error that says what to do.
func Run(ctx context.Context, config Config) error {
	if err := config.defaults(); err != nil {
		return err
	}
	m := &Master{config: config, opened: config.Now(), machine: newMachine(), changed: make(chan struct{}), trees: make(chan struct{}, maxTrees), lookups: make(chan struct{}, maxLookups)}
	m.started = m.now()
	m.story = newStory(m.started)
	m.trouble.Store(&trouble{phase: api.PhaseStarting, what: "the master is starting", remedy: "try again in a moment"})
	defer m.release()
	if err := m.open(ctx); err != nil {
		return fmt.Errorf("start master: %w", err)
	}
	return m.serve(ctx)
}

// open opens everything that needs no leadership.
func (m *Master) open(ctx context.Context) error {
	c := &m.config
	var err error
	folder := filepath.Join(c.DataDir, "identity")
	if m.authority, err = identity.OpenAuthority(folder, append([]string{c.API, c.Link}, c.Advertise...), c.Now); err != nil {
		return err
	}
	if m.tokens, err = identity.OpenTokens(filepath.Join(folder, "tokens.json"), c.Now); err != nil {
		return err
	}
	if m.repo, err = git.Open(ctx, c.Repository); err != nil {
		return err
	}
	m.revisions = newRevisions(m.repo, c.Path)
	if m.host, err = host.New(host.Options{Source: m.revisions.program, Overrides: c.Overrides, Logger: c.Log.With("part", "plugins"), Version: c.Version}); err != nil {
		return err
	}
	m.revisions.host = m.host
	m.journal, err = journal.Open(journal.Config{Dir: filepath.Join(c.DataDir, "journal"), ID: "master", Machine: m.machine,
		Log: c.Log.With("part", "journal"), MinFree: c.JournalMinFree})
	if err != nil {
		return err
	}
	m.link = link.New(link.Config{Version: c.Version, Post: m.post, Leader: m.leader, Log: c.Log.With("part", "link")})
	m.api, err = server.New(server.Config{Handlers: m.handlers(), Extra: m.profiles(), Tokens: m.tokens, Authority: m.authority, Log: c.Log.With("part", "api")})
	if err != nil {
		return err
	}
	if m.listenAPI, err = net.Listen("tcp", c.API); err != nil {
		return fmt.Errorf("listen for the API: %w: choose another address with --api", err)
	}
	if m.listenLink, err = net.Listen("tcp", c.Link); err != nil {
		return fmt.Errorf("listen for agents: %w: choose another address with --link", err)
	}
	return nil
}

// release gives back what open took, as far as it came.
func (m *Master) release() {
	for _, l := range []net.Listener{m.listenAPI, m.listenLink} {
		if l != nil {
			_ = l.Close() // closed already when all went well
		}
	}
	var errs []error
	if m.journal != nil {
		errs = append(errs, m.journal.Close())
	}
	if m.host != nil {
		errs = append(errs, m.host.Close())
	}
	if m.repo != nil {
		errs = append(errs, m.repo.Close())
	}
	if err := errors.Join(errs...); err != nil {
		m.config.Log.Error("not closed cleanly", "error", err)
	}
}

// serve runs the servers and the leadership until ctx ends or one of them fails.
func (m *Master) serve(parent context.Context) error {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	var wg sync.WaitGroup
	run := func(f func() error) {
		wg.Go(func() {
			if err := f(); err != nil && ctx.Err() == nil {
				cancel(err)
			}
		})
	}
	agents := grpc.NewServer(link.Options(m.authority)...)
	wire.Register(agents, m.link)
	run(func() error { return agents.Serve(m.listenLink) })
	run(func() error { return m.api.Serve(ctx, m.listenAPI) })
	run(func() error { return m.leadership(ctx) })
	if err := m.announce(); err != nil {
		cancel(err)
	}
	<-ctx.Done()
	// People first, so that they hear of the end; then the agents; the journal last (release).
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	m.api.Close(closing)
	done()
	m.link.Close()
	agents.Stop()
	wg.Wait()
	if parent.Err() != nil {
		return nil
	}
	return context.Cause(ctx)
}

// announce writes the credentials of this machine and tells that the ports answer.
func (m *Master) announce() error {
	path := filepath.Join(m.config.DataDir, CredentialsFile)
	address := "https://" + m.local(m.listenAPI.Addr())
	if _, err := identity.Local(path, address, m.authority, m.tokens); err != nil {
		return err
	}
	m.config.Log.Info("master is up", "api", m.listenAPI.Addr().String(), "link", m.listenLink.Addr().String(), "repository", m.config.Repository.URL)
	if m.config.Ready != nil {
		m.config.Ready(Ready{API: address, Link: m.config.reached(m.listenLink.Addr()), Credentials: path, Fingerprint: m.authority.Fingerprint()})
	}
	return nil
}

// local is how this machine reaches one of its own listeners.
func (m *Master) local(a net.Addr) string {
	host, port, _ := net.SplitHostPort(a.String())
	if ip := net.ParseIP(host); ip != nil && ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	return net.JoinHostPort(host, port)
}

// post passes events of agents to the loop.
func (m *Master) post(ctx context.Context, events ...control.Event) error {
	t := m.term.Load()
	if t == nil {
		return errNoTerm
	}
	for _, ev := range events {
		if err := t.post(ctx, message{event: ev}); err != nil {
			return err
		}
	}
	return nil
}

// leader tells the link whether agents are served here.
func (m *Master) leader() (string, bool) { return "", m.term.Load() != nil }

// touch tells that a snapshot made before is old.
func (m *Master) touch() {
	m.version.Add(1)
	m.changing.Lock()
	defer m.changing.Unlock()
	close(m.changed)
	m.changed = make(chan struct{})
}

// change returns a channel that is closed at the next change.
func (m *Master) change() <-chan struct{} {
	m.changing.Lock()
	defer m.changing.Unlock()
	return m.changed
}
