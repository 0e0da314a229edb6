package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/sys/unix"
)

// The same isolation by crun, the fastest of the usual runtimes, on the same machine: to compare with.

// BenchmarkCrunThroughput is what BenchmarkThroughput is for the executor: four at a time, and kept.
func BenchmarkCrunThroughput(b *testing.B) {
	bundle := crunBundle(b, true)
	name := func(i int64) string { return fmt.Sprintf("stowage-bench-%d-%d", os.Getpid(), i) }
	var made, deleted atomic.Int64
	var wg sync.WaitGroup
	each := func(next *atomic.Int64, do func(id string) error) {
		for range 4 {
			wg.Go(func() {
				if err := hideUnified(); err != nil {
					b.Error(err)
					return
				}
				for i := next.Add(1); i <= int64(b.N); i = next.Add(1) {
					if err := do(name(i)); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
	b.ResetTimer()
	crun := &other{program: "crun"}
	each(&made, func(id string) error { _, err := crun.run("run", "--detach", "--bundle", bundle, id); return err })
	b.StopTimer()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "containers/s")
	each(&deleted, func(id string) error { _, err := crun.run("delete", "--force", id); return err })
}

// crunBundle makes what crun and runc run: a command that sleeps, if none is given.
func crunBundle(b *testing.B, confined bool, command ...string) string {
	needRoot(b)
	if _, err := exec.LookPath("crun"); err != nil {
		b.Skip("crun is not installed")
	}
	bundle := b.TempDir()
	for _, dir := range []string{"proc", "dev", "sys", "tmp", "usr"} {
		if err := os.MkdirAll(filepath.Join(bundle, "rootfs", dir), 0o755); err != nil {
			b.Fatal(err)
		}
	}
	for _, link := range []string{"bin", "lib", "lib64"} {
		if err := os.Symlink("usr/"+link, filepath.Join(bundle, "rootfs", link)); err != nil {
			b.Fatal(err)
		}
	}
	if len(command) == 0 {
		command = []string{"sleep", "1000"}
	}
	if err := os.WriteFile(filepath.Join(bundle, "config.json"), crunConfig(b, confined, command), 0o644); err != nil {
		b.Fatal(err)
	}
	return bundle
}

// hideUnified lets crun work on a node with both versions of cgroups, which it refuses: in a mount namespace of this thread, which
// what it executes takes over, and which ends with it.
func hideUnified() error {
	const unified = "/sys/fs/cgroup/unified"
	if _, err := os.Stat(unified); err != nil {
		return nil
	}
	runtime.LockOSThread()
	if err := unix.Unshare(unix.CLONE_FS | unix.CLONE_NEWNS); err != nil {
		return err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return err
	}
	return unix.Unmount(unified, unix.MNT_DETACH)
}

type object = map[string]any

func crunConfig(b *testing.B, confined bool, command []string) []byte {
	caps := []string{"CAP_CHOWN", "CAP_KILL", "CAP_SETUID", "CAP_SETGID", "CAP_NET_BIND_SERVICE"}
	mount := func(target, kind, source string, options ...string) object {
		return object{"destination": target, "type": kind, "source": source, "options": options}
	}
	config := object{
		"ociVersion": "1.0.0", "hostname": "bench",
		"root": object{"path": "rootfs", "readonly": true},
		"process": object{
			"args": command, "cwd": "/", "env": []string{"PATH=/usr/bin:/bin"}, "noNewPrivileges": true,
			"user":         object{"uid": 0, "gid": 0},
			"capabilities": object{"bounding": caps, "effective": caps, "permitted": caps},
		},
		"mounts": []object{
			mount("/usr", "bind", "/usr", "rbind", "ro", "nosuid", "nodev"),
			mount("/proc", "proc", "proc", "nosuid", "noexec", "nodev"),
			mount("/dev", "tmpfs", "tmpfs", "nosuid", "strictatime", "mode=755", "size=65536k"),
			mount("/dev/pts", "devpts", "devpts", "nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
			mount("/dev/shm", "tmpfs", "shm", "nosuid", "noexec", "nodev", "mode=1777", "size=65536k"),
			mount("/dev/mqueue", "mqueue", "mqueue", "nosuid", "noexec", "nodev"),
			mount("/sys", "sysfs", "sysfs", "nosuid", "noexec", "nodev", "ro"),
			mount("/tmp", "tmpfs", "tmp", "nosuid", "nodev", "mode=1777", "size=65536k"),
		},
		"linux": object{
			"cgroupsPath": "/stowage-bench-crun",
			"resources": object{
				"devices": []object{{"allow": false, "access": "rwm"}},
				"memory":  object{"limit": 64 << 20}, "cpu": object{"shares": 102}, "pids": object{"limit": 4096},
			},
			"namespaces": []object{{"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}, {"type": "cgroup"}},
			"maskedPaths": []string{"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats",
				"/proc/sched_debug", "/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware"},
			"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
		},
	}
	if confined {
		config["linux"].(object)["seccomp"] = object{
			"defaultAction": "SCMP_ACT_ERRNO", "architectures": []string{"SCMP_ARCH_X86_64"},
			"syscalls": []object{{"names": syscallNames(b), "action": "SCMP_ACT_ALLOW"}},
		}
	}
	data, err := json.Marshal(config)
	if err != nil {
		b.Fatal(err)
	}
	return data
}

// syscallNames are those of the kernel's headers: a list of allowed calls as long as the usual profiles'.
func syscallNames(b *testing.B) []string {
	header, err := os.ReadFile("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
	if err != nil {
		b.Skipf("no list of system calls: %v", err)
	}
	var names []string
	for _, match := range regexp.MustCompile(`#define __NR_(\w+)`).FindAllSubmatch(header, -1) {
		names = append(names, string(match[1]))
	}
	return names
}
