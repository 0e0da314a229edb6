package runc

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/stowage/stowage/agent/executor"
	"golang.org/x/sys/unix"
)

// A root is put together in the executor's mount namespace, below DIR/run/ID:
//
//	host, read-only    the skeleton (skeleton.go), shared by all containers
//	host, writable     an overlay of the skeleton, layers if there are any, and the writable directory
//	layers             an overlay of the layers and the writable directory
//
// The container takes a copy of it into its own mount namespace, and the executor's is undone at once, so that the next container
// does not copy it too. In a host root the node's program folders are mounted read-only on top, by the container itself.

// root is a root file system ready to be used.
type root struct {
	path    string
	mounted bool
	mounts  []*configs.Mount
	// writable says that the container may write to it.
	writable bool
}

// makeRoot mounts what a spec asks for. The caller calls release when the container has its copy, or never will.
func (r *Runtime) makeRoot(spec *executor.Spec, dir string) (root, error) {
	var out root
	if spec.Root.Kind == executor.RootHost {
		out.mounts = r.programMounts()
	}
	if r.rootless {
		return r.rootlessRoot(spec, out)
	}
	if spec.Root.Kind == executor.RootHost && spec.Root.Writable == "" && len(spec.Mounts)+len(spec.Tmpfs)+len(spec.Root.Layers) == 0 {
		out.path = r.skeleton
		return out, nil
	}
	lower := spec.Root.Layers
	if spec.Root.Kind == executor.RootHost {
		lower = append([]string{r.skeleton}, lower...)
	}
	out.path = filepath.Join(dir, "root")
	if err := os.MkdirAll(out.path, 0o711); err != nil {
		return out, fmt.Errorf("make root: %w", err)
	}
	upper := spec.Root.Writable
	if upper == "" {
		// What is mounted needs a place even in a root that nobody writes to.
		upper = filepath.Join(dir, "places")
		if err := makePlaces(upper, lower, spec); err != nil {
			return out, err
		}
		lower = append(slices.Clone(lower), upper)
		upper = ""
	}
	options, err := overlayOptions(lower, upper)
	if err != nil {
		return out, err
	}
	if spec.Root.UserXattr {
		options += ",userxattr"
	}
	if err := r.mountRoot(spec, out.path, options); err != nil {
		return out, err
	}
	out.mounted, out.writable = true, upper != ""
	return out, nil
}

// overlayOptions names the layers, the highest first as the kernel wants it. Beside the writable directory it makes the work
// directory that the kernel needs on the same file system.
func overlayOptions(lower []string, upper string) (string, error) {
	down := slices.Clone(lower)
	slices.Reverse(down)
	options := "lowerdir=" + strings.Join(down, ":")
	if upper == "" {
		return options, nil
	}
	work := workDir(upper)
	for _, dir := range []string{upper, work} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return "", fmt.Errorf("make writable layer: %w", err)
		}
	}
	return options + ",upperdir=" + upper + ",workdir=" + work, nil
}

func workDir(upper string) string { return filepath.Clean(upper) + ".work" }

// makePlaces makes a layer with the mount points that a read-only root lacks. A single layer without any still counts as one.
func makePlaces(dir string, lower []string, spec *executor.Spec) error {
	if err := os.Mkdir(dir, 0o755); err != nil {
		return fmt.Errorf("make mount points: %w", err)
	}
	base := []executor.Mount{{Source: "/", Target: "/proc"}, {Source: "/", Target: "/sys"}, {Source: "/", Target: "/dev"}, {Source: "/", Target: "/tmp"}}
	for _, m := range append(base, targets(spec)...) {
		if existsIn(lower, m.Target) {
			continue
		}
		info, err := os.Stat(m.Source)
		if err != nil {
			return executor.Errorf(executor.CodeInvalid, "mount source %s: %v", m.Source, err)
		}
		place := filepath.Join(dir, filepath.Clean("/"+m.Target))
		if info.IsDir() {
			err = os.MkdirAll(place, 0o755)
		} else if err = os.MkdirAll(filepath.Dir(place), 0o755); err == nil {
			err = os.WriteFile(place, nil, 0o644)
		}
		if err != nil {
			return fmt.Errorf("make mount point: %w", err)
		}
	}
	return nil
}

// existsIn reports whether a layer has the path, without following links, which mean something else on the node.
func existsIn(layers []string, path string) bool {
	for _, layer := range layers {
		if _, err := os.Lstat(filepath.Join(layer, path)); err == nil {
			return true
		}
	}
	return false
}

// programMounts show the node's programs.
func (r *Runtime) programMounts() []*configs.Mount {
	var all []*configs.Mount
	for _, name := range r.folders {
		all = append(all, &configs.Mount{
			Device: "bind", Source: "/" + name, Destination: "/" + name,
			Flags: unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY | unix.MS_NOSUID | unix.MS_NODEV,
		})
	}
	return all
}

// rootlessRoot does without overlays: a writable host root is the writable directory itself with folders to mount on.
func (r *Runtime) rootlessRoot(spec *executor.Spec, out root) (root, error) {
	if len(spec.Root.Layers) > 0 {
		return out, executor.Errorf(executor.CodeUnsupported, "images and artifacts need overlay mounts, and these need an executor that runs as root")
	}
	if spec.Root.Writable == "" {
		out.path = r.skeleton
		return out, nil
	}
	for _, name := range append(slices.Clone(emptyFolders), r.folders...) {
		if err := os.MkdirAll(filepath.Join(spec.Root.Writable, name), 0o755); err != nil {
			return out, fmt.Errorf("make writable root: %w", err)
		}
	}
	for _, name := range programFolders {
		link := filepath.Join(r.skeleton, name)
		if info, err := os.Lstat(link); err != nil || info.Mode()&os.ModeSymlink == 0 {
			continue
		}
		if err := copyLink(link, filepath.Join(spec.Root.Writable, name)); err != nil && !errors.Is(err, os.ErrExist) {
			return out, fmt.Errorf("make writable root: %w", err)
		}
	}
	out.mounts = append(out.mounts, &configs.Mount{
		Device: "bind", Source: filepath.Join(r.skeleton, "etc"), Destination: "/etc", Flags: unix.MS_BIND | unix.MS_REC | unix.MS_RDONLY,
	})
	out.path, out.writable = spec.Root.Writable, true
	return out, nil
}

// release undoes the executor's mount of a root.
func (out root) release() error {
	if !out.mounted {
		return nil
	}
	if err := unix.Unmount(out.path, unix.MNT_DETACH); err != nil && !errors.Is(err, unix.EINVAL) {
		return fmt.Errorf("unmount root: %w", err)
	}
	return nil
}
