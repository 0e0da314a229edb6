package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/stowage/stowage/agent"
	"golang.org/x/sys/unix"
)

const (
	devPrefix = "stowage-dev-"
	devLock   = "lock" // in the data directory of each stowage dev; locked while that runs
)

// lockDev marks a data directory as in use until the file is closed or this process ends, however it ends.
func lockDev(dataDir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dataDir, devLock), os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock data directory: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return nil, errors.Join(fmt.Errorf("lock data directory: %w", err), f.Close())
	}
	return f, nil
}

// clearLeftovers takes down what an earlier stowage dev of this user left when it was killed: executors and tasks outlive
// their agents, as they should.
func clearLeftovers(ctx context.Context) error {
	dirs, err := filepath.Glob(filepath.Join(os.TempDir(), devPrefix+"*"))
	if err != nil {
		return err
	}
	var errs []error
	for _, dir := range dirs {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() || !ours(info) {
			continue
		}
		if info, err := os.Lstat(filepath.Join(dir, devLock)); err != nil || !info.Mode().IsRegular() {
			continue // it is being made, or of another kind
		}
		lock, err := lockDev(dir)
		if err != nil {
			continue // it runs
		}
		errs = append(errs, takeDownAgents(ctx, dir), lock.Close())
	}
	return errors.Join(errs...)
}

// ours reports whether a file belongs to this user.
func ours(info os.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(stat.Uid) == os.Getuid()
}

// takeDownAgents ends the tasks and executors below a data directory, and removes it.
func takeDownAgents(ctx context.Context, dataDir string) error {
	dirs, err := filepath.Glob(filepath.Join(dataDir, "n[0-9]*"))
	if err != nil {
		return err
	}
	done := make(chan error, len(dirs))
	for _, dir := range dirs {
		go func() { done <- agent.TakeDown(ctx, dir) }()
	}
	var errs []error
	for range dirs {
		errs = append(errs, <-done)
	}
	if err := errors.Join(errs...); err != nil {
		return err // what still runs needs its folder
	}
	return os.RemoveAll(dataDir)
}
