package git

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// storeFormat is the version of a store's layout. A store of another version is made again.
const storeFormat = 1

// maxPacks is when a store is made again: each fetch adds a pack, every look-up asks each of them, and the library
// cannot merge packs.
const maxPacks = 500

// mirror is the store of a remote repository:
//
//	lock       held while a process has the store open
//	store      JSON: the layout's version, the remote's address, the folder in use
//	1/, 2/, …  bare repositories; all but the one in use are leftovers
//
// References are in the file packed-refs only, which is replaced as a whole after everything it names is on disk.
type mirror struct {
	dir   string
	where string
	lock  *os.File

	mu    sync.Mutex
	mark  storeMark
	store *objects // nil until a first fetch has succeeded
}

type storeMark struct {
	Format int    `json:"format"`
	URL    string `json:"url"`
	Folder int    `json:"folder"`
}

func openMirror(dir, where string) (*mirror, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make git store: %w", err)
	}
	lock, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock of git store: %w", err)
	}
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		lock.Close()
		return nil, &Error{Kind: Locked, Where: where, What: "another process writes to the store " + dir, Remedy: "stop it, or give this one its own directory"}
	}
	m := &mirror{dir: dir, where: where, lock: lock}
	if err := m.load(); err != nil {
		lock.Close()
		return nil, err
	}
	return m, nil
}

// load takes up the store on disk if it is whole and of this remote; otherwise the next fetch begins anew.
func (m *mirror) load() error {
	b, err := os.ReadFile(filepath.Join(m.dir, "store"))
	if err != nil && !isNotExist(err) {
		return fmt.Errorf("read git store: %w", err)
	}
	var mark storeMark
	usable := json.Unmarshal(b, &mark) == nil && mark.Format == storeFormat && mark.URL == m.where
	m.mark = storeMark{storeFormat, m.where, mark.Folder}
	if err := m.sweep(mark.Folder); err != nil {
		return err
	}
	if !usable {
		return nil
	}
	if err := tidy(m.folder()); err != nil {
		return err
	}
	packs, err := filepath.Glob(filepath.Join(m.folder(), "objects", "pack", "*.pack"))
	if err != nil || len(packs) > maxPacks {
		return err
	}
	if dir, err := findGitDir(m.folder()); err == nil {
		if _, err := os.Stat(filepath.Join(dir.git, "packed-refs")); err == nil {
			m.store = newObjects(dir)
		}
	}
	return nil
}

func (m *mirror) folder() string { return filepath.Join(m.dir, fmt.Sprint(m.mark.Folder)) }

// sweep removes all folders but one.
func (m *mirror) sweep(keep int) error {
	list, err := os.ReadDir(m.dir)
	if err != nil {
		return fmt.Errorf("read git store: %w", err)
	}
	for _, e := range list {
		if e.IsDir() && e.Name() != fmt.Sprint(keep) {
			if err := os.RemoveAll(filepath.Join(m.dir, e.Name())); err != nil {
				return fmt.Errorf("remove old git store: %w", err)
			}
		}
	}
	return nil
}

// tidy removes what a process that was killed left: packs being received, an index whose pack never came (the library
// would take it for the index of a later pack), and lock and temporary files.
func tidy(repo string) error {
	packs := filepath.Join(repo, "objects", "pack")
	list, err := os.ReadDir(packs)
	if isNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read git store: %w", err)
	}
	var junk []string
	for _, e := range list {
		name, isIndex := strings.CutSuffix(e.Name(), ".idx")
		_, err := os.Stat(filepath.Join(packs, name+".pack"))
		if isIndex && err != nil || strings.HasPrefix(e.Name(), "tmp_") {
			junk = append(junk, filepath.Join(packs, e.Name()))
		}
	}
	for _, pattern := range []string{"*.lock", "*.tmp"} {
		more, _ := filepath.Glob(filepath.Join(repo, pattern))
		junk = append(junk, more...)
	}
	for _, f := range junk {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("tidy git store: %w", err)
		}
	}
	return nil
}

func (m *mirror) objects() *objects {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.store
}

// close gives the store to the next process.
// close gives the store back at once: a program that is just being started holds its files for a moment too, and the lock with them.
func (m *mirror) close() error {
	return errors.Join(syscall.Flock(int(m.lock.Fd()), syscall.LOCK_UN), m.lock.Close())
}

// begin returns where to receive a fetch: the store in use, or a new folder that take will make the store in use.
func (m *mirror) begin() (o *objects, fresh bool, err error) {
	if o := m.objects(); o != nil {
		return o, false, nil
	}
	if err := m.sweep(m.mark.Folder); err != nil {
		return nil, false, err
	}
	m.mark.Folder++
	dir := m.folder()
	if err := os.RemoveAll(dir); err != nil {
		return nil, false, err
	}
	for _, d := range []string{"objects/info", "objects/pack", "refs/heads", "refs/tags"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o700); err != nil {
			return nil, false, fmt.Errorf("make git store: %w", err)
		}
	}
	if err := writeFile(filepath.Join(dir, "HEAD"), []byte("ref: refs/heads/main\n")); err != nil {
		return nil, false, fmt.Errorf("make git store: %w", err)
	}
	if err := writeFile(filepath.Join(dir, "config"), []byte("[core]\n\trepositoryformatversion = 0\n\tbare = true\n")); err != nil {
		return nil, false, fmt.Errorf("make git store: %w", err)
	}
	g, err := findGitDir(dir)
	return newObjects(g), true, err
}

// take puts references in force after everything received is on disk.
func (m *mirror) take(o *objects, fresh bool, refs map[string]plumbing.Hash, head string) error {
	if err := syncPacks(filepath.Join(o.dir.git, "objects", "pack")); err != nil {
		return fmt.Errorf("write git store: %w", err)
	}
	if head != "" {
		if err := writeFile(filepath.Join(o.dir.git, "HEAD"), []byte("ref: "+head+"\n")); err != nil {
			return fmt.Errorf("write git store: %w", err)
		}
	}
	var b strings.Builder
	b.WriteString("# pack-refs with: sorted \n")
	names := make([]string, 0, len(refs))
	for name := range refs {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		fmt.Fprintf(&b, "%s %s\n", refs[name], name)
	}
	if err := writeFile(filepath.Join(o.dir.git, "packed-refs"), []byte(b.String())); err != nil {
		return fmt.Errorf("write git store: %w", err)
	}
	if !fresh {
		return nil
	}
	mark, err := json.Marshal(m.mark)
	if err != nil {
		return err
	}
	if err := writeFile(filepath.Join(m.dir, "store"), append(mark, '\n')); err != nil {
		return fmt.Errorf("write git store: %w", err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = o
	return nil
}

// giveUp makes the next fetch begin anew. What was handed out stays readable until then.
func (m *mirror) giveUp() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.store = nil
}

// receive writes a pack into a store, through a storage of its own so that readers need not wait.
func receive(o *objects, pack io.Reader) error {
	w := newObjects(o.dir)
	err := packfile.UpdateObjectStorage(w.open(), pack)
	w.forget()
	o.forget()
	if errors.Is(err, packfile.ErrEmptyPackfile) {
		return nil
	}
	return err
}

// syncPacks brings packs to disk; the library leaves that to the system.
func syncPacks(dir string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range list {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = errors.Join(f.Sync(), f.Close())
		if err != nil {
			return err
		}
	}
	return syncDir(dir)
}

// writeFile replaces a file so that after a crash it has the old content or the new one.
func writeFile(path string, b []byte) error {
	f, err := os.OpenFile(path+".tmp", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		os.Remove(f.Name())
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
