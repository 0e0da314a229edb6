package master

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/server"
)

// Limits on an uploaded tree.
const (
	// maxUpload is what a working tree may weigh, in bytes: HCL and the files that it reads, no images.
	maxUpload = 64 << 20
	// maxUploadFiles it may have, folders included.
	maxUploadFiles = 20_000
	// maxUploadDepth of folders.
	maxUploadDepth = 40
	// maxTrees in memory at the same time; further ones wait.
	maxTrees = 4
	// uploadTimeout bounds how long a tree may take to arrive.
	uploadTimeout = time.Minute
)

// oneTree has a handler wait until there is room for a tree in memory.
func (m *Master) oneTree(h server.Handler) server.Handler {
	return func(w http.ResponseWriter, c *server.Call) error {
		select {
		case m.trees <- struct{}{}:
		case <-c.Context().Done():
			return c.Context().Err()
		}
		defer func() { <-m.trees }()
		if err := http.NewResponseController(w).SetReadDeadline(time.Now().Add(uploadTimeout)); err != nil {
			return fmt.Errorf("bound upload: %w", err)
		}
		return h(w, c)
	}
}

// tree is an uploaded working tree in memory.
type tree struct {
	nodes map[string]*treeNode // by path; "." is the root
}

type treeNode struct {
	name    string
	mode    fs.FileMode
	content []byte // of a file; the target of a link
	entries []string
}

// readTree reads a tar archive of a working tree.
func readTree(r io.Reader) (*tree, error) {
	t := &tree{nodes: map[string]*treeNode{".": {name: ".", mode: fs.ModeDir | 0o755}}}
	archive := tar.NewReader(io.LimitReader(r, maxUpload+1<<20))
	total := int64(0)
	for {
		h, err := archive.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, badRequest("the archive cannot be read: "+err.Error(), "send a tar archive of the working tree of at most 64 MiB")
		}
		if total += h.Size; total > maxUpload || len(t.nodes) >= maxUploadFiles {
			return nil, &api.Error{Status: http.StatusRequestEntityTooLarge, Message: fmt.Sprintf("the tree is larger than %d MiB or %d files", maxUpload>>20, maxUploadFiles), Remedy: "leave out what the HCL files do not read"}
		}
		if err := t.add(h, archive); err != nil {
			return nil, err
		}
	}
	for _, n := range t.nodes {
		slices.Sort(n.entries)
	}
	return t, nil
}

func (t *tree) add(h *tar.Header, r io.Reader) error {
	name := path.Clean(strings.TrimSuffix(h.Name, "/"))
	if name == "." {
		return nil
	}
	if !fs.ValidPath(name) || strings.Count(name, "/") >= maxUploadDepth {
		return badRequest(fmt.Sprintf("the archive holds the path %q", h.Name), "use relative paths within the tree, at most 40 folders deep")
	}
	var n treeNode
	switch h.Typeflag {
	case tar.TypeDir:
		return t.folder(name)
	case tar.TypeReg:
		content, err := io.ReadAll(r)
		if err != nil {
			return badRequest("the archive is cut short: "+err.Error(), "send it again")
		}
		n = treeNode{mode: 0o644, content: content}
	case tar.TypeSymlink:
		n = treeNode{mode: fs.ModeSymlink | 0o777, content: []byte(h.Linkname)}
	default:
		return nil // devices and the like are nothing that a commit could hold
	}
	if t.nodes[name] != nil {
		return badRequest(fmt.Sprintf("the archive holds %q twice", name), "")
	}
	if err := t.folder(path.Dir(name)); err != nil {
		return err
	}
	n.name = path.Base(name)
	t.nodes[name] = &n
	t.enter(name)
	return nil
}

func (t *tree) enter(name string) {
	parent := t.nodes[path.Dir(name)]
	parent.entries = append(parent.entries, path.Base(name))
}

// folder makes a folder and those above it.
func (t *tree) folder(name string) error {
	if n := t.nodes[name]; n != nil {
		if !n.mode.IsDir() {
			return badRequest(fmt.Sprintf("the archive holds %q as a file and as a folder", name), "")
		}
		return nil
	}
	if err := t.folder(path.Dir(name)); err != nil {
		return err
	}
	t.nodes[name] = &treeNode{name: path.Base(name), mode: fs.ModeDir | 0o755}
	t.enter(name)
	return nil
}

