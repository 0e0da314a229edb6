package image

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func keep(t *testing.T, s *Store, c Content, archive []byte) (Image, error) {
	t.Helper()
	return s.Keep(t.Context(), c, func(_ context.Context, take func(io.Reader) error) error {
		return take(strings.NewReader(string(archive)))
	})
}

func digestOf(text string) string { return "sha256:" + strings.Repeat(text, 64) }

func TestKeep(t *testing.T) {
	s := openStore(t)
	c := Content{Digest: digestOf("a"), Path: "opt/app", UID: os.Getuid(), GID: os.Getgid(), Most: 100}
	if os.Getuid() == 0 {
		c.UID, c.GID = 4711, 4712
	}
	archive := tarOf(t, entry{name: "bin/tool", body: "run", mode: 0o6755, uid: 33}, entry{name: "bin/.wh.x", body: "1"}, entry{name: "link", kind: '2', link: "/etc/passwd"},
		entry{name: "same", kind: '1', link: "bin/tool"})
	image, err := keep(t, s, c, archive)
	if err != nil || len(image.Layers) != 1 || image.Bytes != 4 {
		t.Fatalf("%+v, %v", image, err)
	}
	top := image.Layers[0]
	for name, want := range map[string]fs.FileMode{"opt": fs.ModeDir | 0o755, "opt/app/bin/tool": 0o755, "opt/app/bin/.wh.x": 0o644, "opt/app/same": 0o755, "opt/app/link": fs.ModeSymlink | 0o777} {
		info, err := os.Lstat(filepath.Join(top, name))
		if err != nil || name != "opt/app/bin/.wh.x" && info.Mode() != want {
			t.Errorf("%s: %v, %v", name, info, err)
			continue
		}
		if uid := int(info.Sys().(*syscall.Stat_t).Uid); name != "opt" && uid != c.UID {
			t.Errorf("%s belongs to %d", name, uid)
		}
	}
	again, err := s.Keep(t.Context(), c, func(context.Context, func(io.Reader) error) error { return errors.New("it is there") })
	if err != nil || again.Layers[0] != top || again.Bytes != 4 {
		t.Errorf("%+v, %v", again, err)
	}

	// It goes as images do: not while it is in use.
	full := func() (int, error) { return 99, nil }
	later := time.Now().Add(time.Hour)
	if done, err := s.collect(t.Context(), DefaultWatermarks, func() (map[string]bool, error) { return map[string]bool{c.Digest: true}, nil }, later, full); err != nil || done.Images != 0 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, ok := s.Kept(c.Digest); !ok {
		t.Error("it was removed while in use")
	}
	if done, err := s.collect(t.Context(), DefaultWatermarks, func() (map[string]bool, error) { return nil, nil }, time.Now().Add(2*time.Hour), full); err != nil || done.Images != 1 || done.Layers != 1 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, ok := s.Kept(c.Digest); ok {
		t.Error("it is still there")
	}
}

// TestKeepTrustsNobody: what a helper that was taken over writes is refused.
func TestKeepTrustsNobody(t *testing.T) {
	s := openStore(t)
	for name, archive := range map[string][]byte{
		"above":     tarOf(t, entry{name: "../x", body: "1"}),
		"device":    tarOf(t, entry{name: "x", kind: tar.TypeChar}),
		"pipe":      tarOf(t, entry{name: "x", kind: tar.TypeFifo}),
		"hard link": tarOf(t, entry{name: "x", kind: tar.TypeLink, link: "../../../../../etc/passwd"}),
		"large":     tarOf(t, entry{name: "x", body: strings.Repeat("x", 101)}),
		"cut":       tarOf(t, entry{name: "x", body: strings.Repeat("x", 90)})[:540],
		"text":      []byte("hello"),
	} {
		if image, err := keep(t, s, Content{Digest: digestOf("b"), Path: "x", Most: 100}, archive); err == nil {
			t.Errorf("%s: %+v", name, image)
		}
		for _, dir := range []string{"tmp", "layers", "images"} {
			if left, _ := os.ReadDir(filepath.Join(s.dir, dir)); len(left) > 0 {
				t.Fatalf("%s: in %s are left %v", name, dir, left)
			}
		}
	}
	// A link is resolved as if the destination were the whole file system.
	image, err := keep(t, s, Content{Digest: digestOf("b"), Path: "opt", UID: os.Getuid(), GID: os.Getgid(), Most: 100}, tarOf(t, entry{name: "up", kind: '2', link: "/../.."}, entry{name: "up/x", body: "1"}))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(image.Layers[0] + "/opt/x"); err != nil {
		t.Error(err)
	}
}

func TestPlaces(t *testing.T) {
	s := openStore(t)
	img := prepare(t, s, Ref{Path: ".", Repo: layoutOf(t, nil, tarOf(t, entry{name: "run", kind: '5', mode: 0o750}, entry{name: "var/run", kind: '2', link: "../run"}, entry{name: "tmp", kind: '5', mode: 0o1777}))})
	for name, want := range map[string]string{"/var/run/app": "run/app", "/tmp/x": "tmp/x", "/new/a/b": "new/a/b"} {
		dir := t.TempDir()
		got, err := s.Places(dir, img.Layers, name)
		if err != nil || got != want {
			t.Errorf("%s is %s, %v", name, got, err)
		}
		mode := map[string]fs.FileMode{"run": 0o750, "tmp": 0o777 | fs.ModeSticky, "new": 0o755}
		first, _, _ := strings.Cut(want, "/")
		if info, err := os.Lstat(filepath.Join(dir, first)); err != nil || info.Mode() != mode[first]|fs.ModeDir {
			t.Errorf("%s: %v, %v", first, info, err)
		}
	}
}

// TestSpoolOnAFullDisk: the error says so, what came stays for the next attempt, and with room that goes on.
func TestSpoolOnAFullDisk(t *testing.T) {
	if !ownMounts(t, false) {
		return
	}
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, "size=1m"); err != nil {
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
	text := strings.Repeat("x", 2<<20)
	write := func(f *os.File) error {
		at, err := f.Seek(0, io.SeekEnd)
		if err != nil {
			return err
		}
		_, err = f.WriteString(text[at:])
		return err
	}
	if err := s.Spool(t.Context(), "x", write); !errors.Is(err, unix.ENOSPC) || !strings.Contains(err.Error(), "make room") {
		t.Errorf("%v", err)
	}
	if err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_REMOUNT, "size=8m"); err != nil {
		t.Fatal(err)
	}
	before := int64(-1)
	if err := s.Spool(t.Context(), "x", func(f *os.File) error { before, _ = f.Seek(0, io.SeekEnd); return write(f) }); err != nil || before <= 0 {
		t.Errorf("%v, after %d bytes", err, before)
	}
	if left, _ := os.ReadDir(s.downloads()); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}
