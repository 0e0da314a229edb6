package image

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inOwnMounts is the variable that tells a test that it runs in a mount namespace of its own.
const inOwnMounts = "STOWAGE_TEST_OWN_MOUNTS"

// ownMounts runs the calling test again in a process with a mount namespace of its own, whose mounts go with it, however it ends. It
// reports true in that process. With user it has a user namespace too, in which it is root and the only user.
func ownMounts(t *testing.T, user bool) bool {
	t.Helper()
	if os.Getenv(inOwnMounts) != "" {
		if err := unix.Mount("none", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
			t.Fatalf("make mounts private: %v", err)
		}
		return true
	}
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), inOwnMounts+"=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	if user {
		own := []syscall.SysProcIDMap{{ContainerID: 0, HostID: 0, Size: 1}}
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags: syscall.CLONE_NEWNS | syscall.CLONE_NEWUSER, UidMappings: own, GidMappings: own, Pdeathsig: syscall.SIGKILL,
		}
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) {
		t.Skip("no mount namespaces here")
	}
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	} else if strings.Contains(string(out), "--- SKIP") {
		t.Skipf("skipped in its own mount namespace:\n%s", out)
	}
	return false
}

// TestOverlayShowsTheImage mounts prepared layers as an agent would, and reads through them.
func TestOverlayShowsTheImage(t *testing.T) {
	if ownMounts(t, false) {
		overlayShowsTheImage(t, "trusted.overlay.opaque")
	}
}

// TestOverlayInUserNamespace does the same as an agent that is not root of the machine.
func TestOverlayInUserNamespace(t *testing.T) {
	if ownMounts(t, true) {
		overlayShowsTheImage(t, "user.overlay.opaque")
	}
}

