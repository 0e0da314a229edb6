package disk

import (
	"fmt"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// lookEvery is between two looks at the file system.
	lookEvery = time.Second
	// measureEvery is how long a folder may go without being measured.
	measureEvery = time.Minute
	// minFiles is how many files the smallest disk may hold: an empty layer has some itself.
	minFiles = 1024
	// fileBytes is the least of its disk, in bytes, for which a task may have another file: a file that is not empty takes a block.
	fileBytes = 4 << 10
)

// Limiter keeps folders of one file system within their limits. It is safe for concurrent use.
type Limiter struct {
	root     string
	projects *projects // nil: folders are measured
	log      *slog.Logger
	light    int64 // lightNames

	mu      sync.Mutex
	folders map[string]*folder // that are measured
	turn    chan struct{}      // is held by the one heavy walk that goes on at present
}

// folder is one that is measured. Its path and limit do not change; where they would, another takes its place.
type folder struct {
	path  string
	limit Amount

	used  Amount    // when it was measured
	inUse Amount    // of the file system, then
	at    time.Time // zero: never

	cost    time.Duration // of the last look
	ended   time.Time     // that look
	heavy   bool          // it has more names than the light lane takes
	walking bool          // it is being walked through in the heavy lane
}

// Over tells of a folder that holds too much.
type Over struct {
	Folder      string
	Used, Limit Amount
}

// Open looks at what the file system below root can do.
func Open(root string, log *slog.Logger) *Limiter {
	l := &Limiter{root: root, log: log, light: lightNames, folders: map[string]*folder{}, turn: make(chan struct{}, 1)}
	var err error
	if l.projects, err = openProjects(root); err != nil {
		log.Info("the disk of tasks is measured: the file system has no project quotas", "data", root, "reason", err)
	}
	return l
}

// Kernel reports whether the kernel keeps limits, so that writes beyond them fail.
func (l *Limiter) Kernel() bool { return l.projects != nil }

// Set limits what a folder holds, in bytes, and with them its files; what it holds already counts. 0: no limit. It is the caller's to set it again
// after a restart. Bound are those who write there if they can neither move a file to another project nor go beyond a quota: the others are measured.
func (l *Limiter) Set(path string, bytes int64, bound bool) error {
	limit, err := l.limit(bytes)
	if err != nil {
		return err
	}
	if l.projects != nil && bound {
		if err := l.projects.set(path, limit); err == nil || !hides(err) {
			return err
		}
		// What a walk does not reach is in no project; measured it counts as too much.
	}
	if l.projects != nil { // it may be a project of earlier
		if err := l.projects.set(path, Amount{}); err != nil {
			return err
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if bytes <= 0 {
		delete(l.folders, path)
		return nil
	}
	if f := l.folders[path]; f == nil || f.limit != limit {
		l.folders[path] = &folder{path: path, limit: limit}
	}
	return nil
}

// limit adds to a limit of bytes that of files: as many as a file system of that size has, made as this one is, so that whoever uses up his own
// leaves others theirs.
func (l *Limiter) limit(bytes int64) (Amount, error) {
	if bytes <= 0 {
		return Amount{}, nil
	}
	var s unix.Statfs_t
	if err := unix.Statfs(l.root, &s); err != nil {
		return Amount{}, fmt.Errorf("look at file system of %s: %w", l.root, err)
	}
	each := int64(fileBytes)
	if s.Files > 0 { // some have no number of their own
		each = max(each, int64(s.Blocks)*s.Bsize/int64(s.Files))
	}
	return Amount{bytes, max(minFiles, bytes/each)}, nil
}

// Full reports whether a folder has as good as nothing left of what it may hold. Of one that is measured it tells how it was when it was.
func (l *Limiter) Full(path string) bool {
	l.mu.Lock()
	f := l.folders[path]
	if f != nil {
		defer l.mu.Unlock()
		return f.used.beyond(f.limit)
	}
	l.mu.Unlock()
	return l.projects != nil && l.projects.full(path)
}

// Emptied says that what a folder holds was removed: it is measured anew, and what a look that goes on finds does not count.
func (l *Limiter) Emptied(path string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.folders[path]; f != nil {
		l.folders[path] = &folder{path: path, limit: f.limit}
	}
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

// inUse is what of a file system is in use.
func inUse(path string) (Amount, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return Amount{}, fmt.Errorf("look at file system of %s: %w", path, err)
	}
	return Amount{int64(s.Blocks-s.Bfree) * s.Bsize, int64(s.Files - s.Ffree)}, nil
}
