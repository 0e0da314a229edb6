package runc

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"unsafe"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer"
)

// The first process of a container joins its cgroups by itself; join.c says why and how. For that the library has to leave the moving
// alone: it offers no such choice, so the cgroup manager inside its container is wrapped in one that moves nobody.

// joining is a cgroup manager whose cgroups exist, and whose processes join by themselves.
type joining struct{ cgroups.Manager }

// Apply implements cgroups.Manager.
func (joining) Apply(int) error { return nil }

// AddPid implements cgroups.Manager.
func (joining) AddPid(string, int) error { return nil }

// managerField is where a container of the library keeps its cgroup manager, or nil if a later library keeps it elsewhere. Then it moves
// processes itself, as it always did.
var managerField = func() []int {
	f, ok := reflect.TypeFor[libcontainer.Container]().FieldByName("cgroupManager")
	if !ok || f.Type != reflect.TypeFor[cgroups.Manager]() {
		return nil
	}
	return f.Index
}()

// managerOf points at the cgroup manager of a container; managerField must not be nil.
func managerOf(c *libcontainer.Container) *cgroups.Manager {
	field := reflect.ValueOf(c).Elem().FieldByIndex(managerField)
	return (*cgroups.Manager)(unsafe.Pointer(field.UnsafeAddr()))
}

// joinOwn makes the cgroups of a new container, and returns what tells its first process to join them.
func (r *Runtime) joinOwn(c *libcontainer.Container, stages *stages) (*os.File, error) {
	if r.cgroup == 0 || managerField == nil {
		return joinList(nil)
	}
	defer stages.done(stageCgroups)
	m := managerOf(c)
	const nobody = -1
	if err := (*m).Apply(nobody); err != nil {
		return nil, fmt.Errorf("make cgroups: %w", err)
	}
	paths := (*m).GetPaths()
	if *m = (joining{*m}); stages != nil {
		*m = measured{*m, stages}
	}
	return joinList(paths)
}

// joinMore is joinOwn for one more process of a container. With v2 the library has it born in its cgroup.
func (r *Runtime) joinMore(c *libcontainer.Container) (*os.File, error) {
	if r.cgroup != 1 || managerField == nil {
		return joinList(nil)
	}
	m := managerOf(c)
	paths := (*m).GetPaths()
	*m = joining{*m}
	return joinList(paths)
}

// joinList writes the lines that join.c reads, into a pipe that is full and closed.
func joinList(paths map[string]string) (*os.File, error) {
	var lines strings.Builder
	seen := map[string]bool{}
	for name, dir := range paths {
		if name != "" && dir != "" && !seen[dir] {
			fmt.Fprintf(&lines, "t %s\n", dir)
		}
		seen[dir] = true
	}
	if dir := paths[""]; dir != "" { // the unified hierarchy
		fmt.Fprintf(&lines, "b %s\n", dir)
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("make list of cgroups: %w", err)
	}
	defer w.Close()
	if _, err := w.WriteString(lines.String()); err != nil {
		r.Close()
		return nil, fmt.Errorf("write list of cgroups: %w", err)
	}
	return r, nil
}

// hierarchies finds where the root of every cgroup hierarchy is mounted, which the library would look for each time.
func (r *Runtime) hierarchies() error {
	if r.cgroup == 0 {
		return nil
	}
	m, err := manager.New(&cgroups.Cgroup{Path: "/", Resources: &cgroups.Resources{}})
	if err != nil {
		return fmt.Errorf("find cgroups: %w", err)
	}
	r.roots = m.GetPaths()
	return nil
}

// pathsOf are the folders of a cgroup in every hierarchy.
func (r *Runtime) pathsOf(path string) map[string]string {
	paths := make(map[string]string, len(r.roots))
	for name, root := range r.roots {
		paths[name] = filepath.Join(root, path)
	}
	return paths
}
