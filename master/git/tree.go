package git

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// Blob is the name of a file's content: equal names are equal contents, in every commit.
type Blob string

// errSubmodule is the cause when something inside a submodule is opened.
var errSubmodule = errors.New("is a submodule, whose content belongs to another repository: copy what is needed into this one")

// maxLinks bounds the symbolic links on the way to one file.
const maxLinks = 40

// tree is a commit's content as a file system.
type tree struct {
	objects *objects
	root    plumbing.Hash
	time    time.Time // of the commit: what every file says

	trees sync.Map // of *object.Tree by hash
}

var (
	_ fs.ReadDirFS  = (*tree)(nil)
	_ fs.ReadFileFS = (*tree)(nil)
	_ fs.StatFS     = (*tree)(nil)
	_ fs.ReadLinkFS = (*tree)(nil)
)

// node is one file, folder, link or submodule.
type node struct {
	tree *tree
	name string
	mode filemode.FileMode
	hash plumbing.Hash
}

func (t *tree) list(h plumbing.Hash) (*object.Tree, error) {
	if known, ok := t.trees.Load(h); ok {
		return known.(*object.Tree), nil
	}
	list, err := t.objects.tree(h)
	if err != nil {
		return nil, err
	}
	t.trees.Store(h, list)
	return list, nil
}

// find walks to name. It follows links on the way, and the last one too if follow is set.
func (t *tree) find(name string, follow bool) (node, error) {
	if !fs.ValidPath(name) {
		return node{}, fs.ErrInvalid
	}
	at := []node{{t, ".", filemode.Dir, t.root}} // the folders from the root to where we are
	rest := strings.Split(name, "/")
	if name == "." {
		rest = nil
	}
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch part {
		case "", ".":
			continue
		case "..":
			if len(at) == 1 {
				return node{}, errors.New("the link leads out of the repository")
			}
			at = at[:len(at)-1]
			continue
		}
		next, err := at[len(at)-1].child(part)
		if err != nil {
			return node{}, err
		}
		if next.mode != filemode.Symlink || len(rest) == 0 && !follow {
			at = append(at, next)
			continue
		}
		if links++; links > maxLinks {
			return node{}, errors.New("too many links")
		}
		target, err := t.objects.content(next.hash)
		if err != nil {
			return node{}, err
		}
		if path.IsAbs(string(target)) {
			return node{}, errors.New("the link leads out of the repository")
		}
		rest = append(strings.Split(string(target), "/"), rest...)
	}
	found := at[len(at)-1]
	found.name = path.Base(name)
	return found, nil
}

func (n node) child(name string) (node, error) {
	switch n.mode {
	case filemode.Submodule:
		return node{}, errSubmodule
	case filemode.Dir:
	default:
		return node{}, fs.ErrNotExist
	}
	list, err := n.tree.list(n.hash)
	if err != nil {
		return node{}, err
	}
	for _, e := range list.Entries {
		if e.Name == name {
			return node{n.tree, e.Name, e.Mode, e.Hash}, nil
		}
	}
	return node{}, fs.ErrNotExist
}

func failed(op, name string, err error) error { return &fs.PathError{Op: op, Path: name, Err: err} }

// Open opens a file or folder, following links inside the repository.
func (t *tree) Open(name string) (fs.File, error) {
	n, err := t.find(name, true)
	if err != nil {
		return nil, failed("open", name, err)
	}
	switch n.mode {
	case filemode.Dir:
		entries, err := n.entries()
		if err != nil {
			return nil, failed("open", name, err)
		}
		return &folder{node: n, path: name, entries: entries}, nil
	case filemode.Submodule:
		return nil, failed("open", name, errSubmodule)
	}
	b, err := t.objects.content(n.hash)
	if err != nil {
		return nil, failed("open", name, err)
	}
	return &file{*bytes.NewReader(b), n}, nil
}

// ReadFile returns a file's content.
func (t *tree) ReadFile(name string) ([]byte, error) {
	n, err := t.find(name, true)
	switch {
	case err != nil:
	case n.mode == filemode.Dir:
		err = errors.New("is a folder")
	case n.mode == filemode.Submodule:
		err = errSubmodule
	}
	if err != nil {
		return nil, failed("read", name, err)
	}
	b, err := t.objects.content(n.hash)
	if err != nil {
		return nil, failed("read", name, err)
	}
	return b, nil
}

