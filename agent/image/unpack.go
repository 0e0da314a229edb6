package image

import (
	"archive/tar"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// overlayForm is how what overlayfs needs is written down, which depends on what the process may do.
type overlayForm struct {
	xattr  string // attribute of opaque folders
	owners bool   // owners can be set
}

// Names that mean something in a layer, by the OCI image specification ("Whiteouts").
const (
	whiteoutPrefix = ".wh."
	opaqueMarker   = ".wh..wh..opq"
	aufsPrefix     = ".wh..wh." // bookkeeping of aufs, in images of long ago
)

// unpacker applies the tar stream of one layer to a tree.
type unpacker struct {
	*tree
	bytes   int64 // of file contents
	folders []folderTimes
	names   int64 // of bytes of names held in folders
	guard   *ratioGuard
	buffer  []byte
	foreign *Content // nil: a layer of an image
}

// folderTimes are set when all is unpacked, as each new entry in a folder changes them.
type folderTimes struct {
	path string
	mode fs.FileMode
	time time.Time
}

// unpack writes a layer, given as its compressed bytes, into the empty folder dir, and returns the diff ID: the SHA-256 of
// the decompressed archive in hexadecimal. It leaves dir half filled when it fails.
func unpack(ctx context.Context, blob io.Reader, dir string, lowers []string, form overlayForm, limits Limits) (diffID string, err error) {
	in := &counter{reader: blob, ctx: ctx}
	plain, closer, err := Decompress(in)
	if err != nil {
		return "", err
	}
	defer closer()
	t, err := newTree(dir, lowers, form, limits)
	if err != nil {
		return "", err
	}
	defer t.close()

	sum := sha256.New()
	guarded := &ratioGuard{reader: plain, in: in, limits: limits}
	stream := io.TeeReader(guarded, sum)
	u := &unpacker{tree: t, guard: guarded, buffer: make([]byte, 128<<10)}
	if err := u.archive(tar.NewReader(stream)); err != nil {
		return "", err
	}
	// What follows the end of the archive (padding) belongs to the digests as well.
	if _, err := io.CopyBuffer(io.Discard, stream, u.buffer); err != nil {
		return "", fmt.Errorf("read layer: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (u *unpacker) archive(r *tar.Reader) error {
	for {
		header, err := r.Next()
		if errors.Is(err, io.EOF) {
			return u.finish()
		}
		if err != nil && !errors.Is(err, tar.ErrInsecurePath) { // names are judged here
			return fmt.Errorf("read layer: %w", err)
		}
		if err := u.another(); err != nil {
			return fmt.Errorf("unpack layer: %w", err)
		}
		if err := u.entry(header, r); err != nil {
			return fmt.Errorf("unpack layer entry %q: %w", shorten(header.Name), err)
		}
	}
}

// entry applies one entry of the archive.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	if u.foreign != nil {
		return u.foreignEntry(h, content)
	}
	name, err := u.cleanName(h.Name)
	if err != nil {
		return err
	}
	if err := checkHeader(h); err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root of an image must be a folder")
		}
		return u.rootFolder(h)
	}
	dir, base := path.Split(name)
	if strings.Contains("/"+dir, "/"+whiteoutPrefix) {
		return errors.New("an entry below a whiteout")
	}
	depth, err := u.walk(dir, true)
	if err != nil {
		return err
	}
	if strings.HasPrefix(base, whiteoutPrefix) {
		return u.whiteout(depth, base)
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(depth, base, h)
	case tar.TypeReg, tar.TypeGNUSparse:
		return u.file(depth, base, h, content)
	case tar.TypeSymlink:
		return u.symlink(depth, base, h)
	case tar.TypeLink:
		return u.hardLink(depth, base, h)
	case tar.TypeFifo:
		return u.fifo(depth, base, h)
	case tar.TypeChar, tar.TypeBlock:
		return errors.New("images must not contain devices; a task gets its /dev from the node")
	}
	return fmt.Errorf("entries of kind %q are not known", h.Typeflag)
}

