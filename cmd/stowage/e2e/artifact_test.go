package e2e

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// shelf is nginx with a folder of files, as people offer artifacts. Below /slow/ it sends them slowly.
type shelf struct {
	t      *testing.T
	dir    string
	prefix string
	url    string
}

func newShelf(t *testing.T) *shelf {
	t.Helper()
	if _, err := exec.LookPath("nginx"); err != nil {
		t.Fatal("nginx is needed as the server of files: install nginx-light")
	}
	dir := t.TempDir()
	s := &shelf{t: t, dir: dir + "/files", prefix: dir}
	address := freePort(t)
	s.url = "http://" + address
	config := fmt.Sprintf(`daemon off;
user root;
pid %[1]s/nginx.pid;
error_log %[1]s/error.log;
worker_processes 1;
events {}
http {
  log_format own '$uri $status $http_range';
  access_log %[1]s/access.log own;
  client_body_temp_path %[1]s; proxy_temp_path %[1]s; fastcgi_temp_path %[1]s; uwsgi_temp_path %[1]s; scgi_temp_path %[1]s;
  server {
    listen %[2]s;
    root %[1]s/files;
    location /slow/ { alias %[1]s/files/; limit_rate 4m; }
  }
}
`, dir, address)
	if err := errors.Join(os.Mkdir(s.dir, 0o755), os.WriteFile(dir+"/nginx.conf", []byte(config), 0o644)); err != nil {
		t.Fatal(err)
	}
	p := start(t, "nginx", dir+"/nginx.log", "nginx", "-p", dir, "-c", dir+"/nginx.conf", "-e", dir+"/error.log")
	t.Cleanup(func() {
		_ = p.cmd.Process.Signal(os.Interrupt)
		<-p.done
	})
	for {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return s
		}
		select {
		case <-p.done:
			text, _ := os.ReadFile(p.log)
			t.Fatalf("nginx ended: %s", text)
		default:
		}
	}
}

// put offers a file and returns its checksum.
func (s *shelf) put(name string, data []byte) string {
	s.t.Helper()
	if err := os.WriteFile(s.dir+"/"+name, data, 0o644); err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// pack offers a folder as a tar archive, compressed.
func (s *shelf) pack(name, dir string) string {
	s.t.Helper()
	data, err := exec.Command("tar", "-C", dir, "-cz", ".").Output()
	if err != nil {
		s.t.Fatal(err)
	}
	return s.put(name, data)
}

// asked lists the requests for a file: status and range.
func (s *shelf) asked(uri string) (all []string) {
	s.t.Helper()
	text, err := os.ReadFile(s.prefix + "/access.log")
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), uri+" "); ok {
			all = append(all, rest)
		}
	}
	return all
}

func artifactHCL(command, more, artifacts string) string {
	return fmt.Sprintf(`app "fetch" {
  count = 2
  update { healthy_for = "0s" }
  task "main" {
    rootfs  = "host"
    command = ["sh", "-c", %q]
    cpu     = 0.01
    memory  = "16MiB"
%s
%s
  }
}
`, command, more, artifacts)
}

