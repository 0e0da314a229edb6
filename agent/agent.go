package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/stowage/stowage/agent/disk"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/facts"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/agent/probe"
	"github.com/stowage/stowage/agent/registry"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// Config is what an agent needs to know.
type Config struct {
	Node         spec.NodeID // "" is the host name
	DataDir      string
	Master       string // base URL of the master's API; needed to join
	JoinToken    string // needed once
	Executor     string // path of the stowage-executor binary
	CgroupParent string // "" is "stowage"
	Version      string
	Facts        facts.Options    // DataDir is filled in
	Registries   registry.Config  // how registries of images are reached
	ImageDisk    image.Watermarks // when unused images go; zero: image.DefaultWatermarks
	PortFirst    int              // see spec.Node
	PortLast     int
	LogLimit     spec.Bytes // of all logs together, in bytes; 0: a tenth of the disk, at most defaultLogLimit
	Log          *slog.Logger
}

// pressure bounds how much is under way at once.
const (
	// maxEvents wait for the core before whoever brings more has to wait too.
	maxEvents = 4096
	// maxBatch events are taken in one step of the core, so that a storm of them is one report.
	maxBatch = 1024
)

// agent is one running agent.
type agent struct {
	cfg          Config
	log          *slog.Logger
	core         *node.Core
	memory       memory
	folders      folders
	images       *image.Store
	artifacts    *artifacts
	sources      *sources
	keeper       *keeper
	prober       *probe.Prober
	disk         *disk.Limiter
	full         full
	link         *link
	errands      *errands // about runs
	preparing    *errands // about folders and images: slow ones must not hold up the stop of a task
	preparations preparations
	commands     sync.WaitGroup // of stops, inside tasks: each has its time at once, however many there are
	events       chan node.Event
	catalogue    catalogue
	usage        usage
	crowded      chan struct{} // the disk may be full
	earlier      []string      // the digests of the images that were there when this agent began
	reserve      sync.Mutex    // one change of the reserved cores at a time

	describe sync.Mutex
	node     spec.Node
}

