package disk

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func isQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }

// quotaFileSystem mounts an ext4 with project quotas for the time of a test. It skips where the kernel has none.
func quotaFileSystem(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("mounting a file system needs root")
	}
	image := filepath.Join(t.TempDir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("mke2fs", "-q", "-t", "ext4", "-O", "project,quota", image).CombinedOutput(); err != nil {
		t.Skipf("make a file system: %v: %s", err, out)
	}
	dir := t.TempDir()
	if out, err := exec.Command("mount", "-o", "loop,prjquota", image, dir).CombinedOutput(); err != nil {
		t.Skipf("the kernel has no project quotas: %v: %s", err, strings.TrimSpace(string(out)))
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Errorf("unmount: %v", err)
		}
	})
	return dir
}

// asTask writes a file as a task does: without the capability to go beyond quotas.
func asTask(path string, size int) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with this function
		head := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var data [2]unix.CapUserData
		if err := unix.Capget(&head, &data[0]); err != nil {
			result <- err
			return
		}
		data[0].Effective &^= 1 << unix.CAP_SYS_RESOURCE
		if err := unix.Capset(&head, &data[0]); err != nil {
			result <- err
			return
		}
		result <- os.WriteFile(path, make([]byte, size), 0o644)
	}()
	return <-result
}
