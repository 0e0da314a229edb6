package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/go-git/go-billy/v5"
	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/config"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/filesystem/dotgit"
)

const (
	// maxObject bounds what one object may take in memory, so that a stray film in a repository is an error.
	maxObject = 256 << 20
	// cacheSize is for bases of deltas and commits; the library's default of 96 MiB is more than a master should take.
	cacheSize = 8 << 20
	// openPacks is how many pack files stay open: reading thousands of files opens each pack once.
	openPacks = 4
	// minShort is the shortest beginning of a hash that is looked up.
	minShort = 4
)

var (
	errCorrupt    = errors.New("an object is not what its name says")
	errNoRevision = errors.New("no such revision")
)

func isFull(err error) bool { return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) }

// gitDir is where a repository keeps its data: git is its own folder, common the one that linked work trees share.
type gitDir struct {
	git, common string
	info        os.FileInfo // of common when it was found
}

// same tells whether the folder is still the one that was found.
func (d gitDir) same() bool {
	info, err := os.Stat(d.common)
	return err == nil && os.SameFile(info, d.info)
}

// findGitDir finds the data of a repository at path: bare, with a work tree, or a linked work tree.
func findGitDir(path string) (gitDir, error) {
	git := filepath.Join(path, ".git")
	info, err := os.Stat(git)
	switch {
	case err == nil && !info.IsDir():
		if git, err = readLinkFile(git, "gitdir:"); err != nil {
			return gitDir{}, err
		}
	case isNotExist(err):
		git = path
	case err != nil:
		return gitDir{}, err
	}
	common := git
	if c, err := readLinkFile(filepath.Join(git, "commondir"), ""); err == nil {
		common = c
	}
	for _, f := range []string{filepath.Join(git, "HEAD"), filepath.Join(common, "objects"), filepath.Join(common, "refs")} {
		if _, err := os.Stat(f); err != nil {
			return gitDir{}, err
		}
	}
	if info, err = os.Stat(common); err != nil {
		return gitDir{}, err
	}
	return gitDir{git, common, info}, nil
}

// readLinkFile reads a file whose line names a folder, relative to the file's own.
func readLinkFile(path, prefix string) (string, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return "", err
	}
	line, ok := strings.CutPrefix(strings.TrimSpace(string(b)), prefix)
	if !ok || line == "" {
		return "", fmt.Errorf("%s does not begin with %q", path, prefix)
	}
	line = strings.TrimSpace(line)
	if !filepath.IsAbs(line) {
		line = filepath.Join(filepath.Dir(path), line)
	}
	return line, nil
}

// objects reads a repository's objects and references. The library's storage keeps indexes of what it has seen, is not
// for several goroutines, and does not notice a repack: hence the lock, and a second look with a new one on any error.
type objects struct {
	dir gitDir

	mu      sync.Mutex
	storage *filesystem.Storage
}

func newObjects(dir gitDir) *objects { return &objects{dir: dir} }

func (o *objects) open() *filesystem.Storage {
	if o.storage != nil {
		return o.storage
	}
	var disk billy.Filesystem = osfs.New(o.dir.git)
	if o.dir.common != o.dir.git {
		disk = dotgit.NewRepositoryFilesystem(disk, osfs.New(o.dir.common))
	}
	o.storage = filesystem.NewStorageWithOptions(disk, cache.NewObjectLRU(cacheSize), filesystem.Options{
		MaxOpenDescriptors: openPacks, AlternatesFS: osfs.New("/"),
	})
	return o.storage
}

// forget drops everything remembered about the repository.
func (o *objects) forget() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.storage != nil {
		o.storage.ObjectStorage.Close()
		o.storage = nil
	}
}

// with runs f on the storage, and again on a new one if it failed.
func (o *objects) with(f func(*filesystem.Storage) error) error {
	o.mu.Lock()
	err := f(o.open())
	o.mu.Unlock()
	if err == nil || errors.Is(err, plumbing.ErrReferenceNotFound) {
		return err
	}
	o.forget()
	o.mu.Lock()
	defer o.mu.Unlock()
	return f(o.open())
}

