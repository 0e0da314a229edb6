package files

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// maxDepth of folders that are copied: each is held open while what is below it is.
const maxDepth = 200

// packer makes an archive.
type packer struct {
	ctx  context.Context
	tar  *tar.Writer
	warn func(string)
}

// Pack writes a file, or a folder with all that is below it, as a tar archive; its first entry has the last part of the path as its name. A link at the
// end of the path is followed, others are kept as links. What is neither a file, a folder nor a link is left out, and so are the files of
// the kernel; warn hears of them.
func (r *Root) Pack(ctx context.Context, name string, w io.Writer, warn func(string)) error {
	fd, err := r.resolve(name, true)
	if err != nil {
		return at(name, err)
	}
	defer unix.Close(fd)
	if ofKernel(fd) {
		return at(name, errKernel)
	}
	base := path.Base(path.Join("/", name))
	if base == "/" {
		base = "root"
	}
	p := &packer{ctx, tar.NewWriter(w), warn}
	if err := p.add(fd, base, 0); err != nil {
		return err
	}
	return p.tar.Close()
}

// add packs what a descriptor stands for.
func (p *packer) add(fd int, name string, depth int) error {
	if err := p.ctx.Err(); err != nil {
		return err
	}
	f, err := describe(fd, name)
	if err != nil {
		return at(name, err)
	}
	h := &tar.Header{Format: tar.FormatPAX, Name: name, Mode: int64(f.Mode), Uid: int(f.UID), Gid: int(f.GID), ModTime: time.Unix(0, int64(f.Modified))}
	switch f.Kind {
	case spec.FileRegular:
		return p.file(fd, h, f.Size)
	case spec.FileFolder:
		return p.folder(fd, h, depth)
	case spec.FileLink:
		h.Typeflag, h.Linkname = tar.TypeSymlink, f.Target
		return p.tar.WriteHeader(h)
	}
	p.warn(fmt.Sprintf("%s is left out: it is a device, a pipe or a socket", name))
	return nil
}

func (p *packer) file(fd int, h *tar.Header, size spec.Bytes) error {
	file, err := reopen(fd)
	if err != nil {
		return at(h.Name, err)
	}
	defer file.Close()
	h.Typeflag, h.Size = tar.TypeReg, int64(size)
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	n, err := io.Copy(p.tar, io.LimitReader(file, h.Size)) // what it grows by meanwhile comes too late
	if err == nil && n < h.Size {
		err = errors.New("it became shorter while it was copied: try again")
	}
	if err != nil {
		return at(h.Name, err)
	}
	return nil
}

func (p *packer) folder(fd int, h *tar.Header, depth int) error {
	if ofKernel(fd) {
		p.warn(fmt.Sprintf("%s is left out: it belongs to the kernel", h.Name))
		return nil
	}
	if depth >= maxDepth {
		return at(h.Name, fmt.Errorf("folders lie more than %d deep", maxDepth))
	}
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return at(h.Name, err)
	}
	list := os.NewFile(uintptr(dir), "folder")
	defer list.Close()
	h.Typeflag = tar.TypeDir
	top := h.Name
	h.Name += "/"
	if err := p.tar.WriteHeader(h); err != nil {
		return err
	}
	for {
		names, err := list.Readdirnames(1000)
		for _, n := range names {
			one, err := unix.Openat(fd, n, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
			if errors.Is(err, unix.ENOENT) {
				continue // gone since
			}
			if err != nil {
				return at(path.Join(top, n), err)
			}
			err = p.add(one, path.Join(top, n), depth+1)
			unix.Close(one)
			if err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return at(top, err)
		}
	}
}
