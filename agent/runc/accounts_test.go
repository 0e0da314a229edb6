package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

const (
	somePasswd = "root:x:0:0:root:/root:/bin/sh\nweb:x:33:44:web:/srv:/bin/sh\n"
	someGroup  = "root:x:0:\nwww:x:44:\nlogs:x:55:web\ndisks:x:66:\n"
)

// accountsRoot makes a root with these account files; an empty one is left out.
func accountsRoot(t *testing.T, passwd, group string) string {
	t.Helper()
	root := t.TempDir()
	if err := os.Mkdir(filepath.Join(root, "etc"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"passwd": passwd, "group": group} {
		if text == "" {
			continue
		}
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func TestUsersAreFoundInTheContainer(t *testing.T) {
	for _, c := range []struct {
		name          string
		more          []string
		passwd, group string
		want          string
	}{
		{"", nil, "", "", "{0 0 [] }"},
		{"web", nil, somePasswd, someGroup, "{33 44 [55] /srv}"},
		{"web:disks", []string{"logs", "77"}, somePasswd, someGroup, "{33 66 [55 77] /srv}"},
		{"web", []string{"disks", "logs"}, somePasswd, someGroup, "{33 44 [55 66] /srv}"},
		{"", []string{"logs"}, somePasswd, someGroup, "{0 0 [55] }"},
		{"1000:1000", []string{"5"}, "", "", "{1000 1000 [5] }"},
		{"web", nil, "", someGroup, "unable to find user web"},
		{"", []string{"nobodies"}, somePasswd, someGroup, "groups nobodies"},
	} {
		who, err := identify(c.name, c.more, accountsRoot(t, c.passwd, c.group))
		if got := fmt.Sprint(who, err); !strings.Contains(got, c.want) || (err != nil) != !strings.HasPrefix(c.want, "{") {
			t.Errorf("%q with %v: %v, %v, not %s", c.name, c.more, who, err, c.want)
		}
	}
}

// Whatever a container has in the place of its account files, looking for a user ends, and reads nothing outside.
func TestHostileAccountFiles(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "passwd")
	if err := os.WriteFile(outside, []byte("web:x:1:1::/:\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		what string
		put  func(path string) error
		want string // "" if it counts as none
	}{
		{"a pipe", func(p string) error { return unix.Mkfifo(p, 0o644) }, "is no regular file"},
		{"a link to a pipe", func(p string) error {
			return errors.Join(unix.Mkfifo(filepath.Join(filepath.Dir(p), "pipe"), 0o644), os.Symlink("/etc/pipe", p))
		}, "is no regular file"},
		{"a device", func(p string) error { return unix.Mknod(p, unix.S_IFCHR|0o644, int(unix.Mkdev(1, 5))) }, "is no regular file"},
		{"a folder", func(p string) error { return os.Mkdir(p, 0o755) }, "is no regular file"},
		{"a socket", func(p string) error { return unix.Mknod(p, unix.S_IFSOCK|0o644, 0) }, "is no regular file"},
		{"a huge file", func(p string) error {
			return errors.Join(os.WriteFile(p, nil, 0o644), os.Truncate(p, maxAccounts+1))
		}, "more than the 4194304 allowed"},
		{"a link to itself", func(p string) error { return os.Symlink("/etc/"+filepath.Base(p), p) }, "too many levels"},
		{"a link out", func(p string) error { return os.Symlink(outside, p) }, ""},
		{"a link up and out", func(p string) error { return os.Symlink(strings.Repeat("../", 20)+outside, p) }, ""},
	} {
		for _, name := range []string{"passwd", "group"} {
			files := map[string]string{"passwd": somePasswd, "group": someGroup}
			delete(files, name)
			root := accountsRoot(t, files["passwd"], files["group"])
			err := c.put(filepath.Join(root, "etc", name))
			if errors.Is(err, unix.EPERM) {
				t.Logf("%s cannot be made here: %v", c.what, err)
				continue
			}
			if err != nil {
				t.Fatal(err)
			}
			data, err := accounts(root, "/etc/"+name)
			if data != nil || (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s as %s: %q, %v", c.what, name, data, err)
			}
			_, err = identify("web:www", []string{"logs"}, root)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s as %s: a user is found: %v", c.what, name, err)
			}
			if strings.HasPrefix(c.want, "is no") {
				if !errors.Is(err, executor.ErrInvalid) || !strings.Contains(err.Error(), "/etc/"+name+" in the container") {
					t.Errorf("%s as %s: %v", c.what, name, err)
				}
			}
		}
	}
}
