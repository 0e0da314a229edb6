package disk

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is between two looks at the file system.
	lookEvery = time.Second
	// measureEvery is how long a folder may go without being measured.
	measureEvery = time.Minute
	// share is the part of a processor that all walks together may take, as one part in so many.
	share = 20
)

// Limiter keeps folders of one file system within their limits. It is safe for concurrent use.
type Limiter struct {
	root     string
	projects *projects // nil: folders are measured
	log      *slog.Logger

	mu      sync.Mutex
	folders map[string]*folder // that are measured
}

// folder is one that is measured.
type folder struct {
	limit int64
	used  int64     // when it was measured
	inUse int64     // of the file system, then
	at    time.Time // zero: never
}

// Over tells of a folder that holds too much, in bytes.
type Over struct {
	Folder      string
	Used, Limit int64
}

// Open looks at what the file system below root can do.
func Open(root string, log *slog.Logger) *Limiter {
	l := &Limiter{root: root, log: log, folders: map[string]*folder{}}
	var err error
	if l.projects, err = openProjects(root); err != nil {
		log.Info("the disk of tasks is measured: the file system has no project quotas", "data", root, "reason", err)
	}
	return l
}

// Kernel reports whether the kernel keeps limits, so that writes beyond them fail.
func (l *Limiter) Kernel() bool { return l.projects != nil }

// Set limits what a folder holds, in bytes; what it holds already counts. 0: no limit. It is the caller's to set it again after a restart.
// Bound are those who write there if they can neither move a file to another project nor go beyond a quota: the others are measured.
func (l *Limiter) Set(path string, limit int64, bound bool) error {
	if l.projects != nil && bound {
		if err := l.projects.set(path, limit); err == nil || !hides(err) {
			return err
		}
		// What a walk does not reach is in no project; measured it counts as too much.
	}
	if l.projects != nil { // it may be a project of earlier
		if err := l.projects.set(path, 0); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if limit <= 0 {
		delete(l.folders, path)
		return nil
	}
	f := l.folders[path]
	if f == nil {
		f = &folder{}
		l.folders[path] = f
	}
	f.limit = limit
	return nil
}

// Forget takes the limit of a folder away that is about to be removed. What it returns is to be called when the folder is gone: until then no
// other folder gets its project.
func (l *Limiter) Forget(path string) (removed func()) {
	removed = func() {}
	if l.projects != nil {
		id := projectOf(path)
		removed = func() { l.projects.forget(id) }
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.folders, path)
	return removed
}

// Run measures until the context ends, and tells who has too much: again with each look, until it has not.
func (l *Limiter) Run(ctx context.Context, tell func(Over)) error {
	timer := time.NewTimer(lookEvery)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-timer.C:
		}
		if !l.measures() {
			timer.Reset(lookEvery)
			continue
		}
		inUse, err := inUse(l.root)
		if err != nil {
			l.log.Warn("the disk of tasks cannot be measured", "error", err)
		}
		began := time.Now()
		if err == nil {
			for _, over := range l.look(ctx, began, inUse) {
				tell(over)
			}
		}
		timer.Reset(max(lookEvery, share*time.Since(began)))
	}
}

// measures reports whether there is anything to measure.
func (l *Limiter) measures() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.folders) > 0
}

// look measures the folders that may hold too much, or have not been measured for long.
func (l *Limiter) look(ctx context.Context, now time.Time, inUse int64) []Over {
	var over []Over
	for _, path := range l.due(now, inUse) {
		if ctx.Err() != nil {
			break
		}
		used, err := measure(path)
		l.mu.Lock()
		f := l.folders[path]
		switch {
		case f == nil: // taken away meanwhile
		case err != nil && hides(err):
			l.log.Warn("a task's disk cannot be measured, and counts as used up", "error", err)
			used = max(used, f.limit+1)
			fallthrough
		case err == nil:
			f.used, f.inUse, f.at = used, inUse, now
			if used > f.limit {
				over = append(over, Over{path, used, f.limit})
			}
		case !errors.Is(err, unix.ENOENT): // not made yet, or gone
			l.log.Warn("the disk of a task cannot be measured", "error", err)
		}
		l.mu.Unlock()
	}
	return over
}

// due lists the folders to measure, in order of their names.
func (l *Limiter) due(now time.Time, inUse int64) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	var paths []string
	for path, f := range l.folders {
		if f.at.IsZero() || inUse-f.inUse >= f.limit-f.used || now.Sub(f.at) >= measureEvery {
			paths = append(paths, path)
		}
	}
	slices.Sort(paths)
	return paths
}

// inUse is how many bytes of a file system are in use.
func inUse(path string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return 0, fmt.Errorf("look at file system of %s: %w", path, err)
	}
	return int64(s.Blocks-s.Bfree) * s.Bsize, nil
}
