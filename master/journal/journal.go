package journal

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hashicorp/go-hclog"
	"github.com/hashicorp/raft"
)

// Defaults of Config.
const (
	// DefaultTimeout: others default to 1 s and are 2.2 s without a leader. 100 ms is several times what a loaded machine
	// takes to answer a heartbeat, and replaces a leader in 140 to 290 ms.
	DefaultTimeout = 100 * time.Millisecond
	// DefaultSnapshotEntries bounds the entries replayed at start: about 20 ms of work.
	DefaultSnapshotEntries = 16 << 10
	// DefaultSnapshotBytes bounds the disk that the log takes: about twice this.
	DefaultSnapshotBytes = 64 << 20
	// DefaultSegmentBytes is allocated ahead, so a new master takes this much disk.
	DefaultSegmentBytes = 8 << 20
	// DefaultMinFree is what must stay free: the next segment and a snapshot fit.
	DefaultMinFree = 32 << 20
)

const (
	aloneTimeout  = time.Second      // without others there is nobody to be silent; looking less often costs less
	queueTimeout  = 10 * time.Second // for an append to be taken up by a leader that is overloaded
	linkTimeout   = 2 * time.Second  // for one message between members
	linkPool      = 3                // idle connections to each member
	snapshotRetry = 10 * time.Second // after a snapshot that failed
	maxBatch      = 1024             // appends written to disk together
)

// Member is one master as the others know it.
type Member struct {
	ID      string
	Address string // as its Link's Addr; empty for a member alone without a link
}

// Config says what to open. Dir, ID and Machine are required.
type Config struct {
	Dir     string // this member's own directory, made if absent
	ID      string // this member's id, the same for ever
	Machine Machine

	// Link connects to the other members; the journal closes it. Without one this member is alone.
	Link Link
	// Members are all members of a new group, with this one; each of them starts with the same list. It is used once,
	// when the directory is new. Empty means a group of this member alone.
	Members []Member
	// Join makes a new member wait until the leader adds it, instead of founding a group.
	Join bool

	Log *slog.Logger // nil for quiet

	Timeout         time.Duration // how long a leader may be silent
	SnapshotEntries int64         // a snapshot is taken after so many entries
	SnapshotBytes   int64         // or after so many bytes
	SegmentBytes    int           // size of one file of the log
	MinFree         int64         // bytes that must stay free on the disk; negative for no check
}

