package files

import (
	"archive/tar"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// Limits of what is unpacked.
const (
	// maxUnpacked files, folders and links.
	maxUnpacked = 1_000_000
	// maxRefused are told; more are not.
	maxRefused = 20
)

// unpacker writes an archive below one folder.
type unpacker struct {
	base     int    // the folder
	top      string // what the first part of each name becomes; "": it stays
	uid, gid int    // -1: whoever unpacks
	most     int    // entries
	told     func(why string)
	folders  []made // whose modes are set at the end, so that they can be filled
	result   spec.Unpacked
}

// made is a folder that was made: at the end it must still be the same.
type made struct {
	*tar.Header
	device, inode uint64
}

// Unpack writes a tar archive that has one file or folder at its top. If the path is a folder it becomes an entry of that, else it gets the
// path's name. All belongs to the given user and group and has the permissions of the archive, without set-user-ID and set-group-ID. A file takes
// the place of an older one in one step. Links that lead out of what is copied are refused, and all that is no file, folder or link.
func (r *Root) Unpack(name string, archive io.Reader, uid, gid int) (spec.Unpacked, error) {
	u := &unpacker{uid: uid, gid: gid, most: maxUnpacked}
	u.told = func(why string) {
		if len(u.result.Refused) < maxRefused {
			u.result.Refused = append(u.result.Refused, why)
		}
	}
	if err := u.open(r, name); err != nil {
		return spec.Unpacked{}, at(name, err)
	}
	defer unix.Close(u.base)
	return u.unpack(archive)
}

// UnpackHere writes a tar archive of Pack to the entry of that name in a folder of this machine, and nowhere else: whoever made the archive may be
// hostile, so the names at its top count for nothing, and no link is gone through, be it of the archive or one that was there before. A file takes the
// place of an older one in one step; a folder that is there is filled up. All belongs to whoever unpacks. refuse hears of links that lead out
// of what is copied, and of all that is no file, folder or link; they are left out.
func UnpackHere(dir, name string, archive io.Reader, refuse func(why string)) error {
	if name == "" || name == "." || name == ".." || strings.Contains(name, "/") {
		return fmt.Errorf("unpack to %s: %q is no name for a file", dir, name)
	}
	base, err := unix.Open(dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("open %s: %w", dir, err)
	}
	defer unix.Close(base)
	_, err = (&unpacker{base: base, top: name, uid: -1, gid: -1, most: math.MaxInt, told: refuse}).unpack(archive)
	return err
}

func (u *unpacker) unpack(archive io.Reader) (spec.Unpacked, error) {
	t := tar.NewReader(archive)
	for {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return u.result, fmt.Errorf("read archive: %w", err)
		}
		if u.result.Files++; u.result.Files > u.most {
			return u.result, fmt.Errorf("the archive has more than %d entries: copy it in parts", u.most)
		}
		if err := u.entry(h, t); err != nil {
			return u.result, at(h.Name, err)
		}
	}
	return u.result, u.finish()
}

// open finds the folder to write in.
func (u *unpacker) open(r *Root, name string) (err error) {
	how := unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT | unix.RESOLVE_NO_MAGICLINKS}
	u.base, err = openat2(r.fd, clean(name), &how)
	if (err == unix.ENOENT || err == unix.ENOTDIR) && !strings.HasSuffix(name, "/") {
		u.top = path.Base(name)
		if u.top == ".." || u.top == "." {
			return err
		}
		u.base, err = openat2(r.fd, clean(path.Dir(path.Join("/", name))), &how)
	}
	if err != nil {
		return err
	}
	if ofKernel(u.base) {
		unix.Close(u.base)
		return errKernel
	}
	return nil
}

// place is where an entry goes: its path below the base.
func (u *unpacker) place(name string) (string, error) {
	name = strings.TrimSuffix(name, "/")
	if name == "" || path.Clean(name) != name || path.IsAbs(name) || name == "." || name == ".." || strings.HasPrefix(name, "../") {
		return "", errors.New("the archive is not one of stowage cp: the name leads elsewhere")
	}
	if u.top == "" {
		return name, nil
	}
	_, rest, _ := strings.Cut(name, "/")
	return path.Join(u.top, rest), nil
}

func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	name, err := u.place(h.Name)
	if err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir:
	case tar.TypeSymlink:
		if !Inside(name, h.Linkname) { // by where it will stand: its top may have another name there
			u.refuse(fmt.Sprintf("%s leads to %s, out of what is copied", h.Name, h.Linkname))
			return nil
		}
	default:
		u.refuse(h.Name + " is neither a file, a folder nor a link")
		return nil
	}
	parent, err := u.openBelow(path.Dir(name))
	if err != nil {
		return err
	}
	defer unix.Close(parent)
	if ofKernel(parent) {
		return errKernel
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeReg:
		return u.file(parent, base, h, content)
	case tar.TypeSymlink:
		return u.replace(parent, base, func(temporary string) error {
			if err := unix.Symlinkat(h.Linkname, parent, temporary); err != nil {
				return err
			}
			return u.ownLink(parent, temporary)
		})
	}
	return u.folder(parent, base, name, h)
}