// Run is the agent until the context ends. Tasks run on after it; the next agent on the same directory adopts them.
func Run(ctx context.Context, cfg Config) error {
	a, err := open(ctx, &cfg)
	if err != nil {
		return err
	}
	defer a.close()
	remembered, err := a.memory.load(a.log)
	if err != nil {
		return err
	}
	a.rememberImages(remembered.Records)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	a.usage.look = func() spec.NodeUsage {
		ctx, cancel := context.WithTimeout(ctx, usageWithin)
		defer cancel()
		return a.look(ctx)
	}
	a.prober = probe.New(func(r probe.Result) { a.checked(ctx, r) })
	var parts sync.WaitGroup
	failed := make(chan error, 1) // the first
	part := func(run func(context.Context) error) {
		parts.Go(func() {
			if err := run(ctx); err != nil {
				select {
				case failed <- err:
				default:
				}
				cancel()
			}
		})
	}
	a.log.Info("agent started", "data", a.cfg.DataDir, "cpu", a.node.Capacity.CPU, "memory", a.node.Capacity.Memory)
	part(func(ctx context.Context) error { return a.loop(ctx, remembered) })
	part(func(ctx context.Context) error { return a.keeper.run(ctx, a.tell(ctx)) })
	part(a.prober.Run)
	part(func(ctx context.Context) error {
		a.link.tell = a.tell(ctx)
		return a.link.run(ctx)
	})
	part(a.watchFacts)
	part(a.collectImages)
	a.limitRemembered(remembered.Records)
	part(func(ctx context.Context) error { return a.disk.Run(ctx, func(o disk.Over) { a.overDisk(ctx, o) }) })
	part(a.watchLogs)
	part(func(ctx context.Context) error { return a.link.identity.watch(ctx, a.cfg.Node, a.log) })
	<-ctx.Done()
	cancel()
	parts.Wait()
	a.errands.wait()
	a.preparing.wait()
	a.commands.Wait()
	a.link.serving.Wait()
	a.usage.looks.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

func open(ctx context.Context, cfg *Config) (*agent, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if cfg.Node == "" {
		name, err := os.Hostname()
		if err != nil {
			return nil, fmt.Errorf("name node: %w: name it with --node", err)
		}
		cfg.Node = spec.NodeID(name)
	}
	if err := spec.CheckLabel(string(cfg.Node)); err != nil {
		return nil, fmt.Errorf("name node: %w: name it with --node", err)
	}
	if cfg.ImageDisk == (image.Watermarks{}) {
		cfg.ImageDisk = image.DefaultWatermarks
	}
	if err := cfg.ImageDisk.Check(); err != nil {
		return nil, err
	}
	if cfg.CgroupParent == "" {
		cfg.CgroupParent = "stowage"
	}
	var err error
	if cfg.DataDir, err = filepath.Abs(cfg.DataDir); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	if err := os.MkdirAll(filepath.Join(cfg.DataDir, "allocations"), 0o711); err != nil {
		return nil, fmt.Errorf("open data directory: %w", err)
	}
	a := &agent{cfg: *cfg, log: cfg.Log.With("node", string(cfg.Node)), memory: memory{filepath.Join(cfg.DataDir, "memory")}, folders: folders{cfg.DataDir},
		events: make(chan node.Event, maxEvents), errands: newErrands(), preparing: newErrands(), crowded: make(chan struct{}, 1)}
	a.cfg.Facts.DataDir, a.cfg.Facts.DiskHeld = cfg.DataDir, held(cfg.DataDir)
	if a.node, err = a.readFacts(); err != nil {
		return nil, err
	}
	client, err := registry.New(cfg.Registries)
	if err != nil {
		return nil, err
	}
	if a.images, err = image.OpenWith(filepath.Join(cfg.DataDir, "images"), image.DefaultLimits, client); err != nil {
		return nil, err // it says that another agent runs on the same directory
	}
	a.artifacts = newArtifacts(client, cfg.Registries.UserAgent)
	id, err := ensureIdentity(ctx, filepath.Join(cfg.DataDir, "identity", "papers.json"), cfg.Node, strings.TrimRight(cfg.Master, "/"), cfg.JoinToken)
	if err == nil {
		a.keeper, err = newKeeper(&a.cfg)
	}
	if err == nil {
		a.keeper.arrived, a.keeper.folders = a.reserveCores, a.folders
	}
	if err != nil {
		return nil, errors.Join(err, a.images.Close())
	}
	a.disk = disk.Open(filepath.Join(cfg.DataDir, "allocations"), a.log)
	a.sources = newSources(filepath.Join(cfg.DataDir, "sources"), id)
	a.core = node.New(node.Config{Node: a.node})
	a.link = &link{node: cfg.Node, version: cfg.Version, identity: id, serve: a.serve, log: a.log}
	return a, nil
}

func (a *agent) close() {
	if err := a.images.Close(); err != nil {
		a.log.Error("image store does not close", "error", err)
	}
}

// tell returns a function that hands an event to the loop, and waits while that is busy.
func (a *agent) tell(ctx context.Context) func(node.Event) {
	return func(ev node.Event) {
		ev = a.full.explained(ev)
		select {
		case a.events <- ev:
		case <-ctx.Done():
		}
	}
}

// held is how much the allocations and images of an earlier agent take of the disk: room that the node still has to give.
func held(dir string) (sum spec.Bytes) {
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error { // what cannot be read counts as nothing
		if err != nil {
			return nil
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			if stat, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += spec.Bytes(stat.Blocks * diskBlock)
			}
		}
		return nil
	})
	return sum
}

// diskBlock is the unit of Stat_t.Blocks, in bytes, whatever the file system's block is.
const diskBlock = 512

func (a *agent) readFacts() (spec.Node, error) {
	n, err := facts.Read(a.cfg.Facts)
	if err != nil {
		return n, err
	}
	n.ID, n.Agent = a.cfg.Node, a.cfg.Version
	n.PortFirst, n.PortLast = a.cfg.PortFirst, a.cfg.PortLast
	return n, nil
}

// factsEvery is how often the node's description is read again.
const factsEvery = time.Minute

// filesEvery is how often the files that say what the node has are looked at.
const filesEvery = 2 * time.Second

// factFiles tells the files that say what the node has from what they were before; "": there are none.
func (a *agent) factFiles() (stamp string) {
	for _, name := range []string{a.cfg.Facts.DeviceFile, a.cfg.Facts.AttributeFile} {
		if name == "" {
			continue
		}
		info, err := os.Stat(name)
		if err != nil {
			stamp += err.Error()
			continue
		}
		stamp += fmt.Sprint(info.ModTime(), info.Size())
	}
	return stamp
}