func (o *objects) config() (c *config.Config, err error) {
	err = o.with(func(s *filesystem.Storage) error { c, err = s.Config(); return err })
	return c, err
}

// broken marks an error that comes from what is in a file and not from opening it.
func broken(err error) error {
	var system *os.PathError
	if errors.Is(err, plumbing.ErrObjectNotFound) || errors.As(err, &system) {
		return err
	}
	return fmt.Errorf("%w: %w", errCorrupt, err)
}

// read returns an object's content after checking it against its name.
func (o *objects) read(t plumbing.ObjectType, h plumbing.Hash) (*plumbing.MemoryObject, error) {
	m := &plumbing.MemoryObject{}
	err := o.with(func(s *filesystem.Storage) error {
		*m = plumbing.MemoryObject{}
		obj, err := s.EncodedObject(t, h)
		if err != nil {
			return fmt.Errorf("read %s %s: %w", t, h, broken(err))
		}
		if obj.Size() > maxObject {
			return fmt.Errorf("read %s %s: %d MiB are more than the limit of %d", t, h, obj.Size()>>20, maxObject>>20)
		}
		r, err := obj.Reader()
		if err != nil {
			return fmt.Errorf("read %s %s: %w", t, h, err)
		}
		defer r.Close()
		m.SetType(obj.Type())
		var b bytes.Buffer
		b.Grow(int(obj.Size()))
		if _, err := io.Copy(&b, r); err != nil {
			return fmt.Errorf("read %s %s: %w: %w", t, h, errCorrupt, err)
		}
		m.Write(b.Bytes())
		if m.Hash() != h {
			return fmt.Errorf("read %s %s: %w", t, h, errCorrupt)
		}
		return nil
	})
	return m, err
}

// content returns the bytes of a blob.
func (o *objects) content(h plumbing.Hash) ([]byte, error) {
	m, err := o.read(plumbing.BlobObject, h)
	if err != nil {
		return nil, err
	}
	r, err := m.Reader()
	if err != nil {
		return nil, err
	}
	return io.ReadAll(r)
}

// size returns the size of a blob without reading it.
func (o *objects) size(h plumbing.Hash) (n int64, err error) {
	err = o.with(func(s *filesystem.Storage) error {
		if n, err = s.EncodedObjectSize(h); err == nil {
			return nil
		}
		obj, err := s.EncodedObject(plumbing.BlobObject, h) // looks into alternates too
		if err == nil {
			n = obj.Size()
		}
		return err
	})
	return n, err
}

func (o *objects) commit(h plumbing.Hash) (*object.Commit, error) {
	m, err := o.read(plumbing.CommitObject, h)
	if err != nil {
		return nil, err
	}
	c, err := object.DecodeCommit(nil, m)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w: %w", h, errCorrupt, err)
	}
	return c, nil
}

func (o *objects) tree(h plumbing.Hash) (*object.Tree, error) {
	m, err := o.read(plumbing.TreeObject, h)
	if err != nil {
		return nil, err
	}
	t, err := object.DecodeTree(nil, m)
	if err != nil {
		return nil, fmt.Errorf("read tree %s: %w: %w", h, errCorrupt, err)
	}
	return t, nil
}

// complete returns a commit whose root tree can be read too.
func (o *objects) complete(h plumbing.Hash) (*object.Commit, error) {
	c, err := o.commit(h)
	if err != nil {
		return nil, err
	}
	_, err = o.tree(c.TreeHash)
	return c, err
}

// maxSymbolic bounds a chain of references to references.
const maxSymbolic = 5