// TestArtifacts: two allocations have what was fetched once, of their user; what one of them changes the other does not see; another checksum is a change
// of the task; what a server has is another than the commit says, and the allocations that run stay.
func TestArtifacts(t *testing.T) {
	c := newCluster(t, 1)
	s := newShelf(t)
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(dir+"/app-1", 0o755), os.WriteFile(dir+"/app-1/motd", []byte("this is one\n"), 0o640), os.Symlink("motd", dir+"/app-1/link")); err != nil {
		t.Fatal(err)
	}
	one := s.pack("app.tar.gz", dir)
	tool := s.put("tool", []byte("#!/bin/sh\necho tool of $(id -u)\n"))
	const command = `cat /opt/app/link && /tmp/tool && stat -c '%n %u:%g %a' /opt /opt/app /opt/app/motd /tmp /tmp/tool && echo x >> /opt/app/motd && exec sleep 1000000`
	artifacts := func(sum string) string {
		return fmt.Sprintf("    artifact \"/opt/app\" {\n      source = \"%s/app.tar.gz\"\n      checksum = %q\n      strip = 1\n    }\n    artifact \"/tmp/\" {\n      source = \"%s/tool\"\n      checksum = %q\n      mode = \"0755\"\n    }\n",
			s.url, sum, s.url, tool)
	}
	user := `    user = "1000:1001"`
	said := func(message string) string {
		return message + "\ntool of 1000\n/opt 0:0 755\n/opt/app 1000:1001 755\n/opt/app/motd 1000:1001 640\n/tmp 0:0 1777\n/tmp/tool 1000:1001 755"
	}
	c.commit("cluster.hcl", clusterHCL, "fetch.hcl", artifactHCL(command, user, artifacts(one)))
	c.runsImage(2, "fetch", said("this is one"))
	for _, uri := range []string{"/app.tar.gz", "/tool"} {
		if asked := s.asked(uri); len(asked) != 1 {
			t.Errorf("%s was asked for %d times: %q", uri, len(asked), asked)
		}
	}

	if err := os.WriteFile(dir+"/app-1/motd", []byte("this is two\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	two := s.pack("app.tar.gz", dir)
	c.write("fetch.hcl", artifactHCL(command, user, artifacts(two)))
	if out := c.cli("plan", "./"); !strings.Contains(out, "task.main.artifact./opt/app.checksum") || !strings.Contains(out, "replaces 2") {
		t.Errorf("the plan does not say that the artifact changes:\n%s", out)
	}
	c.commit()
	c.runsImage(2, "fetch", said("this is two"))

	before := ids(c.healthy(2))
	wrong := "sha256:" + strings.Repeat("0", 64)
	c.commit("fetch.hcl", artifactHCL(command, user+"\n    # again", artifacts(wrong)))
	c.eventually("it is told that the checksum is wrong", func() error {
		out, err := c.try("explain", "fetch")
		if err != nil {
			return err
		}
		if !strings.Contains(out, "its checksum is "+two+", and "+wrong+" is expected") {
			return errors.New(out)
		}
		return nil
	})
	if now := ids(c.healthy(2)); fmt.Sprint(now) != fmt.Sprint(before) && len(now) != 2 {
		t.Errorf("allocations %v were replaced by %v", before, now)
	}
}

// offerRepository serves the repository of the cluster by git's own server.
func (c *cluster) offerRepository() string {
	c.t.Helper()
	program, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		c.t.Fatal(err)
	}
	server := httptest.NewServer(&cgi.Handler{Path: strings.TrimSpace(string(program)) + "/git-http-backend",
		Env: []string{"GIT_PROJECT_ROOT=" + c.repo, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}})
	c.t.Cleanup(server.Close)
	return server.URL + "/.git"
}

// TestArtifactOfARepository: a task has a folder of a commit, in a user's hands, and another commit is another task.
func TestArtifactOfARepository(t *testing.T) {
	c := newCluster(t, 1)
	url := c.offerRepository()
	one := c.commit("cluster.hcl", clusterHCL, "site/index.html", "this is one\n")
	artifact := func(commit string) string {
		return fmt.Sprintf("    artifact \"/srv/site\" {\n      git    = %q\n      commit = %q\n      folder = \"site\"\n    }\n", url, commit)
	}
	const command = `cat /srv/site/index.html && ls -A /srv/site && stat -c %u /srv/site/index.html && exec sleep 1000000`
	two := c.commit("fetch.hcl", artifactHCL(command, `    user = "1000:1001"`, artifact(one)), "site/index.html", "this is two\n")
	c.runsImage(2, "fetch", "this is one\nindex.html\n1000")
	c.commit("fetch.hcl", artifactHCL(command, `    user = "1000:1001"`, artifact(two)))
	c.runsImage(2, "fetch", "this is two\nindex.html\n1000")
}

// TestArtifactUnderKills: an agent that is killed in the middle of a download goes on where it was; what a task has stays what it has.
func TestArtifactUnderKills(t *testing.T) {
	c := newCluster(t, 1)
	s := newShelf(t)
	sum := s.put("large", []byte(strings.Repeat("0123456789abcdef", 1<<20)))
	c.commit("cluster.hcl", clusterHCL, "fetch.hcl", artifactHCL("sha256sum /opt/large | cut -c1-64; exec sleep 1000000", "    isolation {\n      read_only_root = true\n    }",
		fmt.Sprintf("    artifact \"/opt/large\" {\n      source = \"%s/slow/large\"\n      checksum = %q\n    }\n", s.url, sum)))
	c.eventually("it is told how far the download is", func() error {
		all, err := c.allocations()
		if err != nil {
			return err
		}
		for _, a := range all {
			if strings.Contains(a.Reason, "fetching artifact /opt/large: ") && strings.Contains(a.Reason, " of 16.0 MiB (") {
				return nil
			}
		}
		return fmt.Errorf("%+v", all)
	})
	n := c.agents[0]
	n.proc.kill9()
	c.startAgent(n)
	c.runsImage(2, "fetch", strings.TrimPrefix(sum, "sha256:"))
	resumed := false
	for _, one := range s.asked("/slow/large") {
		resumed = resumed || strings.HasPrefix(one, "206 bytes=")
	}
	if !resumed {
		t.Errorf("it was not gone on with: %q", s.asked("/slow/large"))
	}
	if left, _ := os.ReadDir(n.dir + "/images/downloads"); len(left) != 0 {
		t.Errorf("of the downloads are left %v", left)
	}
}
