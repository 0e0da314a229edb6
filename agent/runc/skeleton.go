package runc

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// programFolders are the folders of the node whose programs and libraries a container with its root sees. Where /usr is merged,
// all but the last are links into it.
var programFolders = []string{"bin", "sbin", "lib", "lib32", "lib64", "libx32", "usr"}

// emptyFolders exist in every root: places to mount on, and those that programs expect.
var emptyFolders = []string{"dev", "etc", "home", "media", "mnt", "opt", "proc", "root", "run", "srv", "sys", "tmp", "var",
	"var/cache", "var/lib", "var/log", "var/spool", "var/tmp"}

// etcNames is all of /etc that a container with the node's root sees: what the C library and TLS need to work. passwd, group and
// hosts are made of the node's, see below.
var etcNames = []string{
	"alternatives", "debian_version", "gai.conf", "host.conf", "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "localtime", "mime.types",
	"nsswitch.conf", "os-release", "protocols", "redhat-release", "resolv.conf", "services", "ssl/certs", "ssl/openssl.cnf", "timezone",
	"ca-certificates", "pki/ca-trust/extracted", "pki/tls/certs",
}

// device is a node below /dev.
type device struct {
	name         string
	major, minor uint32
}

var deviceNodes = []device{
	{"null", 1, 3}, {"zero", 1, 5}, {"full", 1, 7}, {"random", 1, 8}, {"urandom", 1, 9}, {"tty", 5, 0},
}

var deviceLinks = map[string]string{
	"fd": "/proc/self/fd", "stdin": "/proc/self/fd/0", "stdout": "/proc/self/fd/1", "stderr": "/proc/self/fd/2",
	"ptmx": "pts/ptmx",
}

// skeletonLimit bounds the memory of the skeleton; it takes less than a tenth of it.
const skeletonLimit = "mode=755,size=16m"

// mountMemory mounts an empty file system in memory, where the thousand links of /etc take milliseconds, not half a second. It
// is seen in the executor's mount namespace only; containers of an earlier executor keep that one's.
func mountMemory(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make root: %w", err)
	}
	if err := unix.Mount("stowage-root", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, skeletonLimit); err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	return nil
}

// makeSkeleton fills dir with the part of a host root that is ours: folders, links and /etc. It returns the program folders that are
// real on this node and have to be mounted. What is right already is left alone, and files are replaced whole: containers may be looking.
func makeSkeleton(dir string) ([]string, error) {
	for _, name := range emptyFolders {
		if err := os.MkdirAll(filepath.Join(dir, name), 0o755); err != nil {
			return nil, fmt.Errorf("make root: %w", err)
		}
	}
	for _, name := range []string{"tmp", "var/tmp"} {
		if err := os.Chmod(filepath.Join(dir, name), 0o777|fs.ModeSticky); err != nil {
			return nil, fmt.Errorf("make root: %w", err)
		}
	}
	var real []string
	for _, name := range programFolders {
		info, err := os.Lstat("/" + name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case err != nil:
			return nil, fmt.Errorf("look at /%s: %w", name, err)
		case info.Mode()&fs.ModeSymlink != 0:
			err = copyLink("/"+name, filepath.Join(dir, name))
		default:
			real = append(real, name)
			err = os.MkdirAll(filepath.Join(dir, name), 0o755)
		}
		if err != nil {
			return nil, fmt.Errorf("make root: %w", err)
		}
	}
	if err := makeEtc(filepath.Join(dir, "etc")); err != nil {
		return nil, err
	}
	return real, nil
}

func makeEtc(etc string) error {
	for _, name := range etcNames {
		if err := copyTree(filepath.Join("/etc", name), filepath.Join(etc, name)); err != nil {
			return fmt.Errorf("copy /etc/%s: %w", name, err)
		}
	}
	made := map[string][]byte{
		"passwd": passwd("/etc/passwd"),
		"group":  systemEntries("/etc/group", func(f []string) string { return strings.Join(f[:3], ":") + ":" }),
		"hosts":  hosts(),
	}
	for name, data := range made {
		if err := replaceFile(filepath.Join(etc, name), data); err != nil {
			return fmt.Errorf("make /etc/%s: %w", name, err)
		}
	}
	return nil
}

// changing are files of the node that a start looks at again: name service changes while a node runs.
var changing = []string{"resolv.conf", "hosts"}

// refresh renews what has changed on the node since the last start.
func (r *Runtime) refresh() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i, name := range changing {
		info, err := os.Stat("/etc/" + name)
		if err != nil || info.ModTime().Equal(r.seen[i]) {
			continue
		}
		if err := copyTree("/etc/"+name, filepath.Join(r.skeleton, "etc", name)); err != nil {
			return fmt.Errorf("copy /etc/%s: %w", name, err)
		}
		r.seen[i] = info.ModTime()
	}
	return nil
}

