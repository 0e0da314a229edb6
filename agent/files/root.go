// Package files reads and writes in the file systems of tasks, which may be hostile: whoever runs there may change every name, at every
// moment, into a link to anywhere.
//
// So no path is ever put together and opened again. Each is resolved by the kernel below the root of the task (openat2, RESOLVE_IN_ROOT): an
// absolute link, and "..", lead where they lead for the task, and never out. What was found is held by a descriptor that cannot be exchanged,
// looked at, and only then opened; devices, pipes and sockets never are. Files of the kernel (proc, sys, cgroups) are neither read nor written, as
// the agent may do more to them than the task.
package files

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// Root is the file system of a task.
type Root struct{ fd int }

// OpenProcess opens what a process sees as its root, mounts included. start is when the process began, in clock ticks since the boot: a number alone may
// be somebody else's by now.
func OpenProcess(pid int, start uint64) (*Root, error) {
	proc, err := unix.Open("/proc/"+strconv.Itoa(pid), unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the file system of process %d: %w", pid, err)
	}
	defer unix.Close(proc) // it stands for this process alone
	if began, err := startOf(proc); err != nil || began != start {
		return nil, fmt.Errorf("open the file system of process %d: it has ended", pid)
	}
	fd, err := unix.Openat(proc, "root", unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open the file system of process %d: %w", pid, err)
	}
	return &Root{fd}, nil
}

func startOf(proc int) (uint64, error) {
	fd, err := unix.Openat(proc, "stat", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0, err
	}
	f := os.NewFile(uintptr(fd), "stat")
	defer f.Close()
	data, err := io.ReadAll(f)
	if err != nil {
		return 0, err
	}
	text := string(data)
	fields := strings.Fields(text[strings.LastIndexByte(text, ')')+1:])
	if len(fields) < 20 {
		return 0, errors.New("too few fields")
	}
	return strconv.ParseUint(fields[19], 10, 64)
}

// OpenFolder opens a folder of the node as a root.
func OpenFolder(dir string) (*Root, error) {
	fd, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", dir, err)
	}
	return &Root{fd}, nil
}

// OpenLayers opens folders that lie above one another, the top first, as one that is only read. Nothing is mounted for anybody else to see, and nothing
// stays mounted, however this process ends. place is any folder to mount over.
func OpenLayers(layers []string, userXattr bool, place string) (*Root, error) {
	if len(layers) == 1 {
		return OpenFolder(layers[0])
	}
	options := "lowerdir=" + strings.Join(layers, ":")
	if userXattr {
		options += ",userxattr"
	}
	type opened struct {
		fd  int
		err error
	}
	result := make(chan opened, 1)
	go onThread(func() {
		fd, err := mountAside(options, place)
		result <- opened{fd, err}
	})
	got := <-result
	if got.err != nil {
		return nil, fmt.Errorf("lay %d layers above one another: %w", len(layers), got.err)
	}
	return &Root{got.fd}, nil
}

// onThread calls f on a thread that ends with it. The first thread of a process cannot end, so it is never that.
func onThread(f func()) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		done := make(chan struct{})
		go func() {
			defer close(done)
			onThread(f)
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	f() // the goroutine ends locked: so does the thread
}

// mountAside mounts in a mount namespace of this thread, and takes the mount out of it again: only the descriptor holds it.
func mountAside(options, place string) (int, error) {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return 0, err
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return 0, err
	}
	if err := unix.Mount("overlay", place, "overlay", unix.MS_RDONLY|unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, options); err != nil {
		return 0, err
	}
	fd, err := unix.Open(place, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	return fd, errors.Join(err, unix.Unmount(place, unix.MNT_DETACH))
}

// Close lets go of the file system.
func (r *Root) Close() { unix.Close(r.fd) }

// maxMoves is how often a path is resolved anew when something on it was moved meanwhile.
const maxMoves = 100

// resolve opens what a path means to the task, to look at. With follow a link at its end is followed too.
func (r *Root) resolve(name string, follow bool) (int, error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	if !follow {
		how.Flags |= unix.O_NOFOLLOW
	}
	return openat2(r.fd, clean(name), &how)
}

func openat2(dir int, name string, how *unix.OpenHow) (fd int, err error) {
	for range maxMoves {
		if fd, err = unix.Openat2(dir, name, how); err != unix.EAGAIN && err != unix.EINTR {
			break
		}
	}
	if err == unix.ENOSYS {
		return 0, errors.New("this needs Linux 5.6 or newer")
	}
	return fd, err
}

