package disk

import (
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// maxDepth is how many folders deep a walk goes; each holds a descriptor. What lies deeper counts as too much: nobody may hide there.
const maxDepth = 500

var errDeep = errors.New("its folders are too deep to be measured")

// gone reports whether an error of opening what a folder named says that it is not there any more, or something else is. Any other error hides
// what is there.
func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP)
}

// names calls a function with each name in a folder, until one fails, and pause before it looks up more of them.
func names(dir *os.File, pause func() error, do func(name string) error) error {
	for {
		if err := pause(); err != nil {
			return err
		}
		some, err := dir.Readdirnames(256)
		for _, name := range some {
			if err := do(name); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF) || err != nil && gone(err):
			return nil
		case err != nil:
			return err
		}
	}
}

// each opens the folders and the regular files below a folder, a folder before what is in it. Every one is opened relative to the folder that it
// was seen in, and looked at before it is opened to be read, so that a task that exchanges what is there leads nobody out, nor to a device.
func each(dir *os.File, device uint64, depth int, do func(f *os.File, folder bool) error) error {
	if depth > maxDepth {
		return errDeep
	}
	return names(dir, func() error { return nil }, func(name string) error {
		f, folder, err := openSame(dir, name, device)
		if f == nil {
			return err
		}
		defer f.Close()
		if err := do(f, folder); err != nil || !folder {
			return err
		}
		return each(f, device, depth+1, do)
	})
}

// openSame opens a folder or a regular file of a device; nil: it is gone, of another kind, or of another device.
func openSame(dir *os.File, name string, device uint64) (f *os.File, folder bool, err error) {
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		if gone(err) {
			err = nil
		}
		return nil, false, err
	}
	defer unix.Close(fd)
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return nil, false, err
	}
	kind := stat.Mode & unix.S_IFMT
	if uint64(stat.Dev) != device || kind != unix.S_IFDIR && kind != unix.S_IFREG {
		return nil, false, nil
	}
	// The descriptor is of the inode itself: nothing can take its place.
	readable, err := unix.Open(fmt.Sprintf("/proc/self/fd/%d", fd), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, false, err
	}
	return os.NewFile(uintptr(readable), name), kind == unix.S_IFDIR, nil
}
