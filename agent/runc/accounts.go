package runc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/moby/sys/user"
	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// maxAccounts bounds a passwd or group file of a container, in bytes: those of large sites have some ten thousand lines.
const maxAccounts = 4 << 20

// identity is the user of a process, in numbers of the container.
type identity struct {
	uid, gid int
	groups   []int
	home     string
}

// identify finds a user, and more groups for it, in the account files of a root. Without a name it is root.
func identify(name string, more []string, rootDir string) (who identity, err error) {
	if name == "" && len(more) == 0 {
		return who, nil
	}
	group, err := accounts(rootDir, "/etc/group")
	if err != nil {
		return who, err
	}
	if name != "" {
		passwd, err := accounts(rootDir, "/etc/passwd")
		if err != nil {
			return who, err
		}
		found, err := user.GetExecUser(name, nil, reader(passwd), reader(group))
		if err != nil {
			return who, executor.Errorf(executor.CodeInvalid, "user %q: %v", name, err)
		}
		who = identity{uid: found.Uid, gid: found.Gid, groups: found.Sgids, home: found.Home}
	}
	if len(more) == 0 {
		return who, nil
	}
	found, err := user.GetAdditionalGroups(more, reader(group))
	if err != nil {
		return who, executor.Errorf(executor.CodeInvalid, "groups %s: %v", strings.Join(more, ", "), err)
	}
	slices.Sort(found)
	for _, g := range found {
		if !slices.Contains(who.groups, g) {
			who.groups = append(who.groups, g)
		}
	}
	return who, nil
}

// reader is none for a file that is not there, which the library tells from an empty one.
func reader(data []byte) io.Reader {
	if data == nil {
		return nil
	}
	return bytes.NewReader(data)
}

// accounts reads an account file of a root, nil if there is none. Who made the image, or runs in the container, may have put anything in its
// place: links are followed inside the root only; what was found is held, looked at, and opened only if it is a regular file, as opening a pipe
// waits for ever and opening a device may do anything. No more is read than the size it says, which is 0 for the files of the kernel that wait.
func accounts(rootDir, name string) ([]byte, error) {
	held, err := pathrs.OpenInRoot(rootDir, name)
	if errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open %s of the container: %w", name, err)
	}
	defer held.Close()
	info, err := held.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("look at %s of the container: %w", name, err)
	case !info.Mode().IsRegular():
		return nil, executor.Errorf(executor.CodeInvalid, "%s in the container is no regular file: user and groups cannot be looked up", name)
	case info.Size() > maxAccounts:
		return nil, executor.Errorf(executor.CodeInvalid, "%s in the container has %d bytes, more than the %d allowed: user and groups cannot be looked up", name, info.Size(), maxAccounts)
	}
	f, err := os.OpenFile("/proc/self/fd/"+strconv.Itoa(int(held.Fd())), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("open %s of the container: %w", name, err)
	}
	defer f.Close()
	data := make([]byte, info.Size())
	n, err := io.ReadFull(f, data)
	if err != nil && err != io.EOF && err != io.ErrUnexpectedEOF { // it may have become shorter
		return nil, fmt.Errorf("read %s of the container: %w", name, err)
	}
	return data[:n], nil
}
