package disk

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"testing"

	"golang.org/x/sys/unix"
)

// A task that exchanges a folder for a link while it is walked through leads nobody out of its own.
func TestNobodyIsLedOut(t *testing.T) {
	dir, outside := t.TempDir(), t.TempDir()
	write(t, filepath.Join(outside, "of the node"), 1)
	write(t, filepath.Join(dir, "a/of the task"), 1)
	for _, err := range []error{
		unix.Mkfifo(filepath.Join(dir, "a/pipe"), 0o600), os.Symlink(filepath.Join(outside, "of the node"), filepath.Join(dir, "a/link")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(root.Fd()), &stat); err != nil {
		t.Fatal(err)
	}
	var seen []string
	exchange := func(f *os.File, folder bool) error {
		seen = append(seen, f.Name())
		if !folder {
			return nil
		}
		return errors.Join(os.Rename(filepath.Join(dir, "a"), filepath.Join(t.TempDir(), "away")), os.Symlink(outside, filepath.Join(dir, "a")))
	}
	if err := each(root, uint64(stat.Dev), 0, exchange); err != nil || !slices.Equal(seen, []string{"a", "of the task"}) {
		t.Errorf("seen %q, %v", seen, err)
	}
	seen = nil
	if err := each(root, uint64(stat.Dev)+1, 0, exchange); err != nil || seen != nil {
		t.Errorf("on another device: seen %q, %v", seen, err)
	}
}

// What cannot be read is not taken for nothing: an agent without root sees nothing below a folder that the task has closed to it.
func TestAClosedFolderIsNotEmpty(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("being another user needs root")
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "closed/file"), 1<<20)
	if err := os.Chmod(filepath.Join(dir, "closed"), 0); err != nil {
		t.Fatal(err)
	}
	got := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		if err := unix.Setfsuid(12345); err != nil {
			got <- err
			return
		}
		_, err := measure(dir)
		got <- err
	}()
	if err := <-got; !errors.Is(err, unix.EACCES) || !hides(err) {
		t.Errorf("a closed folder: %v", err)
	}
	for err, want := range map[error]bool{unix.ENOENT: true, unix.ENOTDIR: true, unix.ELOOP: true, unix.EACCES: false, unix.EMFILE: false, unix.EIO: false} {
		if gone(err) != want {
			t.Errorf("%v: gone %v", err, !want)
		}
	}
}
