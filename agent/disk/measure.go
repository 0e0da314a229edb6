package disk

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Amount is what a folder holds or may hold, or a file system has in use.
type Amount struct {
	Bytes int64
	Files int64 // files, folders and links; what has several names counts with each where it is measured
}

// beyond reports whether an amount is more than a limit in either way.
func (a Amount) beyond(limit Amount) bool { return a.Bytes > limit.Bytes || a.Files > limit.Files }

// errHeavy ends a walk through a folder that takes longer than the walks of the light lane may.
var errHeavy = errors.New("it has too many names for a light look")

// errEnough ends a walk as soon as there are more names than allowed: what a look costs is bounded by that.
var errEnough = errors.New("it has too many names")

// walk is a look at one folder.
type walk struct {
	limit int64        // of names, beyond which it ends
	light int64        // of names, beyond which it ends with errHeavy; 0: none
	pause func() error // is called now and then; an error ends the walk

	device uint64
	used   Amount
}

// measure returns what the files below a folder take on the disk. Links are not followed, other file systems not entered, and what the task
// removes meanwhile is left out. Of a file with several names each counts for its part of the bytes, so that a walk need not remember which it has
// seen. Every folder is opened relative to the one that it was seen in, so that a task that exchanges folders for links leads nobody out.
func (w *walk) measure(folder string) (Amount, error) {
	fd, err := unix.Open(folder, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return Amount{}, fmt.Errorf("measure %s: %w", folder, err)
	}
	dir := os.NewFile(uintptr(fd), folder)
	defer dir.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return Amount{}, fmt.Errorf("measure %s: %w", folder, err)
	}
	w.device, w.used = uint64(stat.Dev), Amount{Bytes: stat.Blocks * 512, Files: 1}
	if err := w.below(dir, 0); err != nil && !errors.Is(err, errEnough) {
		return w.used, fmt.Errorf("measure %s: %w", folder, err)
	}
	return w.used, nil
}

// hides reports whether an error of measuring is the task's doing, which counts as too much. Others are of the node, such as a lack of descriptors.
func hides(err error) bool { return errors.Is(err, errDeep) || errors.Is(err, unix.EACCES) }

func (w *walk) below(dir *os.File, depth int) error {
	if depth > maxDepth {
		return errDeep
	}
	return names(dir, w.pause, func(name string) error { return w.entry(dir, name, depth) })
}

func (w *walk) entry(dir *os.File, name string, depth int) error {
	var stat unix.Stat_t
	if err := unix.Fstatat(int(dir.Fd()), name, &stat, unix.AT_SYMLINK_NOFOLLOW); err != nil && !gone(err) {
		return err
	} else if err != nil || uint64(stat.Dev) != w.device {
		return nil
	}
	switch w.used.Files++; {
	case w.used.Files > w.limit:
		return errEnough
	case w.light > 0 && w.used.Files > w.light:
		return errHeavy
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		links := max(int64(stat.Nlink), 1)
		w.used.Bytes += (stat.Blocks*512 + links - 1) / links
		return nil
	}
	w.used.Bytes += stat.Blocks * 512
	fd, err := unix.Openat(int(dir.Fd()), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	switch {
	case err != nil && gone(err):
		return nil
	case err != nil:
		return err
	}
	inner := os.NewFile(uintptr(fd), name)
	defer inner.Close()
	return w.below(inner, depth+1)
}
