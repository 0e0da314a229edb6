package files

import (
	"archive/tar"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// home is a folder of this machine with something in it that no archive may touch.
func home(t *testing.T) (dir, secret string) {
	t.Helper()
	dir = t.TempDir()
	secret = dir + "/.ssh/authorized_keys"
	if err := errors.Join(os.Mkdir(dir+"/.ssh", 0o700), os.WriteFile(secret, []byte(content), 0o600)); err != nil {
		t.Fatal(err)
	}
	return dir, secret
}

// What a hostile node sends is written to the name that was asked for or not at all.
func TestNothingIsWrittenBesideTheCopy(t *testing.T) {
	for _, names := range [][]string{
		{"log/", "log/d/", "log/d/up -> ..", "log/d/up/l -> ../.ssh", "log/l/authorized_keys"},
		{"log/", "log/d/", "log/d/up -> ..", "log/d/up/l -> ../.ssh/authorized_keys", "log/l"},
		{"log/", "log/d/", "log/d/up -> ..", "log/d/up/x"},
		{"log/", "log/d/", "log/d/up -> ..", "log/d/up/x/"},
		{"log/", "log/l -> .", "log/l/x"},
		{"log/", "log/l -> .", "log/l/"},
		{"log -> log", "log/x"},
		{"log -> .ssh", ".ssh/authorized_keys"},
		{".ssh/", ".ssh/l -> ../.ssh", ".ssh/l/authorized_keys"},
		{"../.ssh/authorized_keys"}, {"log/../.ssh/authorized_keys"}, {"/.ssh/authorized_keys"}, {".ssh/authorized_keys"}, {"log/", ".ssh/authorized_keys", "../x"},
	} {
		dir, secret := home(t)
		if err := UnpackHere(dir, "log", entries(t, names...), func(string) {}); err == nil {
			t.Errorf("%q is unpacked", names)
		}
		if text, err := os.ReadFile(secret); err != nil || string(text) != content {
			t.Fatalf("%q: the secret is %q, %v", names, text, err)
		}
		if list, _ := os.ReadDir(dir + "/.ssh"); len(list) != 1 {
			t.Fatalf("%q: beside the secret there is %v", names, list)
		}
		list, _ := os.ReadDir(dir)
		if slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() != ".ssh" && e.Name() != "log" }) {
			t.Fatalf("%q: beside the copy there is %v", names, list)
		}
	}
}

// A link that stands in the copy from before is gone through neither, and one that leads out of the copy under its new name is left out.
func TestLinksHere(t *testing.T) {
	dir, secret := home(t)
	if err := errors.Join(os.Mkdir(dir+"/log", 0o755), os.Symlink("../.ssh", dir+"/log/old")); err != nil {
		t.Fatal(err)
	}
	if err := UnpackHere(dir, "log", entries(t, "log/", "log/old/authorized_keys"), func(string) {}); !errors.Is(err, unix.ELOOP) {
		t.Errorf("through an old link: %v", err)
	}
	var refused []string
	if err := UnpackHere(dir, "log", entries(t, ".ssh/", ".ssh/new -> ../.ssh/authorized_keys", ".ssh/good -> d/x", ".ssh/d/", ".ssh/d/x", ".ssh/old"),
		func(why string) { refused = append(refused, why) }); err != nil || len(refused) != 1 || !strings.Contains(refused[0], ".ssh/new leads to") {
		t.Errorf("%v, %q", err, refused)
	}
	for name, want := range map[string]string{"log/good": "evil", "log/old": "evil", ".ssh/authorized_keys": content} {
		if text, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(text) != want {
			t.Errorf("%s: %q, %v", name, text, err)
		}
	}
	if text, err := os.ReadFile(secret); err != nil || string(text) != content {
		t.Errorf("the secret is %q, %v", text, err)
	}
	if err := UnpackHere(dir, "../x", entries(t, "x"), func(string) {}); err == nil {
		t.Error("a path was taken for a name")
	}
}

// What a task moves to the name of a link or a folder that was just made does not get the task's owner.
func TestOnlyWhatWasMadeIsGivenAway(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.WriteFile(dir+"/file", nil, 0o600), os.Symlink("x", dir+"/link"), os.Symlink("x", dir+"/twice"), os.Link(dir+"/twice", dir+"/second")); err != nil {
		t.Fatal(err)
	}
	parent, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(parent)
	u := &unpacker{base: parent, uid: os.Getuid(), gid: os.Getgid()}
	if os.Getuid() == 0 {
		u.uid, u.gid = 4711, 4712
	}
	for name, want := range map[string]error{"file": errMoved, "twice": errMoved, "link": nil} {
		if err := u.ownLink(parent, name); !errors.Is(err, want) {
			t.Errorf("%s: %v", name, err)
		}
		var st unix.Stat_t
		if err := unix.Lstat(dir+"/"+name, &st); err != nil || (int(st.Uid) == u.uid) != (want == nil || os.Getuid() != 0) {
			t.Errorf("%s belongs to %d, %v", name, st.Uid, err)
		}
	}
	u.uid, u.gid = os.Getuid(), os.Getgid()
	header := tar.Header{Name: "d/", Mode: 0o755, Typeflag: tar.TypeDir}
	if err := u.entry(&header, nil); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.Rename(dir+"/d", dir+"/aside"), os.Mkdir(dir+"/d", 0o700)); err != nil {
		t.Fatal(err)
	}
	if err := u.finish(); !errors.Is(err, errMoved) {
		t.Errorf("another folder under the name: %v", err)
	}
	if info, err := os.Stat(dir + "/d"); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}