func passwd(file string) []byte {
	return systemEntries(file, func(f []string) string {
		return strings.Join(append(f[:4:4], "", homeOf(f[0]), "/bin/sh"), ":")
	})
}

func homeOf(user string) string {
	if user == "root" {
		return "/root"
	}
	return "/"
}

// lastSystemID is the last id of accounts that belong to the system, and not to people.
const lastSystemID = 999

// systemEntries keeps the lines of passwd or group whose id belongs to the system, rewritten, with no names or folders of people.
func systemEntries(file string, rewrite func([]string) string) []byte {
	var out bytes.Buffer
	data, err := os.ReadFile(file)
	if err != nil {
		data = []byte("root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n")
	}
	lines := bufio.NewScanner(bytes.NewReader(data))
	for lines.Scan() {
		fields := strings.Split(lines.Text(), ":")
		if len(fields) < 4 {
			continue
		}
		id, err := strconv.Atoi(fields[2])
		if err == nil && (id <= lastSystemID || id == 65534) {
			fields[1] = "x"
			fmt.Fprintln(&out, rewrite(fields))
		}
	}
	return out.Bytes()
}

func hosts() []byte {
	if data, err := os.ReadFile("/etc/hosts"); err == nil {
		return data
	}
	return []byte("127.0.0.1 localhost\n::1 localhost\n")
}

// copyTree copies files, folders and links as they are. What does not exist, or is neither, is left out. A link of the node that
// leads out of /etc and /usr, as resolv.conf does under systemd, is copied as the file it means.
func copyTree(from, to string) error {
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	return copyEntry(from, to, info.Mode().Type())
}

func copyEntry(from, to string, kind fs.FileMode) error {
	switch kind {
	case fs.ModeSymlink:
		return copyLinkOrFile(from, to)
	case 0:
		return copyFile(from, to)
	case fs.ModeDir:
	default:
		return nil
	}
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(to, 0o755); err != nil {
		return err
	}
	for _, e := range entries {
		if err := copyEntry(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()), e.Type()); err != nil {
			return err
		}
	}
	return nil
}

func copyLinkOrFile(from, to string) error {
	inside := func(target string) bool {
		return strings.HasPrefix(target, "/usr/") || strings.HasPrefix(target, "/etc/")
	}
	// Certificates come in hundreds of links: most are told by their text.
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	if inside(target) || !strings.Contains(target, "/") {
		return makeLink(target, to)
	}
	meant, err := filepath.EvalSymlinks(from)
	if err != nil || inside(meant) {
		return makeLink(target, to)
	}
	return copyFile(meant, to)
}

func copyLink(from, to string) error {
	target, err := os.Readlink(from)
	if err != nil {
		return err
	}
	return makeLink(target, to)
}

func makeLink(target, to string) error {
	err := os.Symlink(target, to)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	if got, err := os.Readlink(to); err == nil && got == target {
		return nil
	}
	if err := os.RemoveAll(to); err != nil {
		return err
	}
	return os.Symlink(target, to)
}

// copyFile copies a file that everybody may read; others stay where they are.
func copyFile(from, to string) error {
	info, err := os.Stat(from)
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() || info.Mode().Perm()&0o004 == 0 {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return replaceFile(to, data)
}

func replaceFile(name string, data []byte) error {
	if got, err := os.ReadFile(name); err == nil && bytes.Equal(got, data) {
		return nil
	}
	tmp := name + ".new"
	if err := os.WriteFile(tmp, data, 0o644); err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, name)
}

// makeDev mounts a small file system on dir with the device nodes of every container, which share it read-only. It costs each start
// one mount where making nodes costs thirty calls.
func makeDev(dir string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make dev: %w", err)
	}
	if err := unix.Mount("stowage-dev", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NOEXEC, "mode=755,size=64k"); err != nil {
		return fmt.Errorf("mount dev: %w", err)
	}
	for _, d := range deviceNodes {
		name := filepath.Join(dir, d.name)
		if err := unix.Mknod(name, unix.S_IFCHR|0o666, int(unix.Mkdev(d.major, d.minor))); err != nil {
			return fmt.Errorf("make device %s: %w", d.name, err)
		}
		if err := os.Chmod(name, 0o666); err != nil {
			return fmt.Errorf("make device %s: %w", d.name, err)
		}
	}
	for name, target := range deviceLinks {
		if err := os.Symlink(target, filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("make device link: %w", err)
		}
	}
	for _, name := range []string{"pts", "shm", "mqueue"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			return fmt.Errorf("make dev: %w", err)
		}
	}
	// A terminal is mounted here.
	if err := os.WriteFile(filepath.Join(dir, "console"), nil, 0o600); err != nil {
		return fmt.Errorf("make dev: %w", err)
	}
	if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("protect dev: %w", err)
	}
	return nil
}
