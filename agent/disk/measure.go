package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// inode names a file that has several names.
type inode struct{ device, number uint64 }

// measure returns how many bytes the files below a folder take on the disk. Links are not followed, other file systems not entered, and a
// file with several names counts once. What the task removes meanwhile is left out. Every folder is opened relative to the one that it was
// seen in, so that a task that exchanges folders for links leads nobody out.
func measure(folder string) (int64, error) {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, fmt.Errorf("measure %s: %w", folder, err)
	}
	dir := os.NewFile(uintptr(fd), folder)
	defer dir.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return 0, fmt.Errorf("measure %s: %w", folder, err)
	}
	w := walk{device: uint64(stat.Dev), seen: map[inode]bool{}}
	used, err := w.below(dir, 0)
	if err != nil {
		return used, fmt.Errorf("measure %s: %w", folder, err)
	}
	return used + stat.Blocks*512, nil
}

// hides reports whether an error of measuring is the task's doing, which counts as too much. Others are of the node, such as a lack of descriptors.
func hides(err error) bool { return errors.Is(err, errDeep) || errors.Is(err, unix.EACCES) }

type walk struct {
	device uint64
	seen   map[inode]bool
}

func (w *walk) below(dir *os.File, depth int) (int64, error) {
	if depth > maxDepth {
		return 0, errDeep
	}
	var used int64
	err := names(dir, func(name string) error {
		n, err := w.entry(dir, name, depth)
		used += n
		return err
	})
	return used, err
}

func (w *walk) entry(dir *os.File, name string, depth int) (int64, error) {
	var stat unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil && !gone(err) {
		return 0, err
	} else if err != nil || uint64(stat.Dev) != w.device {
		return 0, nil
	}
	used := stat.Blocks * 512
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		if stat.Nlink > 1 {
			id := inode{uint64(stat.Dev), stat.Ino}
			if w.seen[id] {
				return 0, nil
			}
			w.seen[id] = true
		}
		return used, nil
	}
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err != nil && gone(err):
		return used, nil
	case err != nil:
		return used, err
	}
	inner := os.NewFile(uintptr(fd), name)
	defer inner.Close()
	n, err := w.below(inner, depth+1)
	return used + n, err
}
