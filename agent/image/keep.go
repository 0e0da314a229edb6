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
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// Content is what a layer has that comes from elsewhere than an image.
type Content struct {
	// Digest tells it from any other: "sha256:HEX" of all that decides what is in the layer.
	Digest string
	// Path in the root of a task that everything goes below, without a leading slash.
	Path string
	// UID and GID own everything, as the node counts them.
	UID, GID int
	// Most bytes of its files.
	Most int64
}

// Kept returns a layer that was made before, and notes that it was used.
func (s *Store) Kept(digest string) (Image, bool) {
	s.mu.Lock() // not while layers are being removed
	defer s.mu.Unlock()
	r, err := s.load(digest)
	if err != nil {
		return Image{}, false
	}
	for _, layer := range r.Layers {
		if _, err := os.Lstat(s.layer(layer)); err != nil {
			return Image{}, false
		}
	}
	return s.image(r), s.touch(digest) == nil
}

// Keep makes a layer out of what fill hands to take, as a plain tar archive, and returns it as an image of this layer alone. It is removed as
// images are. What is in the archive is not trusted: names stay below the path; there are files, folders and links, all of one owner, and none
// with bits that give the power of another user. Keeping the same content at the same time does the work once.
func (s *Store) Keep(ctx context.Context, c Content, fill func(ctx context.Context, take func(io.Reader) error) error) (image Image, err error) {
	err = s.once(ctx, "content "+c.Digest, func() error {
		var ok bool
		if image, ok = s.Kept(c.Digest); ok {
			return nil
		}
		r := record{Digest: c.Digest, Layers: []string{layerKey("", strings.TrimPrefix(c.Digest, "sha256:"))}}
		s.pin(r.Layers, 1)
		defer s.pin(r.Layers, -1)
		dir, err := os.MkdirTemp(s.tmp(), "layer-")
		if err != nil {
			return err
		}
		defer os.RemoveAll(dir)
		if err := fill(ctx, func(from io.Reader) error { r.Bytes, err = s.lay(ctx, c, dir, from); return err }); err != nil {
			return err
		}
		if err := s.finishLayer(dir, r.Layers[0]); err != nil {
			return err
		}
		if err := s.save(r); err != nil {
			return err
		}
		image = s.image(r)
		return nil
	})
	if err != nil {
		return Image{}, explain(err, s.dir)
	}
	return image, nil
}

// finishLayer gives a layer its name, once all of it is on the disk.
func (s *Store) finishLayer(dir, key string) error {
	if err := syncFS(dir); err != nil {
		return err
	}
	if err := os.Rename(dir, s.layer(key)); err != nil && !errors.Is(err, fs.ErrExist) && !errors.Is(err, unix.ENOTEMPTY) {
		return err
	}
	return syncDir(filepath.Join(s.dir, "layers"))
}

// lay unpacks an archive below the path of a content, in the empty folder dir.
func (s *Store) lay(ctx context.Context, c Content, dir string, from io.Reader) (int64, error) {
	if err := os.Chmod(dir, 0o755); err != nil {
		return 0, err
	}
	base := filepath.Join(dir, filepath.FromSlash(path.Join("/", c.Path)))
	if err := os.MkdirAll(base, 0o755); err != nil {
		return 0, err
	}
	limits := s.limits
	limits.LayerBytes = min(c.Most, limits.LayerBytes)
	t, err := newTree(base, nil, s.form, limits)
	if err != nil {
		return 0, err
	}
	defer t.close()
	// How often more it is than it was compressed to was looked at by who decompressed it.
	u := &unpacker{tree: t, guard: &ratioGuard{in: &counter{bytes: limits.LayerBytes}}, buffer: make([]byte, 128<<10), foreign: &c}
	if err := u.archive(tar.NewReader(&counter{reader: from, ctx: ctx})); err != nil {
		return 0, err
	}
	_, err = io.CopyBuffer(onlyWriter{io.Discard}, from, u.buffer) // what follows the end of the archive
	return u.bytes, err
}

// foreignEntry applies one entry of an archive that is no image.
func (u *unpacker) foreignEntry(h *tar.Header, content io.Reader) error {
	name, err := u.cleanName(h.Name)
	if err != nil {
		return err
	}
	if err := checkHeader(h); err != nil {
		return err
	}
	h.Uid, h.Gid, h.Mode, h.PAXRecords = u.foreign.UID, u.foreign.GID, h.Mode&0o777, nil
	if name == "." {
		if h.Typeflag != tar.TypeDir {
			return errors.New("the root of an archive must be a folder")
		}
		return errors.Join(u.rootFolder(h), u.later(".", h))
	}
	dir, base := path.Split(name)
	depth, err := u.walk(dir, true)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeDir:
		return u.folder(depth, base, h)
	case tar.TypeReg:
		return u.file(depth, base, h, content)
	case tar.TypeSymlink:
		return u.symlink(depth, base, h)
	case tar.TypeLink:
		return u.hardLink(depth, base, h)
	}
	return fmt.Errorf("entries of kind %q are not taken", h.Typeflag)
}

// Places makes the folders on the way to a path in the writable layer of a task, as the layers of its image have them (the top first; none: like new
// ones), and returns where the path leads by the links of these layers, without a leading slash. What is mounted over the layers with the writable
// one on top shows the folders with the owners and permissions that the image gives them.
func (s *Store) Places(writable string, layers []string, name string) (string, error) {
	t, err := newTree(writable, layers, s.form, s.limits)
	if err != nil {
		return "", err
	}
	defer t.close()
	dir, base := path.Split(path.Clean("/" + name))
	depth, err := t.walk(dir, true)
	if err != nil {
		return "", fmt.Errorf("find %s in the task: %w", name, err)
	}
	return path.Join(t.stack[depth].path, base), nil
}

// Spool gives f a file that stays for the next attempt where f fails, also of another process, and goes where it does not. One f at a time has the file of
// a name.
func (s *Store) Spool(ctx context.Context, name string, f func(*os.File) error) error {
	sum := sha256.Sum256([]byte(name))
	key := "content-" + hex.EncodeToString(sum[:])
	err := s.once(ctx, "spool "+key, func() error {
		s.hold(key, 1)
		defer s.hold(key, -1)
		part := filepath.Join(s.downloads(), key+partSuffix)
		file, err := os.OpenFile(part, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err
		}
		defer file.Close()
		if err := f(file); err != nil {
			return err
		}
		return os.Remove(part)
	})
	if err != nil {
		return explain(err, s.dir)
	}
	return nil
}
