package files

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// content is what stands in a file that no task may reach.
const content = "what nobody is to see"

// hostile is a root with links that lead out of it, beside a secret.
func hostile(t *testing.T) (root *Root, dir, secret string) {
	t.Helper()
	outside := t.TempDir()
	secret = filepath.Join(outside, "secret")
	dir = filepath.Join(outside, "root")
	up := strings.Repeat("../", 20)
	if err := errors.Join(os.WriteFile(secret, []byte(content), 0o600), os.MkdirAll(dir+"/etc/deep", 0o755), os.WriteFile(dir+"/etc/motd", []byte("hello\n"), 0o640),
		os.Symlink(secret, dir+"/absolute"), os.Symlink(up+secret, dir+"/relative"), os.Symlink(outside, dir+"/folder"), os.Symlink("/etc/motd", dir+"/inside"),
		os.Symlink("/proc/self/root", dir+"/magic"), os.Symlink("../..", dir+"/etc/deep/up"), unix.Mkfifo(dir+"/pipe", 0o600)); err != nil {
		t.Fatal(err)
	}
	root, err := OpenFolder(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(root.Close)
	return root, dir, secret
}

func TestNoPathLeadsOut(t *testing.T) {
	root, _, secret := hostile(t)
	for _, name := range []string{"absolute", "relative", "folder/secret", "magic" + secret, "../secret", "/../../secret", secret, "etc/deep/up/../../secret", "pipe", "etc", ""} {
		var out bytes.Buffer
		if err := root.Read(name, &out); err == nil || out.Len() > 0 {
			t.Errorf("read %s: %q", name, out.String())
		}
	}
	for _, name := range []string{"inside", "/inside", "etc/deep/up/etc/motd", "../etc/motd", "etc//motd"} {
		var out bytes.Buffer
		if err := root.Read(name, &out); err != nil || out.String() != "hello\n" {
			t.Errorf("read %s: %q, %v", name, out.String(), err)
		}
	}
	f, err := root.Stat("absolute")
	if err != nil || f.Kind != spec.FileLink || f.Target != secret {
		t.Errorf("%+v, %v", f, err)
	}
	f, err = root.Stat("/")
	if err != nil || len(f.Entries) != 7 || f.Entries[2].Name != "folder" || f.Entries[6].Name != "relative" {
		t.Errorf("%+v, %v", f, err)
	}
	if f, err := root.Stat("etc/motd"); err != nil || f.Mode != 0o640 || f.Size != 6 || f.Kind != spec.FileRegular {
		t.Errorf("%+v, %v", f, err)
	}
}

func TestFilesOfTheKernelAreLeftAlone(t *testing.T) {
	root, err := OpenFolder("/")
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Read("/proc/1/status", io.Discard); !errors.Is(err, errKernel) {
		t.Errorf("read: %v", err)
	}
	if err := root.Pack(t.Context(), "/proc/1", io.Discard, func(string) {}); !errors.Is(err, errKernel) {
		t.Errorf("pack: %v", err)
	}
	if _, err := root.Unpack("/proc/sys/kernel", &bytes.Buffer{}, 0, 0); !errors.Is(err, errKernel) {
		t.Errorf("unpack: %v", err)
	}
}

func TestAPackedFolderIsTheSameElsewhere(t *testing.T) {
	root, dir, _ := hostile(t)
	if err := errors.Join(os.Chmod(dir+"/etc/deep", 0o500), os.WriteFile(dir+"/etc/program", bytes.Repeat([]byte{0, 1, 255}, 100_000), 0o755), os.Symlink("motd", dir+"/etc/link")); err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	var warned []string
	if err := root.Pack(t.Context(), "/etc", &archive, func(w string) { warned = append(warned, w) }); err != nil || len(warned) > 0 {
		t.Fatal(err, warned)
	}
	done, err := root.Unpack("/copy", bytes.NewReader(archive.Bytes()), os.Getuid(), os.Getgid())
	if err != nil || done.Files != 5 || done.Bytes != 300_006 || len(done.Refused) != 1 || !strings.Contains(done.Refused[0], "etc/deep/up leads to ../..") {
		t.Fatalf("%+v, %v", done, err)
	}
	for name, mode := range map[string]os.FileMode{"copy": os.ModeDir | 0o755, "copy/deep": os.ModeDir | 0o500, "copy/motd": 0o640, "copy/program": 0o755, "copy/link": os.ModeSymlink | 0o777} {
		info, err := os.Lstat(filepath.Join(dir, name))
		if err != nil || info.Mode() != mode {
			t.Errorf("%s: %v, %v", name, info, err)
			continue
		}
		if was, err := os.Lstat(filepath.Join(dir, strings.Replace(name, "copy", "etc", 1))); err != nil || mode.IsRegular() && was.ModTime().Sub(info.ModTime()).Abs() > time.Millisecond {
			t.Errorf("%s: of %v, was %v", name, info.ModTime(), was.ModTime())
		}
	}
	// Into a folder that is there it goes as an entry.
	if done, err := root.Unpack("/copy", bytes.NewReader(archive.Bytes()), os.Getuid(), os.Getgid()); err != nil || done.Files != 5 {
		t.Errorf("%+v, %v", done, err)
	}
	if _, err := os.Stat(dir + "/copy/etc/motd"); err != nil {
		t.Error(err)
	}
	if _, err := root.Unpack("/nowhere/", bytes.NewReader(archive.Bytes()), 0, 0); !errors.Is(err, unix.ENOENT) {
		t.Errorf("into a folder that is not there: %v", err)
	}
	if left, _ := filepath.Glob(dir + "/copy/.stowage*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// entries makes an archive of names: "name/" is a folder, "name -> target" a link, everything else a file.
func entries(t *testing.T, names ...string) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, n := range names {
		h := &tar.Header{Name: n, Mode: 0o7777, Typeflag: tar.TypeReg, Size: 4}
		if name, target, ok := strings.Cut(n, " -> "); ok {
			h = &tar.Header{Name: name, Linkname: target, Typeflag: tar.TypeSymlink}
		} else if strings.HasSuffix(n, "/") {
			h = &tar.Header{Name: n, Mode: 0o755, Typeflag: tar.TypeDir}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			_, _ = w.Write([]byte("evil"))
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestNoArchiveWritesElsewhere(t *testing.T) {
	for _, names := range [][]string{{"../secret"}, {"/secret"}, {"x/../../secret"}, {"."}, {"x/", "x/../y"}, {"folder/secret"}, {"x/", "x/deep -> ..", "x/deep/y"}, {"missing/y"}} {
		root, dir, secret := hostile(t)
		if _, err := root.Unpack("/", entries(t, names...), os.Getuid(), os.Getgid()); err == nil {
			t.Errorf("%q is unpacked", names)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != content {
			t.Fatalf("%q: the secret is %q, %v", names, text, err)
		}
		if list, _ := os.ReadDir(filepath.Dir(dir)); len(list) != 2 {
			t.Fatalf("%q: outside there is %v", names, list)
		}
	}
	root, dir, secret := hostile(t)
	if _, err := root.Unpack("/", entries(t, "absolute"), os.Getuid(), os.Getgid()); err != nil {
		t.Error(err)
	}
	info, err := os.Lstat(dir + "/absolute")
	if text, _ := os.ReadFile(secret); err != nil || !info.Mode().IsRegular() || info.Mode() != 0o777|os.ModeSticky || string(text) != content {
		t.Errorf("a file in the place of a link: %v, %v; the secret is %q", info, err, text)
	}
}

func TestLinksThatLeadOut(t *testing.T) {
	for link, want := range map[string]bool{"x/a -> b": true, "x/d/a -> ../b": true, "x/a -> ../x/b": true, "x/a -> .": true, "x/a -> ..": false, "x/a -> ../b": false, "x/a -> /b": false,
		"x/a -> b/../c": false, "x/d/a -> ../../x": true, "x/d/a -> ../..": false, "x -> y": false, "x/a -> ": false, "x/a -> ../xy": false, "x/a -> ../": false} {
		name, target, _ := strings.Cut(link, " -> ")
		if got := Inside(name, target); got != want {
			t.Errorf("%s: %v", link, got)
		}
	}
}

// A task that exchanges a folder for a link while its files are read and written gains nothing by it.
func TestALinkPutInTheWay(t *testing.T) {
	root, dir, secret := hostile(t)
	ctx, cancel := context.WithCancel(t.Context())
	var swapper sync.WaitGroup
	swapper.Go(func() {
		for ctx.Err() == nil {
			_ = os.Rename(dir+"/etc", dir+"/aside")
			_ = os.Symlink(filepath.Dir(secret), dir+"/etc")
			_ = os.Remove(dir + "/etc")
			_ = os.Rename(dir+"/aside", dir+"/etc")
		}
	})
	for range 200 {
		var out bytes.Buffer
		_ = root.Read("/etc/secret", &out)
		_ = root.Pack(ctx, "/etc", &out, func(string) {})
		_, _ = root.Unpack("/", entries(t, "etc/", "etc/secret"), os.Getuid(), os.Getgid())
		if strings.Contains(out.String(), content) { // of the folder outside, by whatever name
			t.Fatal("the secret is out")
		}
		if text, _ := os.ReadFile(secret); string(text) != content {
			t.Fatalf("the secret is %q", text)
		}
	}
	cancel()
	swapper.Wait()
}

func TestLayersAreOneFolder(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("layers are mounted, which needs root")
	}
	base := t.TempDir()
	top, bottom := base+"/top", base+"/bottom"
	if err := errors.Join(os.Mkdir(top, 0o755), os.Mkdir(bottom, 0o755), os.WriteFile(bottom+"/a", []byte("old"), 0o644), os.WriteFile(bottom+"/b", []byte("b"), 0o644),
		os.WriteFile(bottom+"/gone", nil, 0o644), os.WriteFile(top+"/a", []byte("new"), 0o644), unix.Mknod(top+"/gone", unix.S_IFCHR, 0)); err != nil {
		t.Fatal(err)
	}
	root, err := OpenLayers([]string{top, bottom}, false, base)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	f, err := root.Stat("/")
	names := make([]string, len(f.Entries))
	for i := range f.Entries {
		names[i] = f.Entries[i].Name
	}
	var out bytes.Buffer
	if err := errors.Join(err, root.Read("a", &out), root.Read("b", &out)); err != nil || !slices.Equal(names, []string{"a", "b"}) || out.String() != "newb" {
		t.Errorf("%q, %q, %v", names, out.String(), err)
	}
	if mounts, err := os.ReadFile("/proc/self/mounts"); err != nil || bytes.Contains(mounts, []byte(base)) {
		t.Errorf("it is mounted for all to see: %v", err)
	}
	if _, err := root.Unpack("/", entries(t, "x"), 0, 0); !errors.Is(err, unix.EROFS) {
		t.Errorf("written to: %v", err)
	}
}