func (u *unpacker) refuse(why string) {
	u.result.Files--
	u.told(why)
}

// Inside reports whether a link that stands at a name in an archive leads to something of the archive. Parts ".." are let through at
// the beginning of its target only: behind the name of another link they would lead elsewhere than they seem to.
func Inside(name, target string) bool {
	name = strings.TrimSuffix(name, "/")
	top, _, _ := strings.Cut(name, "/")
	rest := target
	for rest == ".." || strings.HasPrefix(rest, "../") {
		rest = strings.TrimPrefix(strings.TrimPrefix(rest, ".."), "/")
	}
	if path.IsAbs(target) || target == "" || slices.Contains(strings.Split(rest, "/"), "..") {
		return false
	}
	leads := path.Join(path.Dir(name), target)
	return leads == top || strings.HasPrefix(leads, top+"/")
}

// openBelow opens a folder below the base, through no link: those in the archive are not followed, and those that the task puts in the way neither.
func (u *unpacker) openBelow(name string) (int, error) {
	return openat2(u.base, name, &unix.OpenHow{Flags: unix.O_PATH | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
}

func (u *unpacker) folder(parent int, base, name string, h *tar.Header) error {
	err := unix.Mkdirat(parent, base, 0o700)
	if err == unix.EEXIST {
		fd, err := u.openBelow(name)
		if err != nil {
			return err
		}
		unix.Close(fd)
		return nil // it stays as it is
	}
	if err != nil {
		return err
	}
	fd, err := u.openBelow(name)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if int(st.Uid) != unix.Geteuid() || st.Mode&0o77 != 0 {
		return errMoved
	}
	own := *h
	own.Name = name
	u.folders = append(u.folders, made{&own, st.Dev, st.Ino})
	return nil
}

// replace makes something under a name of its own, and then lets it take the place of what is there.
func (u *unpacker) replace(parent int, base string, create func(temporary string) error) error {
	temporary := ".stowage-" + rand.Text()
	err := create(temporary)
	if err == nil {
		err = unix.Renameat(parent, temporary, parent, base)
	}
	if err != nil {
		_ = unix.Unlinkat(parent, temporary, 0)
	}
	return err
}

func (u *unpacker) file(parent int, base string, h *tar.Header, content io.Reader) error {
	return u.replace(parent, base, func(temporary string) error {
		fd, err := unix.Openat(parent, temporary, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0o600)
		if err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), base)
		defer f.Close()
		n, err := io.Copy(f, content)
		u.result.Bytes += spec.Bytes(n)
		if err == nil {
			err = u.dress(fd, h)
		}
		return errors.Join(err, f.Close())
	})
}

// dress gives an open file its owner, permissions and time.
func (u *unpacker) dress(fd int, h *tar.Header) error {
	if err := unix.Fchown(fd, u.uid, u.gid); err != nil {
		return err
	}
	if err := unix.Fchmod(fd, uint32(h.Mode)&0o1777); err != nil {
		return err
	}
	moment := unix.NsecToTimeval(h.ModTime.Truncate(time.Microsecond).UnixNano())
	return unix.Futimes(fd, []unix.Timeval{moment, moment})
}

// ownLink gives a link that was just made its owner. The task may have put something else under its name meanwhile, another link or a
// name more of a file that is not its own: so what is given is held by a descriptor, looked at, and has this name only.
func (u *unpacker) ownLink(parent int, name string) error {
	fd, err := unix.Openat(parent, name, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFLNK || st.Nlink != 1 {
		return errMoved
	}
	return unix.Fchownat(fd, "", u.uid, u.gid, unix.AT_EMPTY_PATH)
}

// errMoved ends a copy into which somebody moved something of his own.
var errMoved = errors.New("something else was moved to its name while it was copied")

// finish gives folders their permissions, the innermost first.
func (u *unpacker) finish() error {
	for _, h := range slices.Backward(u.folders) {
		fd, err := openat2(u.base, h.Name, &unix.OpenHow{Flags: unix.O_RDONLY | unix.O_DIRECTORY | unix.O_CLOEXEC, Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS})
		if err == nil {
			err = u.dressFolder(fd, h)
			unix.Close(fd)
		}
		if err != nil {
			return at(h.Name, err)
		}
	}
	return nil
}

func (u *unpacker) dressFolder(fd int, h made) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Dev != h.device || st.Ino != h.inode {
		return errMoved
	}
	return u.dress(fd, h.Header)
}
