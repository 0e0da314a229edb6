package image

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A tree is a layer being unpacked, on top of the layers below it. It walks names one component at a time, so that every
// operation on the disk has a single name in an open folder: there is nothing left for the kernel to resolve.
//
// Names mean what they would mean were the image mounted and were it the whole file system: a folder that only a lower
// layer has is made here with the same owner and mode, and a symbolic link in the folder part of a name is followed,
// whichever layer it is in.
type tree struct {
	dir    string   // the layer being made
	lowers []string // finished layers below, top first
	root   bool     // owners can be set
	opaque string   // attribute that marks a folder as opaque

	limits  Limits
	entries int // made by the archive, or on the way to one that it has
	steps   int // folders looked into

	// stack holds the open folders from the root to where the walk stands. Entries of a tar archive come folder by
	// folder, so most walks open nothing.
	stack []folder
}

type folder struct {
	name string // last component; empty for the root
	path string // from the root, "." for the root
	at   *os.Root
}

func newTree(dir string, lowers []string, form overlayForm, limits Limits) (*tree, error) {
	at, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	t := &tree{
		dir: dir, lowers: lowers, root: form.owners, opaque: form.xattr,
		limits: limits, stack: []folder{{path: ".", at: at}},
	}
	var lower fs.FileInfo
	if len(lowers) > 0 {
		if lower, err = os.Lstat(lowers[0]); err != nil {
			t.close()
			return nil, err
		}
	}
	if err := t.dress(at, ".", lower); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

func (t *tree) close() {
	t.cut(0)
}

// cut closes all open folders from depth n.
func (t *tree) cut(n int) {
	for _, f := range t.stack[n:] {
		f.at.Close()
	}
	t.stack = t.stack[:n]
}

// errNotThere is returned by walk without create for a folder that this layer does not have.
var errNotThere = errors.New("no such folder in this layer")

// errNotFolder is returned where a name leads through something else.
var errNotFolder = errors.New("not a folder")

// walk goes to the folder called name, and returns its depth in the stack. With create, missing folders are made.
func (t *tree) walk(name string, create bool) (int, error) {
	depth, links := 0, 0
	todo := strings.Split(name, "/")
	for len(todo) > 0 {
		part := todo[0]
		todo = todo[1:]
		switch part {
		case "", ".":
			continue
		case "..": // only from the target of a link; above the root is the root
			depth = max(0, depth-1)
			continue
		}
		if depth+1 < len(t.stack) && t.stack[depth+1].name == part {
			depth++
			continue
		}
		t.cut(depth + 1)
		target, err := t.step(depth, part, create)
		if err != nil {
			return 0, err
		}
		if target == "" {
			depth++
			continue
		}
		if links++; links > maxLinks {
			return 0, fmt.Errorf("more than %d symbolic links on the way", maxLinks)
		}
		if strings.HasPrefix(target, "/") {
			depth = 0
		}
		todo = append(strings.Split(target, "/"), todo...)
	}
	return depth, nil
}

// step enters the folder part, from the folder at depth, which is the last of the stack. Where part is a symbolic link
// it returns its target and enters nothing.
func (t *tree) step(depth int, part string, create bool) (target string, err error) {
	if len(part) > maxComponent {
		return "", fmt.Errorf("the name %.20q… is longer than %d bytes", part, maxComponent)
	}
	if depth >= t.limits.NameDepth { // links lead deeper than names do; each folder is held open
		return "", fmt.Errorf("more than %d folders deep", t.limits.NameDepth)
	}
	if err := t.count(1); err != nil {
		return "", err
	}
	here := t.stack[depth]
	full := path.Join(here.path, part)
	info, err := here.at.Lstat(part)
	hidden := false
	if err == nil && isWhiteout(info) {
		hidden = true // by this layer itself: what it adds below is all there is
	}
	switch {
	case err == nil && info.IsDir():
		return "", t.push(here, part)
	case err == nil && info.Mode()&fs.ModeSymlink != 0:
		return here.at.Readlink(part)
	case err == nil && !hidden:
		return "", fmt.Errorf("%q: %w", shorten(full), errNotFolder)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return "", err
	}
	var lower fs.FileInfo
	if !hidden {
		if lower, target, err = t.below(full); err != nil || target != "" {
			return target, err
		}
	}
	if !create {
		return "", errNotThere
	}
	if err := t.makeParent(here, part, full, lower, hidden); err != nil {
		return "", err
	}
	return "", t.push(here, part)
}

// count adds to the steps: names that wander about make each entry cost many.
func (t *tree) count(n int) error {
	if t.steps += n; t.steps > t.limits.LayerSteps {
		return fmt.Errorf("looked into more than %d folders: the names of this layer lead around too much", t.limits.LayerSteps)
	}
	return nil
}

// another counts an entry.
func (t *tree) another() error {
	if t.entries++; t.entries > t.limits.LayerEntries {
		return fmt.Errorf("more than %d entries", t.limits.LayerEntries)
	}
	return nil
}

func (t *tree) push(here folder, part string) error {
	at, err := here.at.OpenRoot(part)
	if err != nil {
		return err
	}
	t.stack = append(t.stack, folder{name: part, path: path.Join(here.path, part), at: at})
	return nil
}

// makeParent makes a folder that the archive has no entry for: like the one below, if there is one.
func (t *tree) makeParent(here folder, part, full string, lower fs.FileInfo, hidden bool) error {
	if err := t.another(); err != nil {
		return err
	}
	if hidden {
		if err := here.at.Remove(part); err != nil {
			return err
		}
	}
	if err := here.at.Mkdir(part, 0o755); err != nil {
		return err
	}
	if err := t.dress(here.at, part, lower); err != nil {
		return err
	}
	if hidden {
		return t.seal(here, part)
	}
	return nil
}

// dress gives a folder without an entry the owner and mode of the one below, if there is one: overlayfs shows those of the
// topmost.
func (t *tree) dress(at *os.Root, name string, lower fs.FileInfo) error {
	if lower == nil {
		return at.Chmod(name, 0o755)
	}
	if sys := lower.Sys().(*syscall.Stat_t); t.root {
		if err := at.Lchown(name, int(sys.Uid), int(sys.Gid)); err != nil {
			return err
		}
	}
	return at.Chmod(name, lower.Mode()&modeBits)
}

// modeBits are the mode bits that are kept.
const modeBits = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

// seal marks a folder as opaque.
func (t *tree) seal(here folder, part string) error {
	if len(t.lowers) == 0 {
		return nil
	}
	f, err := here.at.OpenFile(part, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Fsetxattr(int(f.Fd()), t.opaque, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark folder as opaque: %w", err)
	}
	return nil
}

// sealedAt reports whether the folder at an absolute path, which has no symbolic links in it, is marked as opaque.
func (t *tree) sealedAt(name string) bool {
	var value [1]byte
	n, err := unix.Lgetxattr(name, t.opaque, value[:])
	return err == nil && n == 1 && value[0] == 'y'
}

// below looks a path up in the lower layers, as overlayfs would. Of a folder it returns what it is, of a symbolic link the
// target; nothing at all if there is nothing. All folders on the way are known not to be links.
func (t *tree) below(full string) (info fs.FileInfo, target string, err error) {
	if len(t.lowers) == 0 {
		return nil, "", nil
	}
	for dir := path.Dir(full); ; dir = path.Dir(dir) {
		if t.sealedAt(filepath.Join(t.dir, dir)) {
			return nil, "", nil
		}
		if dir == "." {
			break
		}
	}
	for _, layer := range t.lowers {
		info, last, err := t.lookup(layer, full)
		if err != nil {
			return nil, "", err
		}
		switch {
		case info == nil && last:
			return nil, "", nil
		case info == nil:
			continue
		case info.IsDir():
			return info, "", nil
		case info.Mode()&fs.ModeSymlink != 0:
			target, err := os.Readlink(filepath.Join(layer, full))
			return nil, target, err
		default:
			return nil, "", fmt.Errorf("%q: %w", shorten(full), errNotFolder)
		}
	}
	return nil, "", nil
}

// lookup finds full in one finished layer. last means that layers below this one do not count.
func (t *tree) lookup(layer, full string) (info fs.FileInfo, last bool, err error) {
	last = t.sealedAt(layer)
	parts := strings.Split(full, "/")
	if err := t.count(len(parts)); err != nil {
		return nil, false, err
	}
	for i := range parts {
		name := filepath.Join(layer, filepath.Join(parts[:i+1]...))
		info, err := os.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
			return nil, last, nil
		case err != nil:
			return nil, false, err
		case isWhiteout(info):
			return nil, true, nil
		case i == len(parts)-1:
			return info, last, nil
		case !info.IsDir():
			return nil, true, nil
		}
		last = last || t.sealedAt(name)
	}
	return nil, last, nil
}

// remove takes away what is called name in the folder at depth, with all below it.
func (t *tree) remove(depth int, name string) error {
	t.cut(depth + 1)
	return t.stack[depth].at.RemoveAll(name)
}

func isWhiteout(info fs.FileInfo) bool {
	if info.Mode()&fs.ModeCharDevice == 0 {
		return false
	}
	sys, ok := info.Sys().(*syscall.Stat_t)
	return ok && sys.Rdev == 0
}