// cleanName checks the name of an entry, and returns it relative to the root of the layer. A leading slash means the root
// of the image.
func (u *unpacker) cleanName(name string) (string, error) {
	if len(name) > u.limits.NameBytes {
		return "", fmt.Errorf("the name is longer than %d bytes", u.limits.NameBytes)
	}
	if name == "" || strings.IndexByte(name, 0) >= 0 {
		return "", errors.New("the name is empty or contains a zero byte")
	}
	depth := 0
	for part := range strings.SplitSeq(name, "/") {
		switch {
		case part == "..":
			return "", errors.New(`the name contains ".."`)
		case len(part) > maxComponent:
			return "", fmt.Errorf("a component of the name is longer than %d bytes", maxComponent)
		case part != "" && part != ".":
			depth++
		}
	}
	if depth > u.limits.NameDepth {
		return "", fmt.Errorf("the name has more than %d components", u.limits.NameDepth)
	}
	return path.Clean("./" + name), nil
}

// checkHeader refuses values that no system can store.
func checkHeader(h *tar.Header) error {
	const maxID = 1<<32 - 2
	if h.Uid < 0 || h.Gid < 0 || h.Uid > maxID || h.Gid > maxID {
		return fmt.Errorf("the owner %d:%d is out of range", h.Uid, h.Gid)
	}
	if h.Size < 0 {
		return fmt.Errorf("the size %d is negative", h.Size)
	}
	if year := h.ModTime.Year(); year < 1970 || year > 2400 {
		h.ModTime = time.Unix(0, 0) // no harm in it, but not every file system holds it
	}
	return nil
}

