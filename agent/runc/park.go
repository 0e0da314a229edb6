package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	pathrs "github.com/cyphar/filepath-securejoin/pathrs-lite"
	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// A container that is parked for later waits in run.c, where it takes a few pages of memory, and ends with the executor. What it was made
// of is looked at again when it is released: a day may have passed.

// parkOn lets a container go on from its FIFO, where it waits with a Go runtime, to where it waits without one.
func (r *Runtime) parkOn(p *parked) error {
	awaitThread(p.thread)
	err := r.unpark(p.spec.ID, p.pid)
	if err != nil {
		_ = unix.Kill(p.pid, unix.SIGKILL)
		for {
			if _, again := unix.Wait4(p.pid, nil, 0, nil); again != unix.EINTR {
				break
			}
		}
	}
	return err
}

// letGo releases a container that this executor made.
func (r *Runtime) letGo(p *parked) error {
	if p.hold == nil {
		awaitThread(p.thread)
		return r.unpark(p.spec.ID, p.pid)
	}
	if err := p.stale(); err != nil {
		return err
	}
	if _, err := p.hold.Write([]byte{0}); err != nil {
		return fmt.Errorf("release container: it has died: %w", err)
	}
	return nil
}

// stale returns an error with CodeState if the container would not be made today as it was: its user is another one, or its working directory
// or the source of a mount stands for another file. Its limits are those of the spec.
func (p *parked) stale() error {
	root := fmt.Sprintf("/proc/%d/root", p.pid)
	who, err := identify(p.spec.User, p.spec.Groups, root)
	if err != nil || !reflect.DeepEqual(who, p.who) {
		return executor.Errorf(executor.CodeState, "the accounts of container %q have changed since it was parked", p.spec.ID)
	}
	sources, err := sourcesOf(p.spec)
	if err != nil || !slices.Equal(sources, p.sources) {
		return executor.Errorf(executor.CodeState, "the source of a mount of container %q has changed since it was parked", p.spec.ID)
	}
	dir, err := pathrs.OpenInRoot(root, orRoot(p.spec.Dir))
	if err != nil {
		return executor.Errorf(executor.CodeState, "the working directory of container %q has changed since it was parked: %v", p.spec.ID, err)
	}
	defer dir.Close()
	now, err := dir.Stat()
	if err != nil {
		return fmt.Errorf("look at the working directory: %w", err)
	}
	was, err := os.Stat(fmt.Sprintf("/proc/%d/cwd", p.pid))
	if err != nil {
		return fmt.Errorf("look at the working directory: %w", err)
	}
	if !os.SameFile(was, now) {
		return executor.Errorf(executor.CodeState, "the working directory of container %q has changed since it was parked", p.spec.ID)
	}
	return nil
}

// source is which file a path of the node stands for, and through which mount: a file system mounted over it may have the same numbers.
type source struct {
	major, minor uint32
	inode, mount uint64
}

// sourcesOf looks at what the mounts of a spec are mounted from. What is mounted later below a source does not show.
func sourcesOf(spec *executor.Spec) ([]source, error) {
	all := make([]source, 0, len(spec.Mounts))
	for _, m := range spec.Mounts {
		var s unix.Statx_t
		if err := unix.Statx(unix.AT_FDCWD, m.Source, unix.AT_NO_AUTOMOUNT, unix.STATX_INO|unix.STATX_MNT_ID, &s); err != nil {
			return nil, fmt.Errorf("look at the source %s of a mount: %w", m.Source, err)
		}
		all = append(all, source{s.Dev_major, s.Dev_minor, s.Ino, s.Mnt_id})
	}
	return all, nil
}

// close gives up what releases a container and tells of it; one that waits in run.c ends.
func (p *parked) close() error {
	var errs []error
	for _, f := range []*os.File{p.status, p.hold} {
		if f != nil {
			errs = append(errs, f.Close())
		}
	}
	return errors.Join(errs...)
}

// kept is the overlay of a container whose spec wants its root kept. A second overlay of the same writable layer would not know what is
// written through the first, as the kernel's documentation of overlayfs has it, so a container that is made while another one has that
// layer is given the mount that there is.
type kept struct {
	tree    int             // a mount that is nowhere attached
	options string          // that it was made with
	users   map[string]bool // the containers that have it
}

// mountRoot mounts the overlay of a spec on a path.
func (r *Runtime) mountRoot(spec *executor.Spec, path, options string) error {
	if !spec.Root.Kept || spec.Root.Writable == "" {
		return mountOverlay(path, options)
	}
	layer := filepath.Clean(spec.Root.Writable)
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[layer]
	if k != nil && k.options != options {
		return executor.Errorf(executor.CodeState, "container %q: another one has the writable layer, on other layers", spec.ID)
	}
	var err error
	if k == nil {
		k = &kept{tree: -1, options: options, users: map[string]bool{}}
		err = mountOverlay(path, options)
	} else {
		// The copy is used up by attaching it, and made anew.
		err = unix.MoveMount(k.tree, "", unix.AT_FDCWD, path, unix.MOVE_MOUNT_F_EMPTY_PATH)
	}
	if err != nil {
		return fmt.Errorf("mount root: %w", err)
	}
	if k.tree >= 0 {
		unix.Close(k.tree)
	}
	k.tree, err = unix.OpenTree(unix.AT_FDCWD, path, unix.OPEN_TREE_CLONE|unix.OPEN_TREE_CLOEXEC)
	if err != nil {
		delete(r.kept, layer)
		return errors.Join(fmt.Errorf("keep root: %w", err), unix.Unmount(path, unix.MNT_DETACH))
	}
	k.users[spec.ID] = true
	r.kept[layer] = k
	return nil
}

func mountOverlay(path, options string) error {
	if err := unix.Mount("overlay", path, "overlay", 0, options); err != nil {
		return fmt.Errorf("mount overlay of %d layers: %w", strings.Count(options, ":")+1, err)
	}
	return nil
}

// forgetRoot notes that a container has ended, and reports whether no other one has its writable layer.
func (r *Runtime) forgetRoot(spec *executor.Spec) bool {
	layer := filepath.Clean(spec.Root.Writable)
	r.mu.Lock()
	defer r.mu.Unlock()
	k := r.kept[layer]
	if k == nil {
		return true
	}
	delete(k.users, spec.ID)
	if len(k.users) > 0 {
		return false
	}
	unix.Close(k.tree)
	delete(r.kept, layer)
	return true
}
