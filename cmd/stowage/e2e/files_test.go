package e2e

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// Files go into a task and out of it with their permissions, and belong to its user there; links that lead out are refused both ways; of a task
// that has ended what it wrote can still be read.
func TestFilesOfATask(t *testing.T) {
	c := newCluster(t, 1)
	c.commit("cluster.hcl", clusterHCL, "web.hcl", webHCL(1, ""), "job.hcl", `app "job" {
  kind = "batch"
  task "main" {
    rootfs  = "host"
    command = ["sh", "-c", "mkdir -p /srv/result; echo 42 > /srv/result/answer; ln -s /etc/passwd /srv/result/out"]
    cpu     = 0.01
    memory  = "16MiB"
  }
}
`)
	c.eventually("the service runs, and the job has ended", func() error {
		all, err := c.allocations()
		if err == nil && !all["shop/web[0]"].Healthy {
			err = errors.New("it does not run")
		}
		if err == nil {
			var out string
			if out, err = c.try("fs", "cat", "job[0]:/srv/result/answer"); err == nil && out != "42\n" {
				err = errors.New(out)
			}
		}
		return err
	})
	from, to := filepath.Join(c.dir, "from"), filepath.Join(c.dir, "to")
	big := make([]byte, 3<<20)
	source := rand.NewChaCha8([32]byte{2})
	_, _ = source.Read(big)
	if err := errors.Join(os.MkdirAll(from+"/sub", 0o755), os.WriteFile(from+"/sub/big", big, 0o750), os.Symlink("sub/big", from+"/link"), os.Symlink("../../etc", from+"/bad"), os.Chmod(from+"/sub", 0o711)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.try("cp", from, "shop/web[0]:/tmp/copy"); err == nil || !strings.Contains(err.Error(), "1 left out") {
		t.Errorf("a link that leads out: %v", err)
	}
	if out := c.cli("exec", "shop/web[0]", "--", "sh", "-c", "cd /tmp/copy; stat -c '%A %U %s %N' sub sub/big link; ls bad"+"; true"); !strings.Contains(out, "drwx--x--x root") ||
		!strings.Contains(out, "-rwxr-x--- root 3145728") || !strings.Contains(out, "'link' -> 'sub/big'") {
		t.Errorf("in the task there is\n%s", out)
	}
	c.cli("cp", "shop/web[0]:/tmp/copy", to)
	got, err := os.ReadFile(to + "/link")
	info, statErr := os.Stat(to + "/sub/big")
	if err = errors.Join(err, statErr); err != nil || !bytes.Equal(got, big) || info.Mode() != 0o750 {
		t.Errorf("what came back: %d bytes, %v, %v", len(got), info, err)
	}
	if list, _ := os.ReadDir(to); len(list) != 2 {
		t.Errorf("what came back: %v", list)
	}
	if _, err := c.try("cp", "job[0]:/srv/result", c.dir+"/result"); err == nil || !strings.Contains(err.Error(), "out of what is copied") {
		t.Errorf("a link that leads out: %v", err)
	}
	if got, err := os.ReadFile(c.dir + "/result/answer"); err != nil || string(got) != "42\n" {
		t.Errorf("%q, %v", got, err)
	}
	for _, args := range [][]string{{"cp", from, "job[0]:/tmp/x"}, {"cp", from, to}, {"fs", "cat", "shop/web[0]:/proc/1/environ"}, {"fs", "cat", "shop/web[0]:/tmp"}, {"fs", "ls", "shop/web[0]:/none"}, {"fs", "ls", "shop/web[0]"}} {
		if out, err := c.try(args...); err == nil {
			t.Errorf("stowage %s: %s", strings.Join(args, " "), out)
		}
	}
	if out := c.cli("fs", "ls", "shop/web[0]:/tmp/copy"); !strings.Contains(out, "link -> sub/big") || !strings.Contains(out, "drwx--x--x") {
		t.Error(out)
	}
}
