package main

import (
	"errors"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stowage/stowage/agent/executor"
)

// nobody is who runs the executor where root does not.
const nobody = 65534

func TestWithoutRoot(t *testing.T) {
	needRoot(t) // to become somebody else
	dir := ofNobody(t)
	n := startNodeAs(t, dir, &syscall.Credential{Uid: nobody, Gid: nobody})
	f, err := n.client.Ping(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if !f.Rootless || f.Cgroup != 0 || f.Overlay || len(f.Missing) == 0 || !strings.Contains(strings.Join(f.Missing, " "), "memory") {
		t.Errorf("features %+v", f)
	}
	if !f.UserNamespace {
		if _, err := n.client.Start(t.Context(), n.host("a", "true")); !errors.Is(err, executor.ErrUnsupported) {
			t.Errorf("without user namespaces: %v", err)
		}
		t.Skip("the kernel allows no user namespaces without root")
	}
	out := n.inside(n.host("readonly", `id -u; touch /x 2>/dev/null || echo read-only; touch /tmp/x && echo tmp; grep ^Seccomp: /proc/self/status; ls -A /home /root /run | tr -d '\n'`))
	if !strings.HasPrefix(out, "0\nread-only\ntmp\nSeccomp:\t2\n") {
		t.Errorf("read-only root: %q", out)
	}
	spec := n.host("writable", "touch /var/lib/x && echo written; touch /etc/x 2>/dev/null || echo etc read-only")
	spec.Root.Writable = filepath.Join(dir, "upper")
	if out := n.inside(spec); out != "written\netc read-only\n" {
		t.Errorf("writable root: %q", out)
	}
	layers := n.host("layers", "true")
	layers.Root = executor.Root{Kind: executor.RootLayers, Layers: []string{dir}}
	if _, err := n.client.Start(t.Context(), layers); !errors.Is(err, executor.ErrUnsupported) {
		t.Errorf("images: %v", err)
	}
	if _, err := n.client.Start(t.Context(), n.host("stays", "exec sleep 1000")); err != nil {
		t.Fatal(err)
	}
	n.crash()
	n.start()
	if c, err := n.client.Get(t.Context(), "stays"); err != nil || c.State != executor.StateRunning {
		t.Errorf("after a crash: %+v, %v", c, err)
	}
	if err := n.client.Delete(t.Context(), "stays"); err != nil {
		t.Error(err)
	}
}
