package host

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// The defaults of Options, each with its reason.
const (
	// DefaultStartTimeout is for the first line of a plugin: interpreters and cold disks fit in.
	DefaultStartTimeout = 10 * time.Second
	// DefaultCallTimeout is for one answer of a framework driver, which does no waiting of its own.
	DefaultCallTimeout = 10 * time.Second
	// DefaultPlaceTimeout is for one batch: the planner waits for it.
	DefaultPlaceTimeout = 5 * time.Second
	// DefaultMinBackoff is before the first restart.
	DefaultMinBackoff = time.Second
	// DefaultMaxBackoff bounds the growth of the delay.
	DefaultMaxBackoff = time.Minute
	// StableAfter is how long a plugin has to run for the delay to begin anew.
	StableAfter = time.Minute
	// maxFolder leaves room for the rest of a socket's path, which Linux allows 107 bytes.
	maxFolder = 60
)

// Options says how a host runs its plugins. The zero value is usable for plugins at absolute paths.
type Options struct {
	// Source opens the program of a plugin block, for instance from a commit. By default Command is a path on this
	// machine. What it gives is trusted only when it has the block's SHA-256.
	Source func(spec.Plugin) (io.ReadCloser, error)
	// Overrides names, for plugins under development, a file on this machine that is run in place of the checked one.
	// It shows in State.Override and in Host.Version.
	Overrides map[string]string
	Logger    *slog.Logger // by default slog.Default()
	Version   string       // of the master's program; told to plugins
	// Folder is where the host makes its private folder for sockets; by default /run, or the system's folder for
	// temporary files where that is not writable. A folder with a long path is refused.
	Folder string

	StartTimeout, CallTimeout, PlaceTimeout, MinBackoff, MaxBackoff time.Duration // 0: the defaults
}

// Host runs plugins. All its methods may be called from several goroutines.
type Host struct {
	options Options
	folder  string
	lock    *os.File
	changed chan struct{}

	mu        sync.Mutex
	closed    bool
	instances map[string]*instance   // by key
	schemas   map[string]spec.Schema // by key; a checked program has one for ever
}

// New makes a host. Close takes it down with all its plugins.
func New(o Options) (*Host, error) {
	o.StartTimeout = cmp.Or(o.StartTimeout, DefaultStartTimeout)
	o.CallTimeout = cmp.Or(o.CallTimeout, DefaultCallTimeout)
	o.PlaceTimeout = cmp.Or(o.PlaceTimeout, DefaultPlaceTimeout)
	o.MinBackoff = cmp.Or(o.MinBackoff, DefaultMinBackoff)
	o.MaxBackoff = cmp.Or(o.MaxBackoff, DefaultMaxBackoff)
	o.Logger = cmp.Or(o.Logger, slog.Default())
	if o.Source == nil {
		o.Source = func(p spec.Plugin) (io.ReadCloser, error) { return os.Open(p.Command) }
	}
	h := &Host{options: o, changed: make(chan struct{}, 1), instances: map[string]*instance{}, schemas: map[string]spec.Schema{}}
	if err := h.claimFolder(); err != nil {
		return nil, err
	}
	return h, nil
}

const folderPrefix = "stowage-plugins-"

// claimFolder makes the private folder and removes those of hosts that were killed: a host holds a lock on its own.
func (h *Host) claimFolder() error {
	base := h.options.Folder
	if base == "" {
		base = "/run"
		if unix.Access(base, unix.W_OK) != nil {
			base = os.TempDir()
		}
	}
	if len(base) > maxFolder {
		return fmt.Errorf("make a folder for plugins: the path %q is longer than %d bytes, too long for the sockets inside: choose a shorter one", base, maxFolder)
	}
	stale, _ := filepath.Glob(filepath.Join(base, folderPrefix+"*"))
	for _, dir := range stale {
		if lock, err := lockFolder(dir); err == nil {
			_ = os.RemoveAll(dir)
			lock.Close()
		}
	}
	dir, err := os.MkdirTemp(base, folderPrefix)
	if err != nil {
		return fmt.Errorf("make a folder for plugins: %w", err)
	}
	if h.lock, err = lockFolder(dir); err != nil {
		return fmt.Errorf("lock the folder for plugins: %w", err)
	}
	h.folder = dir
	return nil
}

func lockFolder(dir string) (*os.File, error) {
	f, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// key tells apart what has to run as processes of their own: two commits may want two programs under one name.
func key(p spec.Plugin) string {
	return strings.Join(append([]string{p.Name, string(p.Kind), p.Command, p.SHA256}, p.Args...), "\x00")
}

// Use starts the plugin unless it is there already. It returns at once.
func (h *Host) Use(p spec.Plugin) {
	_, _ = h.instance(p)
}

func (h *Host) instance(p spec.Plugin) (*instance, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errors.New("the host of plugins is closed")
	}
	if i := h.instances[key(p)]; i != nil {
		return i, nil
	}
	ctx, cancel := context.WithCancel(context.Background())
	i := &instance{
		host: h, want: p, log: h.options.Logger.With("plugin", p.Name), cancel: cancel, stopped: make(chan struct{}),
		changed: make(chan struct{}),
		state:   State{Name: p.Name, Kind: p.Kind, Phase: Starting, Since: spec.TimeOf(time.Now()), Override: h.options.Overrides[p.Name]},
	}
	h.instances[key(p)] = i
	go i.supervise(ctx)
	return i, nil
}

// Retain starts the plugins in the list and stops all others. It returns when those have ended.
func (h *Host) Retain(wanted []spec.Plugin) {
	keep := map[string]bool{}
	for _, p := range wanted {
		keep[key(p)] = true
		h.Use(p)
	}
	h.mu.Lock()
	var leaving []*instance
	for k, i := range h.instances {
		if !keep[k] {
			leaving = append(leaving, i)
			delete(h.instances, k)
		}
	}
	h.mu.Unlock()
	stop(leaving)
}

func stop(leaving []*instance) {
	for _, i := range leaving {
		i.cancel()
	}
	for _, i := range leaving {
		<-i.stopped
	}
}

// List returns the plugins, sorted by name.
func (h *Host) List() []State {
	h.mu.Lock()
	defer h.mu.Unlock()
	states := make([]State, 0, len(h.instances))
	for _, i := range h.instances {
		states = append(states, i.view())
	}
	slices.SortFunc(states, func(a, b State) int {
		return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.SHA256, b.SHA256), cmp.Compare(a.Since, b.Since))
	})
	return states
}

// Version tells what runs under the plugin's name, for spec.PolicyVersion: the SHA-256 that was checked, or the file
// that an operator had run in its place.
func (h *Host) Version(p spec.Plugin) string {
	if path := h.options.Overrides[p.Name]; path != "" {
		return "override " + path + ", not checked"
	}
	return p.SHA256
}

// Changed receives after a plugin has begun or ceased to run: what was held may go on, and the other way round. Several
// changes may arrive as one.
func (h *Host) Changed() <-chan struct{} { return h.changed }

func (h *Host) notify() {
	select {
	case h.changed <- struct{}{}:
	default:
	}
}

// Close stops every plugin and returns when they have ended.
func (h *Host) Close() error {
	h.mu.Lock()
	h.closed = true
	var leaving []*instance
	for _, i := range h.instances {
		leaving = append(leaving, i)
	}
	clear(h.instances)
	h.mu.Unlock()
	stop(leaving)
	err := os.RemoveAll(h.folder)
	h.lock.Close()
	return err
}