// clean makes a path relative to the root; "..", which may follow a link, is left to the kernel.
func clean(name string) string {
	if name = strings.TrimLeft(name, "/"); name == "" {
		return "."
	}
	return name
}

// kernelFiles are the file systems whose files are the kernel's own.
var kernelFiles = []int64{unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC, unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC,
	unix.SECURITYFS_MAGIC, unix.BPF_FS_MAGIC, unix.DEVPTS_SUPER_MAGIC, unix.EFIVARFS_MAGIC, unix.SELINUX_MAGIC}

// ofKernel reports whether an open file lies in a file system of the kernel.
func ofKernel(fd int) bool {
	var fs unix.Statfs_t
	return unix.Fstatfs(fd, &fs) != nil || slices.Contains(kernelFiles, int64(fs.Type))
}

// errKernel refuses the files of the kernel.
var errKernel = errors.New("it belongs to the kernel: read it with stowage exec")

// reopen opens what a descriptor stands for, to read: a regular file or a folder.
func reopen(fd int) (*os.File, error) {
	if ofKernel(fd) {
		return nil, errKernel
	}
	opened, err := unix.Open("/proc/self/fd/"+strconv.Itoa(fd), unix.O_RDONLY|unix.O_CLOEXEC|unix.O_NOCTTY|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, err
	}
	return os.NewFile(uintptr(opened), "file"), nil
}

// at says of which file an error is. Names are the choice of tasks and go to terminals.
func at(name string, err error) error {
	return fmt.Errorf("%s: %w", spec.Printable(path.Join("/", name)), err)
}

// maxEntries of a folder are listed.
const maxEntries = 10_000

// Stat describes a file, and the entries of a folder. A link at the end of the path is followed if it is asked for with a slash.
func (r *Root) Stat(name string) (spec.File, error) {
	fd, err := r.resolve(name, strings.HasSuffix(name, "/"))
	if err != nil {
		return spec.File{}, at(name, err)
	}
	defer unix.Close(fd)
	f, err := describe(fd, path.Base(path.Join("/", name)))
	if err != nil || f.Kind != spec.FileFolder {
		return f, err
	}
	dir, err := unix.Openat(fd, ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return f, at(name, err)
	}
	list := os.NewFile(uintptr(dir), "folder")
	defer list.Close()
	names, err := list.Readdirnames(maxEntries + 1)
	if err != nil && !errors.Is(err, io.EOF) {
		return f, at(name, err)
	}
	slices.Sort(names)
	if f.More = len(names) > maxEntries; f.More {
		names = names[:maxEntries]
	}
	for _, n := range names {
		one, err := unix.Openat(fd, n, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
		if err != nil {
			continue // gone since
		}
		if entry, err := describe(one, n); err == nil {
			f.Entries = append(f.Entries, entry)
		}
		unix.Close(one)
	}
	return f, nil
}

// describe tells what a descriptor stands for.
func describe(fd int, name string) (spec.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return spec.File{}, err
	}
	f := spec.File{Name: name, Kind: spec.FileOther, Mode: st.Mode & 0o7777, Size: spec.Bytes(st.Size), UID: st.Uid, GID: st.Gid,
		Modified: spec.TimeOf(time.Unix(int64(st.Mtim.Sec), int64(st.Mtim.Nsec)))}
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFREG:
		f.Kind = spec.FileRegular
	case unix.S_IFDIR:
		f.Kind = spec.FileFolder
	case unix.S_IFLNK:
		f.Kind = spec.FileLink
		b := make([]byte, unix.PathMax)
		n, err := unix.Readlinkat(fd, "", b)
		if err != nil {
			return f, err
		}
		f.Target = string(b[:n])
	}
	return f, nil
}

// Read writes the content of a regular file.
func (r *Root) Read(name string, w io.Writer) error {
	fd, err := r.resolve(name, true)
	if err != nil {
		return at(name, err)
	}
	defer unix.Close(fd)
	f, err := describe(fd, name)
	if err == nil && f.Kind != spec.FileRegular {
		err = fmt.Errorf("it is no regular file but a %s", f.Kind)
	}
	if err != nil {
		return at(name, err)
	}
	file, err := reopen(fd)
	if err != nil {
		return at(name, err)
	}
	defer file.Close()
	_, err = io.Copy(w, file)
	return err
}