func (c *Config) defaults() error {
	switch {
	case c.Dir == "":
		return errors.New("open journal: no directory given")
	case c.ID == "":
		return errors.New("open journal: no member id given")
	case c.Machine == nil:
		return errors.New("open journal: no machine given")
	case c.Link == nil && (len(c.Members) > 1 || c.Join):
		return errors.New("open journal: several members need a link between them")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Link == nil {
		setDefault(&c.Timeout, aloneTimeout)
	}
	setDefault(&c.Timeout, DefaultTimeout)
	setDefault(&c.SnapshotEntries, DefaultSnapshotEntries)
	setDefault(&c.SnapshotBytes, DefaultSnapshotBytes)
	setDefault(&c.SegmentBytes, DefaultSegmentBytes)
	setDefault(&c.MinFree, DefaultMinFree)
	return nil
}

func setDefault[T comparable](v *T, to T) {
	var zero T
	if *v == zero {
		*v = to
	}
}

// Journal is an open journal. Its methods may be called from any goroutine.
type Journal struct {
	config Config
	addr   raft.ServerAddress
	state  *state
	lock   *os.File
	vote   *vote
	log    *segments
	snaps  *snapshots
	trans  raft.Transport
	raft   *raft.Raft

	grown   chan struct{} // the log is large enough for a snapshot
	closing chan struct{}
	once    sync.Once
	closed  error
	wg      sync.WaitGroup
	leading leading
	only    sync.Mutex // held by Lead
}

// Open opens the journal in Config.Dir, founding it if the directory is new. The machine holds the newest snapshot when
// Open returns; the entries after it arrive as soon as a leader is known, and all of them before Lead's function starts.
func Open(config Config) (*Journal, error) {
	if err := config.defaults(); err != nil {
		return nil, err
	}
	j := &Journal{config: config, grown: make(chan struct{}, 1), closing: make(chan struct{})}
	j.leading.changed = make(chan struct{})
	j.state = &state{machine: config.Machine, grown: j.onGrown, stopped: func() { j.leading.set(false) }}
	if err := j.open(hclogTo(config.Log)); err != nil {
		return nil, errors.Join(err, j.release())
	}
	j.wg.Add(2)
	go j.watch()
	go j.compact()
	return j, nil
}

func (j *Journal) open(log hclog.Logger) error {
	c := &j.config
	var err error
	if j.lock, err = lockDir(c.Dir); err != nil {
		return err
	}
	if err := checkFormat(c.Dir, c.ID); err != nil {
		return err
	}
	if j.vote, err = openVote(c.Dir); err != nil {
		return err
	}
	if j.log, err = openSegments(c.Dir, c.SegmentBytes, log.Named("log")); err != nil {
		return err
	}
	if j.snaps, err = openSnapshots(c.Dir, j.log, log.Named("snapshots")); err != nil {
		return err
	}
	if err := j.snaps.check(); err != nil {
		return fmt.Errorf("open journal %s: %w", c.Dir, err)
	}
	j.connect(log)
	rc := j.raftConfig(log)
	known, err := raft.HasExistingState(j.log, j.vote, j.snaps)
	if err != nil {
		return fmt.Errorf("read journal %s: %w", c.Dir, diskError(err))
	}
	if !known && !c.Join {
		if err := raft.BootstrapCluster(rc, j.log, j.vote, j.snaps, j.trans, j.founders()); err != nil {
			return fmt.Errorf("found journal %s: %w", c.Dir, diskError(err))
		}
	}
	if j.raft, err = raft.NewRaft(rc, j.state, j.log, j.vote, j.snaps, j.trans); err != nil {
		if halted := j.state.err(); halted != nil {
			err = halted
		} else if damaged := j.snaps.whyDamaged(); damaged != nil {
			err = fmt.Errorf("%w: %s", damaged, startAnew)
		}
		return fmt.Errorf("start journal %s: %w", c.Dir, diskError(err))
	}
	return j.hurry()
}

// connect makes raft's transport: over the link, or within this process for a member without one.
func (j *Journal) connect(log hclog.Logger) {
	if j.config.Link == nil {
		j.addr, j.trans = raft.NewInmemTransport(raft.ServerAddress(j.config.ID))
		return
	}
	j.trans = raft.NewNetworkTransportWithConfig(&raft.NetworkTransportConfig{
		Logger: log.Named("link"), Stream: streams{j.config.Link}, MaxPool: linkPool, Timeout: linkTimeout,
	})
	j.addr = j.trans.LocalAddr()
}

func (j *Journal) raftConfig(log hclog.Logger) *raft.Config {
	rc := raft.DefaultConfig()
	rc.LocalID = raft.ServerID(j.config.ID)
	rc.HeartbeatTimeout, rc.ElectionTimeout = j.config.Timeout, j.config.Timeout
	rc.LeaderLeaseTimeout = j.config.Timeout * 2 / 3
	rc.CommitTimeout = j.config.Timeout / 3
	rc.MaxAppendEntries, rc.BatchApplyCh = maxBatch, true
	rc.SnapshotInterval, rc.SnapshotThreshold = 24*time.Hour, 1<<62 // compact decides
	rc.TrailingLogs = 1                                             // the log itself keeps what the older snapshot needs
	rc.ShutdownOnRemove = false
	rc.NoLegacyTelemetry = true
	rc.Logger = log
	return rc
}

func (j *Journal) founders() raft.Configuration {
	var rc raft.Configuration
	for _, m := range j.config.Members {
		rc.Servers = append(rc.Servers, raft.Server{ID: raft.ServerID(m.ID), Address: raft.ServerAddress(m.Address)})
	}
	if len(rc.Servers) == 0 {
		rc.Servers = []raft.Server{{ID: raft.ServerID(j.config.ID), Address: j.addr}}
	}
	return rc
}

// hurry makes a member that is alone stand for election at once instead of waiting for a leader that cannot exist.
// A shorter timeout is what makes raft look at it again.
func (j *Journal) hurry() error {
	servers := j.raft.GetConfiguration()
	if err := servers.Error(); err != nil {
		return fmt.Errorf("read members: %w", err)
	}
	list := servers.Configuration().Servers
	if len(list) != 1 || list[0].ID != raft.ServerID(j.config.ID) {
		return nil
	}
	rc := j.raft.ReloadableConfig()
	rc.HeartbeatTimeout -= time.Millisecond
	if err := j.raft.ReloadConfig(rc); err != nil {
		return fmt.Errorf("set timeouts: %w", err)
	}
	return nil
}

// Append writes entries and returns when a majority has them on disk and this member's machine has applied them. They
// come into force together or not at all. Every error is an *AppendError: ErrNotLeader, ErrFull, ErrTooLarge, ErrClosed,
// what the machine returned, or the end of ctx.
func (j *Journal) Append(ctx context.Context, entries ...[]byte) error {
	if len(entries) == 0 {
		return nil
	}
	record, err := seal(entries)
	if err == nil {
		err = j.ready(ctx)
	}
	if err != nil {
		return &AppendError{NotWritten, err}
	}
	wait := queueTimeout
	if d, ok := ctx.Deadline(); ok {
		wait = min(wait, max(time.Until(d), time.Millisecond))
	}
	future := j.raft.ApplyLog(raft.Log{Data: record}, wait)
	done := make(chan error, 1)
	go func() { done <- j.settle(future) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	select {
	case err := <-done:
		return err
	default:
	}
	if err := j.state.err(); err != nil {
		return &AppendError{Unknown, err} // which is also what ended a leader's context
	}
	return &AppendError{Unknown, context.Cause(ctx)}
}

// ready tells whether an append can be tried.
func (j *Journal) ready(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case <-j.closing:
		return ErrClosed
	default:
	}
	if err := j.state.err(); err != nil {
		return err
	}
	if j.raft.State() != raft.Leader {
		return ErrNotLeader
	}
	if j.config.MinFree < 0 {
		return nil
	}
	free, err := freeBytes(j.config.Dir)
	if err != nil {
		return fmt.Errorf("look for free space in %s: %w", j.config.Dir, err)
	}
	if free < j.config.MinFree {
		return fmt.Errorf("%w (%s: %d MiB free, %d MiB needed)", ErrFull, j.config.Dir, free>>20, (j.config.MinFree+1<<20-1)>>20)
	}
	return nil
}

// settle waits for an append's end and says what became of it.
func (j *Journal) settle(f raft.ApplyFuture) error {
	switch err := f.Error(); {
	case err == nil:
		if refused, _ := f.Response().(error); refused != nil {
			return &AppendError{Written, refused}
		}
		return nil
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return &AppendError{NotWritten, ErrNotLeader}
	case errors.Is(err, raft.ErrEnqueueTimeout):
		return &AppendError{NotWritten, fmt.Errorf("the leader is overloaded: %w", err)}
	case errors.Is(err, raft.ErrLeadershipLost):
		return &AppendError{Unknown, fmt.Errorf("%w any more", ErrNotLeader)}
	case errors.Is(err, raft.ErrRaftShutdown):
		return &AppendError{Unknown, ErrClosed}
	default:
		return &AppendError{Unknown, diskError(err)}
	}
}

// Leader returns the member that leads, as far as this one knows, and false where it knows of none.
func (j *Journal) Leader() (Member, bool) {
	addr, id := j.raft.LeaderWithID()
	return Member{ID: string(id), Address: string(addr)}, id != ""
}

// Close stops this member. Appends under way end with an error; Lead returns ErrClosed. The directory can be opened again.
func (j *Journal) Close() error {
	j.once.Do(func() {
		close(j.closing)
		err := j.raft.Shutdown().Error()
		j.wg.Wait()
		j.closed = errors.Join(err, j.release())
	})
	return j.closed
}

// release gives back what open took, as far as it came.
func (j *Journal) release() error {
	var errs []error
	switch t := j.trans.(type) {
	case nil:
		if j.config.Link != nil {
			errs = append(errs, j.config.Link.Close())
		}
	case interface{ Close() error }:
		errs = append(errs, t.Close())
	}
	if j.log != nil {
		errs = append(errs, j.log.close())
	}
	if j.vote != nil {
		errs = append(errs, j.vote.close())
	}
	if j.lock != nil {
		errs = append(errs, j.lock.Close())
	}
	return errors.Join(errs...)
}
