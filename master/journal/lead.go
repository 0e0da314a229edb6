package journal

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// leading is what this member knows about its own leadership.
type leading struct {
	mu      sync.Mutex
	leader  bool
	changed chan struct{} // closed at every change, then replaced
}

func (l *leading) set(leader bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.leader = leader
	close(l.changed)
	l.changed = make(chan struct{})
}

func (l *leading) get() (bool, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.leader, l.changed
}

// watch follows raft's own word on leadership. A message "leader" while leading means that it was lost and won again in
// between, which is a change too.
func (j *Journal) watch() {
	defer j.wg.Done()
	for {
		select {
		case <-j.closing:
			j.leading.set(false)
			return
		case l := <-j.raft.LeaderCh():
			j.leading.set(l)
		}
	}
}

// errLost is the cause of the end of a leader's context.
var errLost = errors.New("another master leads now")

// Lead runs f whenever this member leads, one run at a time, and waits for it: f's context ends with the leadership. When
// f starts, the machine has every entry of earlier leaders. Lead returns when ctx ends, when the journal is closed or can
// no longer follow its log, or when f returns while still leading: then it returns f's error and hands the leadership to
// another member if there is one. Only one Lead may run at a time.
func (j *Journal) Lead(ctx context.Context, f func(context.Context) error) error {
	if !j.only.TryLock() {
		return errors.New("lead: already leading elsewhere in this process")
	}
	defer j.only.Unlock()
	for {
		if err := j.stopped(ctx); err != nil {
			return err
		}
		leader, changed := j.leading.get()
		if leader {
			done, err := j.reign(ctx, changed, f)
			if done {
				return err
			}
			continue
		}
		select {
		case <-changed:
		case <-ctx.Done():
		}
	}
}

// stopped says why Lead has to return, nil if it has not.
func (j *Journal) stopped(ctx context.Context) error {
	select {
	case <-j.closing:
		return fmt.Errorf("lead: %w", ErrClosed)
	default:
	}
	if err := j.state.err(); err != nil {
		return fmt.Errorf("lead: %w", err)
	}
	return ctx.Err()
}

// reign is one term of leadership, which ends at the latest when changed is closed. It returns true when Lead is to return.
func (j *Journal) reign(parent context.Context, changed <-chan struct{}, f func(context.Context) error) (bool, error) {
	ctx, cancel := context.WithCancelCause(parent)
	defer cancel(nil)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-changed:
			cancel(errLost)
		case <-stop:
		}
	})
	defer wg.Wait()
	defer close(stop)
	if err := j.prepare(ctx); err != nil {
		if stopped := j.stopped(parent); stopped != nil {
			return true, stopped
		}
		// Not leader any more, or the disk is full: wait for the change that follows, with a limit should none come.
		select {
		case <-changed:
		case <-parent.Done():
		case <-time.After(j.config.Timeout):
		}
		return false, nil
	}
	err := f(ctx)
	if context.Cause(ctx) == errLost {
		return false, nil
	}
	j.resign()
	return true, err
}

// prepare waits until the machine has everything, and makes this member's address known if it has changed.
func (j *Journal) prepare(ctx context.Context) error {
	done := make(chan error, 1)
	go func() { done <- j.raft.Barrier(queueTimeout).Error() }()
	select {
	case err := <-done:
		if err != nil {
			return diskError(err)
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := j.state.err(); err != nil {
		return err
	}
	members, err := j.Members()
	if err != nil {
		return err
	}
	for _, m := range members {
		if m.ID == j.config.ID && m.Address != string(j.addr) {
			return j.Add(Member{ID: m.ID, Address: string(j.addr)})
		}
	}
	return nil
}

// resign hands the leadership over where there is somebody to take it.
func (j *Journal) resign() {
	if j.raft.State() != raft.Leader {
		return
	}
	if members, err := j.Members(); err != nil || len(members) < 2 {
		return
	}
	if err := j.raft.LeadershipTransfer().Error(); err != nil {
		j.config.Log.Info("leadership not handed over", "error", err)
	}
}

// Members returns the members of the group, as far as this one knows.
func (j *Journal) Members() ([]Member, error) {
	f := j.raft.GetConfiguration()
	if err := f.Error(); err != nil {
		return nil, fmt.Errorf("read members: %w", err)
	}
	var list []Member
	for _, s := range f.Configuration().Servers {
		list = append(list, Member{ID: string(s.ID), Address: string(s.Address)})
	}
	return list, nil
}

// Add makes m a member, or changes its address. Only the leader can.
func (j *Journal) Add(m Member) error {
	if err := j.raft.AddVoter(raft.ServerID(m.ID), raft.ServerAddress(m.Address), 0, queueTimeout).Error(); err != nil {
		return fmt.Errorf("add member %s: %w", m.ID, leaderError(err))
	}
	return nil
}

// Remove takes a member out of the group. Only the leader can.
func (j *Journal) Remove(id string) error {
	if err := j.raft.RemoveServer(raft.ServerID(id), 0, queueTimeout).Error(); err != nil {
		return fmt.Errorf("remove member %s: %w", id, leaderError(err))
	}
	return nil
}

func leaderError(err error) error {
	if errors.Is(err, raft.ErrNotLeader) || errors.Is(err, raft.ErrLeadershipLost) {
		return ErrNotLeader
	}
	return diskError(err)
}