func (u *unpacker) rootFolder(h *tar.Header) error {
	if u.root {
		if err := os.Lchown(u.dir, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	return u.later(".", h)
}

// later notes a folder whose mode and time are to be set at the end.
func (u *unpacker) later(name string, h *tar.Header) error {
	if u.names += int64(len(name)); u.names > u.limits.FolderNames {
		return fmt.Errorf("the names of folders take more than %d bytes", u.limits.FolderNames)
	}
	u.folders = append(u.folders, folderTimes{path: name, mode: u.folderMode(h), time: h.ModTime})
	return nil
}

func (u *unpacker) folderMode(h *tar.Header) fs.FileMode {
	mode := h.FileInfo().Mode() & modeBits
	if !u.root {
		mode |= 0o700 // whoever removes the layer has no other power over it
	}
	return mode
}

func (u *unpacker) folder(depth int, base string, h *tar.Header) error {
	here := u.stack[depth]
	wasWhiteout := false
	if info, err := here.at.Lstat(base); err == nil && !info.IsDir() {
		wasWhiteout = isWhiteout(info)
		if err := u.remove(depth, base); err != nil {
			return err
		}
	}
	if err := here.at.Mkdir(base, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if wasWhiteout {
		if err := u.seal(here, base); err != nil {
			return err
		}
	}
	if u.root {
		if err := here.at.Lchown(base, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	if err := u.xattrs(here, base, h); err != nil {
		return err
	}
	return u.later(path.Join(here.path, base), h)
}

func (u *unpacker) file(depth int, base string, h *tar.Header, content io.Reader) error {
	if h.Size > u.limits.LayerBytes-u.bytes {
		return fmt.Errorf("the layer is larger than %d bytes", u.limits.LayerBytes)
	}
	u.bytes += h.Size
	if u.bytes > u.limits.RatioFloor && u.bytes/u.limits.Ratio > u.guard.in.bytes+h.Size/u.limits.Ratio {
		return fmt.Errorf("the files expand more than %d times: this looks like a decompression bomb", u.limits.Ratio)
	}
	f, err := u.create(depth, base)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyBuffer(onlyWriter{f}, content, u.buffer); err != nil {
		return err
	}
	fd := int(f.Fd())
	if u.root {
		if err := unix.Fchown(fd, h.Uid, h.Gid); err != nil {
			return fmt.Errorf("set owner: %w", err)
		}
	}
	if err := setXattrs(fd, h, u.root); err != nil {
		return err
	}
	if err := f.Chmod(h.FileInfo().Mode() & modeBits); err != nil { // after the owner, whose change clears set-user-id
		return err
	}
	if err := u.stack[depth].at.Chtimes(base, h.ModTime, h.ModTime); err != nil {
		return err
	}
	return f.Close()
}

// onlyWriter hides ReadFrom, which would make io.CopyBuffer allocate a buffer for each file.
type onlyWriter struct{ io.Writer }

// create makes a new file in place of whatever has its name.
func (u *unpacker) create(depth int, base string) (*os.File, error) {
	at := u.stack[depth].at
	const flags = os.O_WRONLY | os.O_CREATE | os.O_EXCL | unix.O_NOFOLLOW
	f, err := at.OpenFile(base, flags, 0o600)
	if errors.Is(err, fs.ErrExist) {
		if err := u.remove(depth, base); err != nil {
			return nil, err
		}
		f, err = at.OpenFile(base, flags, 0o600)
	}
	return f, err
}

func (u *unpacker) symlink(depth int, base string, h *tar.Header) error {
	if h.Linkname == "" || len(h.Linkname) > u.limits.NameBytes || strings.IndexByte(h.Linkname, 0) >= 0 {
		return fmt.Errorf("the target of the link is empty, longer than %d bytes, or contains a zero byte", u.limits.NameBytes)
	}
	if err := u.remove(depth, base); err != nil {
		return err
	}
	at := u.stack[depth].at
	if err := at.Symlink(h.Linkname, base); err != nil { // kept as it is: it is resolved inside the task
		return err
	}
	return u.owner(depth, base, h)
}

// owner sets owner and time of what cannot be opened for it: a symbolic link or a fifo.
func (u *unpacker) owner(depth int, base string, h *tar.Header) error {
	here := u.stack[depth]
	if u.root {
		if err := here.at.Lchown(base, h.Uid, h.Gid); err != nil {
			return err
		}
	}
	at, err := unix.TimeToTimespec(h.ModTime)
	if err != nil {
		return fmt.Errorf("set time: %w", err)
	}
	return inFolder(here, func(fd int) error {
		if err := unix.UtimesNanoAt(fd, base, []unix.Timespec{at, at}, unix.AT_SYMLINK_NOFOLLOW); err != nil {
			return fmt.Errorf("set time: %w", err)
		}
		return nil
	})
}

// hardLink links to a file of this layer. Builders put all links to a file into one layer, as a layer that only has the
// second name would have the file twice.
func (u *unpacker) hardLink(depth int, base string, h *tar.Header) error {
	target, err := u.cleanName(h.Linkname)
	if err != nil {
		return fmt.Errorf("link to %q: %w", shorten(h.Linkname), err)
	}
	link := path.Join(u.stack[depth].path, base)
	dir, name := path.Split(target)
	// Both folders must be open at once, and the walk to one may close the other: hold on to this one.
	from, err := u.stack[depth].at.OpenRoot(".")
	if err != nil {
		return err
	}
	defer from.Close()
	to, err := u.walk(dir, false)
	if errors.Is(err, errNotThere) {
		return fmt.Errorf("links to %q, which is not in this layer", shorten(h.Linkname))
	}
	if err != nil {
		return fmt.Errorf("link to %q: %w", shorten(h.Linkname), err)
	}
	source := path.Join(u.stack[to].path, name)
	if source == link {
		return errors.New("is a link to itself")
	}
	info, err := u.stack[to].at.Lstat(name)
	if err != nil || info.IsDir() || isWhiteout(info) {
		return fmt.Errorf("links to %q, which is not a file of this layer", shorten(h.Linkname))
	}
	if strings.HasPrefix(source, link+"/") {
		return errors.New("links to a file within the folder that it replaces")
	}
	if err := from.RemoveAll(base); err != nil {
		return err
	}
	// Nothing on the way to source was removed, so these names are still free of links.
	t, err := os.OpenRoot(u.dir)
	if err != nil {
		return err
	}
	defer t.Close()
	if err := t.Link(source, link); err != nil {
		return err
	}
	u.cut(1) // what was removed may have been open
	return nil
}

func (u *unpacker) fifo(depth int, base string, h *tar.Header) error {
	if err := u.remove(depth, base); err != nil {
		return err
	}
	here := u.stack[depth]
	if err := inFolder(here, func(fd int) error {
		return unix.Mknodat(fd, base, unix.S_IFIFO|0o600, 0)
	}); err != nil {
		return fmt.Errorf("make fifo: %w", err)
	}
	if err := u.owner(depth, base, h); err != nil {
		return err
	}
	return here.at.Chmod(base, h.FileInfo().Mode()&modeBits)
}

// whiteout hides what lower layers have under a name, or in a whole folder. What this layer itself has is not hidden,
// whatever the order of the entries.
func (u *unpacker) whiteout(depth int, base string) error {
	here := u.stack[depth]
	if base == opaqueMarker {
		if here.path == "." {
			return u.sealRoot()
		}
		return u.seal(u.stack[depth-1], here.name)
	}
	if strings.HasPrefix(base, aufsPrefix) || len(u.lowers) == 0 {
		return nil
	}
	name := strings.TrimPrefix(base, whiteoutPrefix)
	if name == "" || name == "." || name == ".." {
		return errors.New("a whiteout of nothing")
	}
	info, err := here.at.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		err := inFolder(here, func(fd int) error { return unix.Mknodat(fd, name, unix.S_IFCHR, 0) })
		if err != nil {
			return fmt.Errorf("make whiteout: %w", err)
		}
		return nil
	case err != nil:
		return err
	case info.IsDir():
		return u.seal(here, name)
	}
	return nil
}

func (u *unpacker) sealRoot() error {
	if len(u.lowers) == 0 {
		return nil
	}
	if err := unix.Lsetxattr(u.dir, u.opaque, []byte("y"), 0); err != nil {
		return fmt.Errorf("mark folder as opaque: %w", err)
	}
	return nil
}

// inFolder calls f with a descriptor of an open folder, for what os.Root does not offer.
func inFolder(here folder, f func(fd int) error) error {
	dir, err := here.at.Open(".")
	if err != nil {
		return err
	}
	defer dir.Close()
	return f(int(dir.Fd()))
}

// finish sets modes and times of folders, now that nothing is made in them any more. Of several entries for one folder the
// last counts.
func (u *unpacker) finish() error {
	for _, f := range u.folders {
		dir, base := path.Split(f.path)
		depth, err := u.walk(dir, false)
		if errors.Is(err, errNotThere) || errors.Is(err, errNotFolder) || err == nil && u.stack[depth].path != path.Clean(dir) {
			continue // replaced by a later entry
		}
		if err != nil {
			return fmt.Errorf("find folder %q again: %w", shorten(f.path), err)
		}
		if f.path == "." {
			base = "."
		}
		at := u.stack[depth].at
		info, err := at.Lstat(base)
		if err != nil || !info.IsDir() {
			continue
		}
		if info.ModTime().Equal(f.time) && info.Mode()&modeBits == f.mode {
			continue
		}
		if err := at.Chmod(base, f.mode); err != nil {
			return fmt.Errorf("set mode of %q: %w", shorten(f.path), err)
		}
		if err := at.Chtimes(base, f.time, f.time); err != nil {
			return fmt.Errorf("set time of %q: %w", shorten(f.path), err)
		}
	}
	return nil
}

// shorten cuts a name from an image down to what an error can carry.
func shorten(name string) string {
	const most = 120
	if len(name) <= most {
		return name
	}
	return name[:most] + "…"
}
