package runc

import (
	"io"
	"testing"

	"github.com/opencontainers/cgroups"
	"github.com/opencontainers/cgroups/manager"
	"github.com/opencontainers/runc/libcontainer"
)

// A library that keeps its cgroup manager elsewhere would cost every start a wait of the kernel, and nothing else would tell.
func TestLibraryLetsItsManagerBeWrapped(t *testing.T) {
	if managerField == nil {
		t.Fatal("libcontainer.Container has no field cgroupManager of type cgroups.Manager any more: see join.go")
	}
	var c libcontainer.Container
	*managerOf(&c) = joining{}
	if _, ok := (*managerOf(&c)).(joining); !ok {
		t.Error("the manager of a container is not the one that it was given")
	}
}

func TestJoinList(t *testing.T) {
	for _, c := range []struct {
		paths map[string]string
		want  string
	}{
		{nil, ""},
		{map[string]string{"": "/sys/fs/cgroup/a"}, "b /sys/fs/cgroup/a\n"},
		{map[string]string{"pids": "/sys/fs/cgroup/pids/a", "": "/sys/fs/cgroup/unified/a"}, "t /sys/fs/cgroup/pids/a\nb /sys/fs/cgroup/unified/a\n"},
		{map[string]string{"cpu": "/c/a", "cpuacct": "/c/a", "rdma": ""}, "t /c/a\n"}, // mounted together; not mounted
	} {
		list, err := joinList(c.paths)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(list)
		if list.Close(); err != nil || string(got) != c.want {
			t.Errorf("%v: %q, %v; want %q", c.paths, got, err, c.want)
		}
	}
}

// What is told as a cgroup's folders is what the library would find.
func TestFoldersOfACgroup(t *testing.T) {
	r := &Runtime{cgroup: 1}
	if cgroups.IsCgroup2UnifiedMode() {
		r.cgroup = 2
	}
	if err := r.hierarchies(); err != nil {
		t.Skipf("no cgroups here: %v", err)
	}
	const path = "/stowage-test/one"
	m, err := manager.New(&cgroups.Cgroup{Path: path, Resources: &cgroups.Resources{}})
	if err != nil {
		t.Fatal(err)
	}
	got, want := r.pathsOf(path), m.GetPaths()
	if len(got) != len(want) || len(got) == 0 {
		t.Errorf("%v, want %v", got, want)
	}
	for name, dir := range want {
		if got[name] != dir {
			t.Errorf("%q: %q, want %q", name, got[name], dir)
		}
	}
}