// ReadDir lists a folder, sorted by name.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, err := t.find(name, true)
	switch {
	case err != nil:
	case n.mode == filemode.Submodule:
		err = errSubmodule
	case n.mode != filemode.Dir:
		err = errors.New("is no folder")
	}
	if err != nil {
		return nil, failed("readdir", name, err)
	}
	entries, err := n.entries()
	if err != nil {
		return nil, failed("readdir", name, err)
	}
	return entries, nil
}

// Stat tells about a file, following links.
func (t *tree) Stat(name string) (fs.FileInfo, error) {
	n, err := t.find(name, true)
	if err == nil {
		var i fs.FileInfo
		if i, err = n.Info(); err == nil {
			return i, nil
		}
	}
	return nil, failed("stat", name, err)
}

// Lstat tells about a file or link.
func (t *tree) Lstat(name string) (fs.FileInfo, error) {
	n, err := t.find(name, false)
	if err == nil {
		var i fs.FileInfo
		if i, err = n.Info(); err == nil {
			return i, nil
		}
	}
	return nil, failed("lstat", name, err)
}

// ReadLink returns where a link leads, as it was committed.
func (t *tree) ReadLink(name string) (string, error) {
	n, err := t.find(name, false)
	if err == nil && n.mode != filemode.Symlink {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", failed("readlink", name, err)
	}
	b, err := t.objects.content(n.hash)
	if err != nil {
		return "", failed("readlink", name, err)
	}
	return string(b), nil
}

func (n node) entries() ([]fs.DirEntry, error) {
	list, err := n.tree.list(n.hash)
	if err != nil {
		return nil, err
	}
	out := make([]fs.DirEntry, 0, len(list.Entries))
	for _, e := range list.Entries {
		if e.Name == "." || e.Name == ".." || strings.Contains(e.Name, "/") {
			return nil, fmt.Errorf("%w: a file is named %q", errCorrupt, e.Name)
		}
		out = append(out, node{n.tree, e.Name, e.Mode, e.Hash})
	}
	slices.SortFunc(out, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return out, nil
}

// Name returns the last part of the path.
func (n node) Name() string { return n.name }

// IsDir tells whether it is a folder. A submodule is none.
func (n node) IsDir() bool { return n.mode == filemode.Dir }

// Type returns the type bits: a submodule is fs.ModeIrregular.
func (n node) Type() fs.FileMode { return n.fileMode().Type() }

// String formats the entry as the standard library does.
func (n node) String() string { return fs.FormatDirEntry(n) }

func (n node) fileMode() fs.FileMode {
	switch n.mode {
	case filemode.Dir:
		return fs.ModeDir | 0o555
	case filemode.Symlink:
		return fs.ModeSymlink | 0o777
	case filemode.Submodule:
		return fs.ModeIrregular
	case filemode.Executable:
		return 0o555
	}
	return 0o444
}

// Info tells about the file without reading its content.
func (n node) Info() (fs.FileInfo, error) {
	i := info{node: n}
	if n.mode != filemode.Dir && n.mode != filemode.Submodule {
		var err error
		if i.size, err = n.tree.objects.size(n.hash); err != nil {
			return nil, err
		}
	}
	return i, nil
}

type info struct {
	node
	size int64
}

// Size is the length of a file or link in bytes.
func (i info) Size() int64 { return i.size }

// Mode has the executable bit where it was committed.
func (i info) Mode() fs.FileMode { return i.fileMode() }

// ModTime is the commit's: Git keeps no time of a file.
func (i info) ModTime() time.Time { return i.tree.time }

// Sys returns the Blob of a file.
func (i info) Sys() any { return Blob(i.hash.String()) }

// String formats the info as the standard library does.
func (i info) String() string { return fs.FormatFileInfo(i) }

// file is an open file.
type file struct {
	bytes.Reader
	node node
}

// Stat tells about the file.
func (f *file) Stat() (fs.FileInfo, error) { return f.node.Info() }

// Close does nothing.
func (f *file) Close() error { return nil }

// folder is an open folder.
type folder struct {
	node    node
	path    string
	entries []fs.DirEntry
}

// Stat tells about the folder.
func (f *folder) Stat() (fs.FileInfo, error) { return f.node.Info() }

// Read fails: a folder has no bytes.
func (f *folder) Read([]byte) (int, error) {
	return 0, failed("read", f.path, errors.New("is a folder"))
}

// Close does nothing.
func (f *folder) Close() error { return nil }

// ReadDir returns the next n entries, or all the rest.
func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(f.entries)
	} else if len(f.entries) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.entries))
	out := f.entries[:n:n]
	f.entries = f.entries[n:]
	return out, nil
}