func overlayShowsTheImage(t *testing.T, attribute string) {
	s := openStore(t)
	if s.form.xattr != attribute {
		t.Errorf("the store uses %s, want %s", s.form.xattr, attribute)
	}
	image := prepare(t, s, Ref{Path: ".", Repo: layoutOf(t, gzipped,
		tarOf(t, entry{name: "etc/a", body: "1"}, entry{name: "etc/b", body: "1", uid: 33}, entry{name: "var/cache/x", body: "1"},
			entry{name: "bin", kind: '2', link: "usr/bin"}, entry{name: "usr/bin/sh", body: "old"}, entry{name: "gone/x", body: "1"}),
		tarOf(t, entry{name: "etc/.wh.a"}, entry{name: "var/cache/.wh..wh..opq"}, entry{name: "var/cache/y", body: "2"},
			entry{name: "bin/sh", body: "new"}, entry{name: ".wh.gone"}),
		tarOf(t, entry{name: "etc/c", body: "3"}, entry{name: "gone/z", body: "3"}),
	)})
	dir := t.TempDir()
	options := "lowerdir=" + strings.Join(image.Layers, ":")
	if image.UserXattr {
		options += ",userxattr"
	}
	if err := unix.Mount("overlay", dir, "overlay", unix.MS_RDONLY, options); err != nil {
		t.Skipf("overlay cannot be mounted here: %v", err)
	}
	want := strings.Join([]string{
		"link bin > usr/bin", "dir etc", "file etc/b = 1", "file etc/c = 3", "dir gone", "file gone/z = 3", "dir usr", "dir usr/bin", "file usr/bin/sh = new",
		"dir var", "dir var/cache", "file var/cache/y = 2",
	}, "\n")
	got := show(t, dir)
	if err := unix.Unmount(dir, 0); err != nil {
		t.Error(err)
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// TestDiskFull fills a small disk while unpacking: the error says so, nothing is left, and with room it works.
func TestDiskFull(t *testing.T) {
	if !ownMounts(t, false) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=2m"); err != nil {
		t.Skipf("tmpfs cannot be mounted here: %v", err)
	}
	defer func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	}()
	s, err := Open(filepath.Join(dir, "images"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	small := Ref{Path: ".", Repo: layoutOf(t, nil, tarOf(t, entry{name: "small", body: strings.Repeat("x", 1000)}))}
	large := Ref{Path: ".", Repo: layoutOf(t, gzipped, tarOf(t, entry{name: "a", body: strings.Repeat("x", 1<<20)}, entry{name: "b", body: strings.Repeat("y", 2<<20)}))}
	prepare(t, s, small)
	var before, after unix.Statfs_t
	if err := unix.Statfs(dir, &before); err != nil {
		t.Fatal(err)
	}
	_, err = s.Prepare(t.Context(), large)
	if !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("got %v, want an error that says that the disk is full", err)
	}
	if err := unix.Statfs(dir, &after); err != nil {
		t.Fatal(err)
	}
	if before.Bfree != after.Bfree {
		t.Errorf("%d blocks were free before, %d are now", before.Bfree, after.Bfree)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	prepare(t, s, large)
	prepare(t, s, small)
}

// TestKilledWhileUnpacking kills processes with SIGKILL at random moments of a Prepare, again and again on the same store.
func TestKilledWhileUnpacking(t *testing.T) {
	const variable = "STOWAGE_TEST_PREPARE"
	var entries []entry
	for i := range 300 {
		entries = append(entries, entry{name: fmt.Sprintf("d%d/f%d", i%7, i), body: strings.Repeat("x", 500)})
	}
	// The same bytes in both processes: a tar of the same entries.
	ref := Ref{Path: ".", Repo: layoutOf(t, gzipped, tarOf(t, entries...), tarOf(t, entry{name: "d1/.wh.f1"}, entry{name: "top", body: "t"}))}
	if dir := os.Getenv(variable); dir != "" {
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		for {
			prepare(t, s, ref)
			if _, err := removeAll(t, s); err != nil {
				t.Fatal(err)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "images")
	for i := range 8 {
		ctx, cancel := context.WithTimeout(t.Context(), time.Duration(60+37*i)*time.Millisecond) // kills
		cmd := exec.CommandContext(ctx, os.Args[0], "-test.run=^TestKilledWhileUnpacking$")
		cmd.Env = append(os.Environ(), variable+"="+dir)
		out, err := cmd.CombinedOutput()
		cancel()
		if ctx.Err() == nil {
			t.Fatalf("the process ended by itself: %v\n%s", err, out)
		}
		s, err := Open(dir)
		if err != nil {
			t.Fatal(err)
		}
		image := prepare(t, s, ref)
		bottom, err := filepath.Glob(filepath.Join(image.Layers[1], "d*", "f*"))
		if err != nil || len(bottom) != 300 {
			t.Errorf("round %d: %d files, %v; want 300", i, len(bottom), err)
		}
		if data, err := os.ReadFile(filepath.Join(image.Layers[0], "top")); err != nil || string(data) != "t" {
			t.Errorf("round %d: %q, %v", i, data, err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}

// tool returns the path of a program, or skips the test.
func tool(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed (package %s)", name, name)
	}
	return path
}

func run(t *testing.T, name string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), name, args...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v\n%s", filepath.Base(name), strings.Join(args, " "), err, out)
	}
}

// TestImagesOfOtherTools prepares an image made by umoci, in every form that skopeo converts it to.
func TestImagesOfOtherTools(t *testing.T) {
	umoci, skopeo := tool(t, "umoci"), tool(t, "skopeo")
	dir := t.TempDir()
	layout := filepath.Join(dir, "layout")
	name := layout + ":v1"
	rootless := []string{}
	if os.Geteuid() != 0 {
		rootless = append(rootless, "--rootless")
	}
	run(t, umoci, "init", "--layout", layout)
	run(t, umoci, "new", "--image", name)
	for i, change := range []func(root string) error{
		func(root string) error {
			if err := os.MkdirAll(filepath.Join(root, "etc/old"), 0o755); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(root, "etc/old/conf"), []byte("1"), 0o600); err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(root, "etc/gone"), []byte("1"), 0o600); err != nil {
				return err
			}
			if err := os.Link(filepath.Join(root, "etc/gone"), filepath.Join(root, "etc/stays")); err != nil {
				return err
			}
			return os.Symlink("/etc/stays", filepath.Join(root, "link"))
		},
		func(root string) error {
			if err := os.RemoveAll(filepath.Join(root, "etc/old")); err != nil {
				return err
			}
			return os.Remove(filepath.Join(root, "etc/gone"))
		},
	} {
		bundle := filepath.Join(dir, fmt.Sprint("bundle", i))
		run(t, umoci, append(append([]string{"unpack"}, rootless...), "--image", name, bundle)...)
		if err := change(filepath.Join(bundle, "rootfs")); err != nil {
			t.Fatal(err)
		}
		run(t, umoci, "repack", "--image", name, bundle)
	}
	run(t, umoci, "config", "--image", name, "--config.cmd", "/bin/app", "--config.env", "A=1", "--config.exposedports", "80/tcp")
	refs := map[string]Ref{"layout": {Path: layout, Tag: "v1"}}
	for form, transport := range map[string]string{"oci archive": "oci-archive:", "docker archive": "docker-archive:"} {
		file := filepath.Join(dir, strings.ReplaceAll(form, " ", "-")+".tar")
		run(t, skopeo, "copy", "--insecure-policy", "oci:"+name, transport+file+":web:v1")
		refs[form] = Ref{Path: file}
	}
	zipped := filepath.Join(dir, "zstd")
	run(t, skopeo, "copy", "--insecure-policy", "--dest-compress-format", "zstd", "oci:"+name, "oci:"+zipped+":v1")
	refs["zstd layers"] = Ref{Path: zipped}
	for form, ref := range refs {
		t.Run(form, func(t *testing.T) {
			image := prepare(t, openStore(t), ref)
			c := image.Config
			if strings.Join(c.Command, " ") != "/bin/app" || !slices.Contains(c.Env, "A=1") || !slices.Contains(c.Ports, "80/tcp") || len(image.Layers) != 2 {
				t.Errorf("got %+v", image)
			}
			if got := show(t, image.Layers[1]); got != "dir etc\nfile etc/gone = 1\ndir etc/old\nfile etc/old/conf = 1\nfile etc/stays = 1\nlink link > /etc/stays" {
				t.Errorf("the first layer has\n%s", got)
			}
			top := show(t, image.Layers[0])
			for _, line := range []string{"gone etc/gone", "gone etc/old"} {
				if !strings.Contains(top, line) {
					t.Errorf("the second layer lacks %q:\n%s", line, top)
				}
			}
		})
	}
}
