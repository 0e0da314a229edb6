package host

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"
	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/wire"
	"github.com/stowage/stowage/spec"
	"google.golang.org/grpc"
)

// Phase is where a plugin stands.
type Phase string

// The phases; doc.go has the picture.
const (
	Starting Phase = "starting" // its program is being loaded, started or greeted
	Running  Phase = "running"  // it answers
	Waiting  Phase = "waiting"  // it failed, and is started again at State.Next
	Stopped  Phase = "stopped"  // it is no longer wanted
)

// State is what an operator sees of a plugin.
type State struct {
	Name      string           `json:"name"`
	Kind      spec.PluginKind  `json:"kind"`
	Phase     Phase            `json:"state"`
	Since     spec.Time        `json:"since"` // of Phase
	Pid       int              `json:"pid,omitempty"`
	Restarts  int              `json:"restarts"`             // how often it was started again
	LastError string           `json:"last_error,omitempty"` // why it was not running last
	LastWords []string         `json:"last_words,omitempty"` // what it printed before that
	Next      spec.Time        `json:"next,omitempty"`       // of the next start, when waiting
	Identity  plugins.Identity `json:"identity"`             // as it describes itself; empty until it ran
	SHA256    string           `json:"sha256,omitempty"`     // of the program that runs or ran
	Override  string           `json:"override,omitempty"`   // the file that an operator had run in place of the checked one
}

// instance is one plugin that is wanted: its supervisor, and what is known of it.
type instance struct {
	host    *Host
	want    spec.Plugin
	log     *slog.Logger
	cancel  context.CancelFunc
	stopped chan struct{}

	mu      sync.Mutex
	state   State
	changed chan struct{} // closed and replaced at every change of state
	conn    grpc.ClientConnInterface
	process *process
	verdict string // why the host killed the process that now ends
}

// supervise keeps the plugin running until the context ends.
func (i *instance) supervise(ctx context.Context) {
	defer close(i.stopped)
	for delay := i.host.options.MinBackoff; ; delay = min(2*delay, i.host.options.MaxBackoff) {
		err := i.runOnce(ctx)
		if ctx.Err() != nil {
			i.update(func(s *State) { s.Phase, s.Pid, s.Next = Stopped, 0, 0 })
			return
		}
		if i.ranWell() {
			delay = i.host.options.MinBackoff // this is a new trouble
		}
		i.log.Error("plugin is down", "error", err, "again in", delay)
		next := time.Now().Add(delay)
		i.update(func(s *State) {
			s.Phase, s.Pid, s.LastError, s.Next = Waiting, 0, err.Error(), spec.TimeOf(next)
		})
		timer := time.NewTimer(delay)
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
			i.update(func(s *State) { s.Restarts++ })
		}
	}
}