// nextFacts waits until the node's description should be read again: after factsEvery, or as soon as the files are others than those seen.
func (a *agent) nextFacts(ctx context.Context, seen string) bool {
	if seen == "" {
		return pause(ctx, factsEvery)
	}
	for range factsEvery / filesEvery {
		if !pause(ctx, filesEvery) {
			return false
		}
		if a.factFiles() != seen {
			break
		}
	}
	return true
}

// watchFacts tells the core when the node changes: memory plugged in, a new kernel version's attributes, another address, devices.
func (a *agent) watchFacts(ctx context.Context) error {
	for seen := a.factFiles(); a.nextFacts(ctx, seen); {
		seen = a.factFiles() // before they are read: what is written meanwhile is another
		n, err := a.readFacts()
		if err != nil {
			a.log.Warn("the node's description cannot be read; the last one stays", "error", err)
			continue
		}
		a.describe.Lock()
		n.Capacity.Disk = a.node.Capacity.Disk // what tasks write comes off their own share, not off the node's
		changed := fmt.Sprint(n) != fmt.Sprint(a.node)
		a.node = n
		a.describe.Unlock()
		if changed {
			a.tell(ctx)(node.NodeChanged{Node: n})
		}
	}
	return nil
}

func (a *agent) self() spec.Node {
	a.describe.Lock()
	defer a.describe.Unlock()
	return a.node
}

// Down takes an agent off its machine: it ends every task of the agent that used a data directory, and its executor. With
// purge it removes the directory too; without, an agent that is started again starts its tasks again. It refuses while the
// agent runs.
func Down(ctx context.Context, dataDir string, purge bool) error {
	dir, err := filepath.Abs(dataDir)
	if err != nil {
		return fmt.Errorf("open data directory: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, "allocations")); err != nil {
		return fmt.Errorf("open data directory: %w: name the directory of the agent with --data", err)
	}
	lock, err := image.Open(filepath.Join(dir, "images"))
	if errors.Is(err, image.ErrInUse) {
		return fmt.Errorf("an agent runs on %s: stop it first", dir)
	}
	if err != nil {
		return err
	}
	if err = endTasks(ctx, dir); err == nil && purge {
		if err = os.RemoveAll(dir); err != nil {
			err = fmt.Errorf("remove data directory: %w", err)
		}
	}
	return errors.Join(err, lock.Close())
}

// TakeDown ends every task of the agent that used a data directory, and its executor, and removes the directory. The agent
// must not run any more.
func TakeDown(ctx context.Context, dataDir string) error {
	if err := endTasks(ctx, dataDir); err != nil {
		return err
	}
	if err := os.RemoveAll(dataDir); err != nil {
		return fmt.Errorf("remove data directory: %w", err)
	}
	return nil
}

// endTasks ends every task of an executor, then the executor.
func endTasks(ctx context.Context, dataDir string) error {
	k, err := keeperOf(dataDir)
	if err != nil || k == nil {
		return err
	}
	client := k.client
	if _, err := client.Ping(ctx); err != nil {
		if err := k.start(ctx); err != nil { // it was killed: its tasks may well run on
			return err
		}
	}
	list, err := client.List(ctx)
	if err != nil {
		return fmt.Errorf("list tasks: %w", err)
	}
	var each sync.WaitGroup
	for _, c := range list {
		each.Go(func() { _ = client.Signal(ctx, c.ID, int(unix.SIGTERM)) })
	}
	each.Wait()
	deadline := time.Now().Add(takeDownGrace)
	for time.Now().Before(deadline) && anyRunning(ctx, client) && pause(ctx, 20*time.Millisecond) {
	}
	errs := make([]error, len(list))
	for i, c := range list {
		each.Go(func() {
			if err := client.Delete(ctx, c.ID); err != nil && !errors.Is(err, executor.ErrNotFound) {
				errs[i] = fmt.Errorf("end %s: %w", c.ID, err)
			}
		})
	}
	each.Wait()
	return errors.Join(append(errs, client.Shutdown(ctx))...)
}

// takeDownGrace is how long TakeDown lets tasks end by themselves.
const takeDownGrace = 2 * time.Second

func anyRunning(ctx context.Context, client *executor.Client) bool {
	list, err := client.List(ctx)
	for i := range list {
		if list[i].State != executor.StateExited {
			return true
		}
	}
	return err != nil
}
