package git

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/format/idxfile"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/object"
)

const (
	// cacheSize is for objects that others are told as differences from, in bytes.
	cacheSize = 64 << 20
	// maxDepth of folders in a commit.
	maxDepth = 200
)

// Kind is what an entry is.
type Kind int

// The kinds of entries.
const (
	File Kind = iota
	Program
	Link
	Folder // also in the place of another repository, whose files are not fetched
)

// Entry is a file, folder or link of a commit.
type Entry struct {
	Name    string // from the folder that was asked for
	Kind    Kind
	Size    int64
	Content io.Reader // of a file, or the target of a link
}

// Read visits what a commit has in a folder ("": all of it), folders before what is in them. The pack is as Fetch wrote it.
func Read(pack *os.File, commit, folder string, visit func(Entry) error) error {
	if err := measure(pack); err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	if _, err := pack.Seek(0, io.SeekStart); err != nil {
		return err
	}
	index := new(idxfile.Writer)
	parser, err := packfile.NewParser(packfile.NewScanner(pack), index)
	if err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	if _, err := parser.Parse(); err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	found, err := index.Index()
	if err != nil {
		return fmt.Errorf("read pack: %w", err)
	}
	r := reader{packfile.NewPackfileWithCache(found, nil, file{pack}, cache.NewObjectLRU(cacheSize), 0), visit}
	o, err := r.object(plumbing.NewHash(commit), plumbing.CommitObject)
	if err != nil {
		return fmt.Errorf("commit %s is not in the repository, or not in the branch or tag that was named: %w", commit, err)
	}
	c, err := object.DecodeCommit(nil, o)
	if err != nil {
		return fmt.Errorf("read commit: %w", err)
	}
	tree := c.TreeHash
	if folder != "" {
		for part := range strings.SplitSeq(folder, "/") {
			if tree, err = r.enter(tree, part); err != nil {
				return fmt.Errorf("folder %s of commit %s: %w", folder, commit, err)
			}
		}
	}
	return r.walk(tree, "", 0)
}

// file makes of a file what the library calls one; nobody else has it open.
type file struct{ *os.File }

// Lock does nothing.
func (file) Lock() error { return nil }

// Unlock does nothing.
func (file) Unlock() error { return nil }

type reader struct {
	pack  *packfile.Packfile
	visit func(Entry) error
}

var errKind = errors.New("it is something else there")

func (r *reader) object(h plumbing.Hash, kind plumbing.ObjectType) (plumbing.EncodedObject, error) {
	o, err := r.pack.Get(h)
	if err != nil {
		return nil, err
	}
	if o.Type() != kind {
		return nil, errKind
	}
	return o, nil
}

func (r *reader) tree(h plumbing.Hash) (*object.Tree, error) {
	o, err := r.object(h, plumbing.TreeObject)
	if err != nil {
		return nil, err
	}
	return object.DecodeTree(nil, o)
}

// enter finds a folder in another.
func (r *reader) enter(h plumbing.Hash, name string) (plumbing.Hash, error) {
	t, err := r.tree(h)
	if err != nil {
		return plumbing.ZeroHash, err
	}
	for _, e := range t.Entries {
		if e.Name == name && e.Mode == filemode.Dir {
			return e.Hash, nil
		}
	}
	return plumbing.ZeroHash, fmt.Errorf("there is no folder %q", name)
}

func (r *reader) walk(h plumbing.Hash, below string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%q: more than %d folders deep", below, maxDepth)
	}
	t, err := r.tree(h)
	if err != nil {
		return fmt.Errorf("folder %q: %w", below, err)
	}
	for _, e := range t.Entries {
		if strings.Contains(e.Name, "/") {
			return fmt.Errorf("%q is no name of a file", e.Name)
		}
		name := path.Join(below, e.Name)
		if e.Name == ".." || e.Name == "." || e.Name == "" {
			return fmt.Errorf("%q is no name of a file", e.Name)
		}
		switch e.Mode {
		case filemode.Dir, filemode.Submodule:
			if err = r.visit(Entry{Name: name, Kind: Folder}); err == nil && e.Mode == filemode.Dir {
				err = r.walk(e.Hash, name, depth+1)
			}
		default:
			err = r.blob(name, &e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) blob(name string, e *object.TreeEntry) error {
	kind, ok := map[filemode.FileMode]Kind{filemode.Regular: File, filemode.Deprecated: File, filemode.Executable: Program, filemode.Symlink: Link}[e.Mode]
	if !ok {
		return fmt.Errorf("%q is neither a file, a folder nor a link", name)
	}
	o, err := r.object(e.Hash, plumbing.BlobObject)
	if err != nil {
		return fmt.Errorf("file %q: %w", name, err)
	}
	content, err := o.Reader()
	if err != nil {
		return fmt.Errorf("file %q: %w", name, err)
	}
	defer content.Close()
	return r.visit(Entry{Name: name, Kind: kind, Size: o.Size(), Content: content})
}
