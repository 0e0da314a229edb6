package master_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"golang.org/x/sys/unix"
)

// A full disk stops decisions and nothing else, says so, and is over as soon as there is room.
func TestAFullDisk(t *testing.T) {
	const gib = 1 << 30
	dir := t.TempDir()
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		t.Fatal(err)
	}
	free := int64(fs.Bavail) * fs.Bsize
	if free < 5*gib {
		t.Skipf("this needs 5 GiB of free disk, there are %d MiB", free>>20)
	}
	c := &cluster{dir: dir, repo: newRepository(t, map[string]string{"cluster.hcl": auto(header), "web.hcl": webApp}), api: "127.0.0.1:0", link: "127.0.0.1:0", free: free - gib}
	c.start(t)
	a := joinAgent(t, c, "n1")
	a.run(t)
	before := c.running(t, "shop/web", 3)

	filler := filepath.Join(dir, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Fallocate(int(f.Fd()), 0, 0, 3*gib); err != nil {
		t.Skipf("this file system cannot reserve room: %v", err)
	}
	c.commit(t, "five", map[string]string{"web.hcl": replace(webApp, "count = 3", "count = 5")})
	st := c.status(t, "suspended", func(s *api.Status) bool { return s.Phase == api.PhaseSuspended })
	if len(st.Problems) == 0 || !strings.Contains(st.Problems[0].What, "disk is full") || st.Problems[0].Remedy == "" {
		t.Errorf("%+v", st.Problems)
	}
	if _, err := c.client.Allocations(t.Context(), everyAllocation); statusOf(err) != 503 || !strings.Contains(err.Error(), "disk is full") {
		t.Errorf("the answer meanwhile: %v", err)
	}
	if running, _, stops := a.counts(); running != 3 || stops != 0 {
		t.Errorf("%d run, %d were stopped", running, stops)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	after := c.running(t, "shop/web", 5)
	for i := range before {
		if before[i].ID != after[i].ID {
			t.Errorf("before %s, after %s", describe(before), describe(after))
		}
	}
	if st := c.status(t, "leads again", func(s *api.Status) bool { return s.Phase == api.PhaseLeading }); len(st.Problems) != 0 {
		t.Errorf("%+v", st.Problems)
	}
}