// runOnce starts the plugin and returns, with the reason, when it has ended.
func (i *instance) runOnce(ctx context.Context) error {
	i.update(func(s *State) { s.Phase, s.Next = Starting, 0 })
	program, err := i.load()
	if err != nil {
		return err
	}
	defer program.close()
	dir, err := os.MkdirTemp(i.host.folder, "")
	if err != nil {
		return fmt.Errorf("make a folder for the plugin: %w", err)
	}
	defer os.RemoveAll(dir)

	p := newProcess(i.want.Name, i.want.Args, dir, program, i.log, func(pid int) { i.update(func(s *State) { s.Pid = pid }) })
	client := plugin.NewClient(&plugin.ClientConfig{
		HandshakeConfig:  plugin.HandshakeConfig{MagicCookieKey: wire.CookieKey, MagicCookieValue: wire.Cookie},
		VersionedPlugins: map[int]plugin.PluginSet{wire.Version: {i.want.Name: connection{}}},
		RunnerFunc: func(_ hclog.Logger, cmd *execCmd, _ string) (runner.Runner, error) {
			p.env = append([]string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8", "TMPDIR=" + dir}, cmd.Env...)
			return p, nil
		},
		AllowedProtocols: []plugin.Protocol{plugin.ProtocolGRPC},
		StartTimeout:     i.host.options.StartTimeout,
		SkipHostEnv:      true,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &plugin.UnixSocketConfig{TempDir: dir},
		GRPCDialOptions: []grpc.DialOption{grpc.WithDefaultCallOptions(
			grpc.MaxCallRecvMsgSize(wire.MaxAnswer), grpc.MaxCallSendMsgSize(wire.MaxQuestion))},
	})
	defer client.Kill()
	conn, err := i.greet(ctx, client, p)
	if err != nil {
		return err
	}
	i.set(conn, p)
	select {
	case <-ctx.Done():
	case <-p.exited:
	}
	verdict := i.unset()
	_ = p.Kill(ctx)
	i.update(func(s *State) { s.LastWords = p.words.all() })
	return explainEnd(p, verdict)
}

// ranWell reports whether the run that has just ended was a long one.
func (i *instance) ranWell() bool {
	s := i.view()
	return s.Phase == Running && time.Since(s.Since.Std()) > StableAfter
}

// load fetches the program and checks it.
func (i *instance) load() (*program, error) {
	path, want := i.want.Command, i.want.SHA256
	open := func() (readCloser, error) { return i.host.options.Source(i.want) }
	if override := i.host.options.Overrides[i.want.Name]; override != "" {
		path, want = override, ""
		open = func() (readCloser, error) { return os.Open(override) }
	} else if want == "" {
		return nil, errors.New("its plugin block has no sha256: what may run has to be stated")
	}
	source, err := open()
	if err != nil {
		return nil, fmt.Errorf("open the program %s: %w", path, err)
	}
	defer source.Close()
	p, err := load(filepath.Base(path), source, want)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	i.update(func(s *State) { s.SHA256 = p.sum })
	return p, nil
}

// greet starts the process, shakes hands and asks the plugin who it is.
func (i *instance) greet(ctx context.Context, client *plugin.Client, p *process) (grpc.ClientConnInterface, error) {
	// go-plugin's start cannot be cancelled; a killed process ends it.
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-ctx.Done():
			p.killNow()
		case <-done:
		}
	}()
	protocol, err := client.Client()
	if err != nil {
		_ = p.Kill(ctx)
		i.update(func(s *State) { s.LastWords = p.words.all() })
		return nil, explainStart(p, err, i.host.options.StartTimeout)
	}
	raw, err := protocol.Dispense(i.want.Name)
	if err != nil {
		return nil, fmt.Errorf("connect to the plugin: %w", err)
	}
	conn := raw.(grpc.ClientConnInterface)
	if err := i.identify(ctx, conn); err != nil {
		_ = p.Kill(ctx)
		return nil, err
	}
	return conn, nil
}

func (i *instance) identify(ctx context.Context, conn grpc.ClientConnInterface) error {
	ctx, cancel := context.WithTimeout(ctx, i.host.options.StartTimeout)
	defer cancel()
	d, err := wire.NewPluginClient(conn).Describe(ctx, &wire.DescribeRequest{Host: i.host.options.Version})
	if err != nil {
		return fmt.Errorf("it did not say who it is: %w", err)
	}
	id := plugins.Identity{Kind: spec.PluginKind(d.GetKind()), Name: clip(d.GetName()), Version: clip(d.GetVersion())}
	if id.Kind != i.want.Kind {
		return fmt.Errorf("it is a plugin of kind %q, its plugin block says %q: correct kind there", clip(string(id.Kind)), i.want.Kind)
	}
	i.update(func(s *State) { s.Identity = id })
	return nil
}

// clip shortens what a plugin says of itself to what a table can show.
func clip(text string) string { return text[:min(len(text), 100)] }

func (i *instance) set(conn grpc.ClientConnInterface, p *process) {
	i.mu.Lock()
	i.conn, i.process, i.verdict = conn, p, ""
	i.mu.Unlock()
	i.update(func(s *State) { s.Phase = Running })
	i.log.Info("plugin runs", "pid", p.ID())
}

func (i *instance) unset() (verdict string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.conn, i.process = nil, nil
	return i.verdict
}

// condemn kills the process that did not behave, if it is still the one that runs.
func (i *instance) condemn(p *process, verdict string) {
	i.mu.Lock()
	if i.process == p && i.verdict == "" {
		i.verdict = verdict
	}
	i.mu.Unlock()
	p.killNow()
}

// update changes the state and tells everyone who watches.
func (i *instance) update(change func(*State)) {
	i.mu.Lock()
	before := i.state.Phase
	change(&i.state)
	if i.state.Phase != before {
		i.state.Since = spec.TimeOf(time.Now())
	}
	close(i.changed)
	i.changed = make(chan struct{})
	moved := i.state.Phase != before
	i.mu.Unlock()
	if moved {
		i.host.notify()
	}
}

func (i *instance) view() State {
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.state
	s.LastWords = slices.Clone(s.LastWords)
	return s
}