// maxLinks in one path before it counts as a loop.
const maxLinks = 40

// resolve finds a node, following links within the tree. With last, a link at the end is followed too.
func (t *tree) resolve(name string, last bool) (*treeNode, string, error) {
	if !fs.ValidPath(name) {
		return nil, "", fs.ErrInvalid
	}
	at, rest, links := ".", strings.Split(name, "/"), 0
	for len(rest) > 0 {
		part := rest[0]
		rest = rest[1:]
		at = path.Join(at, part)
		n := t.nodes[at]
		switch {
		case at == ".." || strings.HasPrefix(at, "../"), n == nil:
			return nil, "", fs.ErrNotExist
		case n.mode&fs.ModeSymlink != 0 && (last || len(rest) > 0):
			target := string(n.content)
			if links++; links > maxLinks || path.IsAbs(target) {
				return nil, "", fs.ErrNotExist
			}
			rest = append(strings.Split(target, "/"), rest...)
			at = path.Dir(at)
		case len(rest) > 0 && !n.mode.IsDir():
			return nil, "", fs.ErrNotExist
		}
	}
	return t.nodes[at], at, nil
}

// Open implements fs.FS.
func (t *tree) Open(name string) (fs.File, error) {
	n, at, err := t.resolve(name, true)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return &treeFile{tree: t, node: n, at: at}, nil
}

// ReadLink implements fs.ReadLinkFS.
func (t *tree) ReadLink(name string) (string, error) {
	n, _, err := t.resolve(name, false)
	if err == nil && n.mode&fs.ModeSymlink == 0 {
		err = fs.ErrInvalid
	}
	if err != nil {
		return "", &fs.PathError{Op: "readlink", Path: name, Err: err}
	}
	return string(n.content), nil
}

// Lstat implements fs.ReadLinkFS.
func (t *tree) Lstat(name string) (fs.FileInfo, error) {
	n, _, err := t.resolve(name, false)
	if err != nil {
		return nil, &fs.PathError{Op: "lstat", Path: name, Err: err}
	}
	return treeInfo{n}, nil
}

// ReadDir implements fs.ReadDirFS.
func (t *tree) ReadDir(name string) ([]fs.DirEntry, error) {
	n, at, err := t.resolve(name, true)
	if err == nil && !n.mode.IsDir() {
		err = errors.New("not a folder")
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	list := make([]fs.DirEntry, len(n.entries))
	for i, e := range n.entries {
		list[i] = fs.FileInfoToDirEntry(treeInfo{t.nodes[path.Join(at, e)]})
	}
	return list, nil
}

type treeFile struct {
	tree *tree
	node *treeNode
	at   string
	read int
}

// Stat implements fs.File.
func (f *treeFile) Stat() (fs.FileInfo, error) { return treeInfo{f.node}, nil }

func (f *treeFile) Read(p []byte) (int, error) {
	if f.node.mode.IsDir() {
		return 0, &fs.PathError{Op: "read", Path: f.at, Err: errors.New("is a folder")}
	}
	if f.read >= len(f.node.content) {
		return 0, io.EOF
	}
	n := copy(p, f.node.content[f.read:])
	f.read += n
	return n, nil
}

func (f *treeFile) Close() error { return nil }

// ReadDir implements fs.ReadDirFile.
func (f *treeFile) ReadDir(n int) ([]fs.DirEntry, error) {
	list, err := f.tree.ReadDir(f.at)
	if err != nil {
		return nil, err
	}
	list = list[min(f.read, len(list)):]
	if n > 0 {
		if len(list) == 0 {
			return nil, io.EOF
		}
		list = list[:min(n, len(list))]
	}
	f.read += len(list)
	return list, nil
}

type treeInfo struct{ n *treeNode }

// Name implements fs.FileInfo.
func (i treeInfo) Name() string { return i.n.name }

// Size implements fs.FileInfo.
func (i treeInfo) Size() int64 { return int64(len(i.n.content)) }

// Mode implements fs.FileInfo.
func (i treeInfo) Mode() fs.FileMode { return i.n.mode }

// ModTime implements fs.FileInfo.
func (i treeInfo) ModTime() time.Time { return time.Time{} }

// IsDir implements fs.FileInfo.
func (i treeInfo) IsDir() bool { return i.n.mode.IsDir() }

// Sys implements fs.FileInfo.
func (i treeInfo) Sys() any { return nil }
