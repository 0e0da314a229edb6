package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// paxXattr precedes the names of extended attributes in PAX records.
const paxXattr = "SCHILY.xattr."

// keepXattr tells which attributes of an image are kept: those that only programs read, and file capabilities. Above all
// none that overlayfs reads, or an image could make a folder show another one (redirect).
func keepXattr(name string, root bool) bool {
	if name == "security.capability" {
		return root
	}
	return strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, "user.overlay.")
}

// setXattrs sets the kept attributes of a file. A file system that has none is no error.
func setXattrs(fd int, h *tar.Header, root bool) error {
	for record, value := range h.PAXRecords {
		name, ok := strings.CutPrefix(record, paxXattr)
		if !ok || !keepXattr(name, root) {
			continue
		}
		err := unix.Fsetxattr(fd, name, []byte(value), 0)
		if err != nil && !errors.Is(err, unix.ENOTSUP) {
			return fmt.Errorf("set attribute %q: %w", shorten(name), err)
		}
	}
	return nil
}

// xattrs sets the kept attributes of a folder.
func (u *unpacker) xattrs(here folder, base string, h *tar.Header) error {
	if len(h.PAXRecords) == 0 {
		return nil
	}
	f, err := here.at.OpenFile(base, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return setXattrs(int(f.Fd()), h, u.root)
}
