package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"unsafe"

	"golang.org/x/sys/unix"
)

// firstProject is where the numbers of projects begin: above what people give out.
const firstProject = 0x7100_0000

// projects gives folders to projects of the file system, and the projects limits. Which folder is which project stands in the folder.
type projects struct {
	root string

	mu   sync.Mutex
	used map[uint32]bool
}

// errNoProjects says why there are none.
var errNoProjects = errors.New("it is not mounted with prjquota")

func openProjects(root string) (*projects, error) {
	fd, err := unix.Open(root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	defer unix.Close(fd)
	var state quotaState
	if err := quotactl(fd, qXGetState, 0, unsafe.Pointer(&state)); err != nil {
		return nil, err
	}
	if state.flags&projectEnforced == 0 {
		return nil, errNoProjects
	}
	p := &projects{root: root, used: map[uint32]bool{}}
	// Folders of an earlier agent keep their projects: those of tasks, each in the folder of its allocation.
	folders, err := fs.Glob(os.DirFS(root), "*/*")
	for _, name := range folders {
		if id := projectOf(filepath.Join(root, name)); id >= firstProject {
			p.used[id] = true
		}
	}
	return p, err
}

// set makes a folder a project, unless it is one, and limits it.
func (p *projects) set(path string, limit Amount) error {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("limit disk of %s: %w", path, err)
	}
	defer unix.Close(fd)
	var attr fileAttributes
	if err := ioctl(fd, ioctlGetAttributes, &attr); err != nil {
		return fmt.Errorf("limit disk of %s: read its project: %w", path, err)
	}
	id := attr.project
	if id < firstProject {
		if limit == (Amount{}) {
			return nil
		}
		id = p.take()
		if err := give(fd, id); err != nil {
			return fmt.Errorf("limit disk of %s: give it project %d: %w", path, id, err)
		}
	}
	// The kernel counts in KiB.
	quota := diskQuota{hard: uint64(limit.Bytes+1023) / 1024, inodesHard: uint64(limit.Files), valid: validBlocks | validInodes}
	if err := quotactl(fd, qSetQuota, id, unsafe.Pointer(&quota)); err != nil {
		return fmt.Errorf("limit disk of %s: set quota of project %d: %w", path, id, err)
	}
	return nil
}

// full reports whether a folder's project has as good as nothing left of what it may hold.
func (p *projects) full(path string) bool {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	var attr fileAttributes
	var quota diskQuota
	if ioctl(fd, ioctlGetAttributes, &attr) != nil || attr.project < firstProject || quotactl(fd, qGetQuota, attr.project, unsafe.Pointer(&quota)) != nil {
		return false
	}
	return quota.full()
}

// full reports whether a quota has no file left, or less than a few blocks: one part in a hundred, and 1 MiB at most. A write that does not fit
// may have left a little.
func (q *diskQuota) full() bool {
	const mebibyte = 1 << 10 // in the KiB of the limit
	return q.hard > 0 && q.space/1024 > q.hard-min(q.hard/100, mebibyte) || q.hard > 0 && q.space/1024 >= q.hard ||
		q.inodesHard > 0 && q.inodes >= q.inodesHard
}

// take finds a number that nobody has.
func (p *projects) take() uint32 {
	p.mu.Lock()
	defer p.mu.Unlock()
	id := uint32(firstProject)
	for p.used[id] {
		id++
	}
	p.used[id] = true
	return id
}

// give puts a folder and what is in it into a project; what is made in it later is born there. The folder itself comes last, so that one that is
// of a project is so with all that it holds, whenever the agent ends. A task makes nothing in the folder itself.
func give(fd int, id uint32) error {
	dup, err := unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return err
	}
	dir := os.NewFile(uintptr(dup), "folder")
	defer dir.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(fd, &stat); err != nil {
		return err
	}
	if err := each(dir, uint64(stat.Dev), 0, func(f *os.File, folder bool) error { return giveOne(int(f.Fd()), folder, id) }); err != nil {
		return err
	}
	return giveOne(fd, true, id)
}

func giveOne(fd int, folder bool, id uint32) error {
	var attr fileAttributes
	if err := ioctl(fd, ioctlGetAttributes, &attr); err != nil {
		return err
	}
	attr.project = id
	if folder {
		attr.flags |= flagInherit
	}
	return ioctl(fd, ioctlSetAttributes, &attr)
}

// forget takes the limit of a project away, and lets its number go to another folder.
func (p *projects) forget(id uint32) {
	if id < firstProject {
		return
	}
	if fd, err := unix.Open(p.root, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0); err == nil {
		_ = quotactl(fd, qSetQuota, id, unsafe.Pointer(&diskQuota{valid: validBlocks | validInodes})) // the next who gets the number sets it anew
		unix.Close(fd)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.used, id)
}

// projectOf reads the project of a folder; 0: none.
func projectOf(path string) uint32 {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(fd)
	var attr fileAttributes
	if ioctl(fd, ioctlGetAttributes, &attr) != nil {
		return 0
	}
	return attr.project
}

// What follows is of linux/quota.h, linux/dqblk_xfs.h and linux/fs.h.
const (
	projectQuota       = 2
	qGetQuota          = 0x800007<<8 | projectQuota
	qSetQuota          = 0x800008<<8 | projectQuota
	qXGetState         = ('X'<<8+5)<<8 | projectQuota // of all kinds of quota, also for ext4
	projectEnforced    = 1 << 5
	validBlocks        = 1
	validInodes        = 4
	ioctlGetAttributes = 0x801c581f
	ioctlSetAttributes = 0x401c5820
	flagInherit        = 0x200
)

// quotaState is struct fs_quota_stat.
type quotaState struct {
	version int8
	flags   uint16
	_       [76]byte
}

// diskQuota is struct if_dqblk.
type diskQuota struct {
	hard, soft, space              uint64
	inodesHard, inodesSoft, inodes uint64
	graceOfBlocks, graceOfInodes   uint64
	valid                          uint32
}

// fileAttributes is struct fsxattr.
type fileAttributes struct {
	flags, extent, extents, project, copyExtent uint32
	_                                           [8]byte
}

func quotactl(fd int, command uintptr, id uint32, data unsafe.Pointer) error {
	if _, _, e := unix.Syscall6(unix.SYS_QUOTACTL_FD, uintptr(fd), command, uintptr(id), uintptr(data), 0, 0); e != 0 {
		return e
	}
	return nil
}

func ioctl(fd int, request uintptr, attr *fileAttributes) error {
	if _, _, e := unix.Syscall(unix.SYS_IOCTL, uintptr(fd), request, uintptr(unsafe.Pointer(attr))); e != 0 {
		return e
	}
	return nil
}
