package git

import (
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/fsnotify/fsnotify"
)

// watch gives a hint whenever the branch of a local repository may have moved. It watches folders (a watch on a file ends
// with its first replacement): the repository's own for HEAD and packed-refs, and those on the way to the branch. Folders
// that do not exist yet are added when their parent changes.
type watch struct {
	repo    *Repo
	hints   chan struct{}
	watcher *fsnotify.Watcher // nil where the system has none left: the poll goes on
	done    sync.WaitGroup
	watched map[string]bool
}

func newWatch(r *Repo) *watch {
	w := &watch{repo: r, hints: r.poke, watched: map[string]bool{}}
	var err error
	if w.watcher, err = fsnotify.NewWatcher(); err != nil {
		r.log.Warn("git repository is polled, not watched", "repository", r.where, "every", r.config.Poll, "error", err)
		return w
	}
	w.extend()
	w.done.Go(w.run)
	return w
}

func (w *watch) close() {
	if w.watcher != nil {
		w.watcher.Close()
		w.done.Wait()
	}
}

// run turns events into hints. Every error, an overflow above all, is a hint too.
func (w *watch) run() {
	for {
		select {
		case e, ok := <-w.watcher.Events:
			if !ok {
				return
			}
			if strings.HasSuffix(e.Name, ".lock") && !e.Has(fsnotify.Remove) {
				continue // the reference itself follows
			}
			if e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename) {
				w.extend()
			}
		case _, ok := <-w.watcher.Errors:
			if !ok {
				return
			}
			w.watched = map[string]bool{}
			w.extend()
		}
		select {
		case w.hints <- struct{}{}:
		default:
		}
	}
}

// extend watches what should be watched and exists.
func (w *watch) extend() {
	list := w.watcher.WatchList()
	for dir := range w.watched {
		found := false
		for _, l := range list {
			found = found || l == dir
		}
		if !found {
			delete(w.watched, dir)
		}
	}
	for _, dir := range w.folders() {
		if _, err := os.Stat(dir); err != nil {
			delete(w.watched, dir)
			continue
		}
		if w.watched[dir] {
			continue
		}
		if err := w.watcher.Add(dir); err == nil {
			w.watched[dir] = true
		}
	}
}

// folders lists what matters for the branch, from the outside in. Without a repository that is the place where it would
// appear.
func (w *watch) folders() []string {
	path := w.repo.path
	dir, err := findGitDir(path)
	if err != nil {
		return []string{filepath.Dir(path), path, filepath.Join(path, ".git")}
	}
	list := []string{dir.git}
	if dir.common != dir.git {
		list = append(list, dir.common)
	}
	at := filepath.Join(dir.common, "refs", "heads")
	list = append(list, filepath.Dir(at), at)
	branch := w.repo.config.Branch
	if branch == "" {
		branch = headBranch(dir)
	}
	for _, part := range strings.Split(filepath.Dir(filepath.FromSlash(branch)), string(filepath.Separator)) {
		if part == "." || part == "" {
			continue
		}
		at = filepath.Join(at, part)
		list = append(list, at)
	}
	return list
}

// headBranch returns the branch that HEAD names, "" where it names none.
func headBranch(dir gitDir) string {
	b, err := os.ReadFile(filepath.Join(dir.git, "HEAD"))
	if err != nil {
		return ""
	}
	branch, _ := strings.CutPrefix(strings.TrimSpace(string(b)), "ref: refs/heads/")
	if strings.Contains(branch, " ") {
		return ""
	}
	return branch
}
