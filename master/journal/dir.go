package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// formatVersion is the version of the directory's layout. A higher one on disk is refused.
const formatVersion = 1

// format is the content of the file of that name.
type format struct {
	Format int    `json:"format"`
	Member string `json:"member"`
}

// lockDir makes the directory and takes its lock. The lock ends with the process, so that a crash leaves none.
func lockDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("create journal directory: %w", diskError(err))
	}
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open journal lock: %w", diskError(err))
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		defer f.Close()
		if errors.Is(err, syscall.EWOULDBLOCK) {
			return nil, fmt.Errorf("open journal %s: %w", dir, ErrLocked)
		}
		return nil, fmt.Errorf("lock journal %s: %w", dir, err)
	}
	return f, nil
}

// checkFormat refuses a directory of a newer layout or of another member, and marks a new one.
func checkFormat(dir, member string) error {
	path := filepath.Join(dir, "format")
	b, err := os.ReadFile(path)
	if os.IsNotExist(err) {
		b, err := json.Marshal(format{Format: formatVersion, Member: member})
		if err != nil {
			return err
		}
		if err := writeFile(path, append(b, '\n')); err != nil {
			return fmt.Errorf("mark journal directory: %w", diskError(err))
		}
		return nil
	}
	if err != nil {
		return fmt.Errorf("read journal format: %w", err)
	}
	var f format
	if err := json.Unmarshal(b, &f); err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, path, err)
	}
	if f.Format > formatVersion {
		return fmt.Errorf("open journal %s: %w (layout %d, this program knows %d)", dir, ErrNewer, f.Format, formatVersion)
	}
	if f.Member != member {
		return fmt.Errorf("open journal %s: it belongs to member %q, this is %q: give each member its own directory, and keep its id", dir, f.Member, member)
	}
	return nil
}

// removeHalfSnapshots deletes what a snapshot that was cut short left behind.
func removeHalfSnapshots(dir string) error {
	list, err := os.ReadDir(filepath.Join(dir, "snapshots"))
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list snapshots: %w", err)
	}
	for _, e := range list {
		if strings.HasSuffix(e.Name(), ".tmp") {
			if err := os.RemoveAll(filepath.Join(dir, "snapshots", e.Name())); err != nil {
				return fmt.Errorf("remove unfinished snapshot: %w", err)
			}
		}
	}
	return nil
}

// writeFile replaces a file so that after a crash it has the old content or the new one, never a part.
func writeFile(path string, b []byte) error {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return syncDir(filepath.Dir(path))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// freeBytes returns how much a process without privileges may still write in dir's file system.
func freeBytes(dir string) (int64, error) {
	var s syscall.Statfs_t
	if err := syscall.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Bavail) * int64(s.Bsize), nil
}