// ref returns what a reference points to, through references to references.
func (o *objects) ref(name plumbing.ReferenceName) (h plumbing.Hash, err error) {
	err = o.with(func(s *filesystem.Storage) error {
		for range maxSymbolic {
			ref, err := s.Reference(name)
			if err != nil {
				return err
			}
			if ref.Type() == plumbing.HashReference {
				h = ref.Hash()
				return nil
			}
			name = ref.Target()
		}
		return fmt.Errorf("reference %s leads nowhere", name)
	})
	return h, err
}

// branches returns the names of all branches, sorted.
func (o *objects) branches() (names []string, err error) {
	err = o.with(func(s *filesystem.Storage) error {
		names = nil
		all, err := s.IterReferences()
		if err != nil {
			return err
		}
		return all.ForEach(func(r *plumbing.Reference) error {
			if r.Name().IsBranch() {
				names = append(names, r.Name().Short())
			}
			return nil
		})
	})
	slices.Sort(names)
	return names, err
}

// revision finds the commit that a name given by a person means.
func (o *objects) revision(name string) (plumbing.Hash, error) {
	if plumbing.IsHash(name) {
		return o.peel(plumbing.NewHash(name))
	}
	names := []plumbing.ReferenceName{plumbing.NewBranchReferenceName(name), plumbing.NewTagReferenceName(name)}
	if name == "HEAD" || strings.HasPrefix(name, "refs/") {
		names = append(names, plumbing.ReferenceName(name))
	}
	for _, n := range names {
		if n.Validate() != nil {
			continue
		}
		h, err := o.ref(n)
		if err == nil {
			return o.peel(h)
		}
		if !errors.Is(err, plumbing.ErrReferenceNotFound) {
			return h, err
		}
	}
	return o.abbreviated(name)
}

// peel follows annotated tags to a commit.
func (o *objects) peel(h plumbing.Hash) (plumbing.Hash, error) {
	for range maxSymbolic {
		m, err := o.read(plumbing.AnyObject, h)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			return h, fmt.Errorf("%w: %w", errNoRevision, err)
		}
		if err != nil {
			return h, err
		}
		switch m.Type() {
		case plumbing.CommitObject:
			return h, nil
		case plumbing.TagObject:
			t, err := object.DecodeTag(nil, m)
			if err != nil {
				return h, fmt.Errorf("read tag %s: %w: %w", h, errCorrupt, err)
			}
			h = t.Target
		default:
			return h, fmt.Errorf("%w: %s is a %s", errNoRevision, h, m.Type())
		}
	}
	return h, fmt.Errorf("%w: tags of tags of tags", errNoRevision)
}

// abbreviated finds the one commit whose hash begins so.
func (o *objects) abbreviated(name string) (plumbing.Hash, error) {
	prefix, err := hex.DecodeString(strings.ToLower(name)[:len(name)&^1])
	if err != nil || len(name) < minShort || len(name) > 40 {
		return plumbing.ZeroHash, errNoRevision
	}
	var found []plumbing.Hash
	err = o.with(func(s *filesystem.Storage) error {
		found = nil
		all, err := s.HashesWithPrefix(prefix)
		for _, h := range all {
			if strings.HasPrefix(h.String(), strings.ToLower(name)) && !slices.Contains(found, h) {
				found = append(found, h)
			}
		}
		if err == nil && len(found) == 0 {
			return plumbing.ErrObjectNotFound // packs may have been written since this storage listed them: have it tried anew
		}
		return err
	})
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		return plumbing.ZeroHash, errNoRevision
	}
	if err != nil {
		return plumbing.ZeroHash, err
	}
	var commits []plumbing.Hash
	for _, h := range found {
		if m, err := o.read(plumbing.AnyObject, h); err == nil && m.Type() == plumbing.CommitObject {
			commits = append(commits, h)
		}
	}
	switch len(commits) {
	case 0:
		return plumbing.ZeroHash, errNoRevision
	case 1:
		return commits[0], nil
	}
	return plumbing.ZeroHash, fmt.Errorf("%w: %w", errNoRevision, fmt.Errorf("%d commits begin with %s, give more digits", len(commits), name))
}
