package git

import (
	"context"
	"math/rand/v2"
	"time"
)

const (
	// settle is how long a branch may point to a commit that is not all there yet before that is an error: a copy by
	// other means than Git writes references before objects.
	settle = time.Second
	// firstRetry is the first wait after an error; it doubles up to maxBackoff or the poll, whichever is longer.
	firstRetry = 500 * time.Millisecond
	maxBackoff = time.Minute
)

// Head is what Follow tells: the newest commit of the branch, and what is wrong, if anything is. While something is
// wrong, Commit stays the last good one.
type Head struct {
	Commit  Commit    // zero before the first
	Err     error     // nil when all is well; an *Error
	Contact time.Time // when the repository could last be read
}

// Follow calls f with the branch's commit, again for every other commit the branch points to, and whenever an error
// begins, changes its kind, or ends. f is called from this goroutine, so that a slow f sees fewer, newer commits. Follow
// returns what f returns if that is an error, or when ctx ends. No error of the repository ends it.
func (r *Repo) Follow(ctx context.Context, f func(Head) error) error {
	hints := r.poke
	if !r.remote {
		w := newWatch(r)
		defer w.close()
		hints = w.hints
	}
	var told Head
	first := true
	for failures := 0; ; {
		now := r.look(ctx, told.Commit)
		if err := ctx.Err(); err != nil {
			return err
		}
		if first || now.Commit.Hash != told.Commit.Hash || KindOf(now.Err) != KindOf(told.Err) {
			first = false
			if err := f(now); err != nil {
				return err
			}
		}
		told = now
		if failures++; now.Err == nil {
			failures = 0
		}
		if !sleep(ctx, r.pause(failures), hints) {
			return ctx.Err()
		}
	}
}

// look finds out what the branch points to.
func (r *Repo) look(ctx context.Context, last Commit) Head {
	c, err := r.current(ctx)
	if err != nil {
		return Head{Commit: last, Err: err, Contact: r.LastContact()}
	}
	return Head{Commit: c, Contact: r.LastContact()}
}

func (r *Repo) current(ctx context.Context) (Commit, error) {
	if r.remote {
		if err := r.fetch(ctx); err != nil {
			return Commit{}, err
		}
	}
	for wait, end := time.Millisecond, time.Now().Add(settle); ; wait *= 2 {
		o, err := r.objects()
		if err != nil {
			return Commit{}, err
		}
		c, err := r.head(o)
		if err == nil && !r.remote {
			r.touch()
		}
		if KindOf(err) != Damaged || r.remote || time.Now().After(end) || !sleep(ctx, wait, nil) {
			return c, err
		}
	}
}

// pause returns how long to wait for the next look: the poll when all is well, and ever longer after failures in a row. A
// local repository is cheap to look at. Waits are spread by a tenth, so that many masters do not ask in step.
func (r *Repo) pause(failures int) time.Duration {
	wait := r.config.Poll
	switch {
	case failures == 0:
	case !r.remote:
		wait = min(wait, firstRetry)
	default:
		wait = min(firstRetry<<min(failures-1, 10), max(wait, maxBackoff))
	}
	return wait*9/10 + rand.N(wait/5+1)
}

// sleep waits, less long if there is a hint, and returns false if ctx ended.
func sleep(ctx context.Context, d time.Duration, hints <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-hints:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}
