package artifact

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// gitServer is git's own server of a repository with a few commits, named first and last.
type gitServer struct {
	t           *testing.T
	dir         string
	url         string
	first, last string
}

func (g *gitServer) git(args ...string) string {
	g.t.Helper()
	cmd := exec.Command("git", append([]string{"-C", g.dir + "/tree"}, args...)...)
	cmd.Env = append(os.Environ(), "GIT_AUTHOR_NAME=t", "GIT_AUTHOR_EMAIL=t@example.com", "GIT_COMMITTER_NAME=t", "GIT_COMMITTER_EMAIL=t@example.com", "GIT_CONFIG_GLOBAL=/dev/null")
	out, err := cmd.CombinedOutput()
	if err != nil {
		g.t.Fatalf("git %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (g *gitServer) write(name, text string, mode os.FileMode) {
	g.t.Helper()
	file := filepath.Join(g.dir, "tree", name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		g.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), mode); err != nil {
		g.t.Fatal(err)
	}
}

func (g *gitServer) commit() string {
	g.t.Helper()
	g.git("add", "-A")
	g.git("commit", "-qm", "x")
	return g.git("rev-parse", "HEAD")
}

func newGitServer(t *testing.T) *gitServer {
	t.Helper()
	program, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal("git is needed as the server of repositories")
	}
	g := &gitServer{t: t, dir: t.TempDir()}
	if err := os.Mkdir(g.dir+"/tree", 0o755); err != nil {
		t.Fatal(err)
	}
	g.git("init", "-q", "-b", "main")
	g.write("site/index.html", "one", 0o644)
	g.write("bin/tool", "run", 0o755)
	if err := os.Symlink("../site", g.dir+"/tree/bin/link"); err != nil {
		t.Fatal(err)
	}
	g.first = g.commit()
	g.git("tag", "-am", "first", "v1")
	g.write("site/index.html", "two", 0o644)
	if err := os.Mkdir(g.dir+"/tree/other", 0o755); err != nil { // another repository, which is not there
		t.Fatal(err)
	}
	g.git("update-index", "--add", "--cacheinfo", "160000,"+g.first+",other")
	g.last = g.commit()
	backend := &cgi.Handler{Path: strings.TrimSpace(string(program)) + "/git-http-backend", Env: []string{"GIT_PROJECT_ROOT=" + g.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); strings.HasPrefix(r.URL.Path, "/closed/") {
			if password != "secret" {
				w.Header().Set("WWW-Authenticate", "Basic")
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			r.URL.Path = strings.TrimPrefix(r.URL.Path, "/closed")
		}
		backend.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	g.url = server.URL
	return g
}

// checkOut lists what comes of a commit, and how large its pack is.
func checkOut(t *testing.T, f *Fetcher, a *spec.Artifact, commit string) (all []string, got string, size int64, err error) {
	t.Helper()
	file := spool(t)
	if got, err = f.Clone(t.Context(), a, commit, file, plenty, nil); err != nil {
		return nil, "", 0, err
	}
	info, err := file.Stat()
	if err != nil {
		t.Fatal(err)
	}
	err = f.CheckOut(t.Context(), a, got, file, plenty, func(from io.Reader) error {
		r := tar.NewReader(from)
		for {
			h, err := r.Next()
			if err == io.EOF {
				_, err := io.Copy(io.Discard, from)
				return err
			}
			if err != nil {
				return err
			}
			data, err := io.ReadAll(r)
			if err != nil {
				return err
			}
			all = append(all, strings.TrimSpace(fmt.Sprintf("%s %o %s%s", h.Name, h.Mode, h.Linkname, data)))
		}
	})
	return all, got, info.Size(), err
}

func TestRepositories(t *testing.T) {
	g := newGitServer(t)
	for range 20 { // a history that shows in the size of what is fetched
		g.write("large", strings.Repeat(g.git("rev-parse", "HEAD"), 10), 0o644)
		g.commit()
	}
	g.git("rm", "-q", "large")
	g.git("branch", "side", g.last)
	whole := g.commit()
	old := []string{"./ 755", "bin/ 755", "bin/link 644 ../site", "bin/tool 755 run", "site/ 755", "site/index.html 644 one"}
	now := []string{"./ 755", "bin/ 755", "bin/link 644 ../site", "bin/tool 755 run", "other/ 755", "site/ 755", "site/index.html 644 two"}
	url := g.url + "/tree/.git"
	f := &Fetcher{}
	const little = 2000
	for name, c := range map[string]struct {
		artifact spec.Artifact
		commit   string
		want     []string
		is       string
		most     int64
	}{
		"the newest of a branch":  {spec.Artifact{Git: url}, whole, now, whole, little},
		"the default branch":      {spec.Artifact{Git: url}, "", now, whole, little},
		"a branch":                {spec.Artifact{Git: url, Ref: "side"}, "", now, g.last, little},
		"a tag":                   {spec.Artifact{Git: url, Ref: "v1"}, "", old, g.first, little},
		"what a tag means":        {spec.Artifact{Git: url}, g.first, old, g.first, little},
		"a folder":                {spec.Artifact{Git: url, Folder: "site"}, whole, []string{"./ 755", "index.html 644 two"}, whole, little},
		"an old one of a branch":  {spec.Artifact{Git: url, Ref: "side"}, g.first, old, g.first, little},
		"an old one, not allowed": {spec.Artifact{Git: url}, g.git("rev-parse", "HEAD~1"), nil, g.git("rev-parse", "HEAD~1"), plenty},
	} {
		all, got, size, err := checkOut(t, f, &c.artifact, c.commit)
		if err != nil || got != c.is || c.want != nil && !slices.Equal(all, c.want) || size > c.most {
			t.Errorf("%s: %s, %d bytes, %q, %v", name, got, size, all, err)
		}
	}
	g.git("config", "uploadpack.allowReachableSHA1InWant", "true")
	if _, _, size, err := checkOut(t, f, &spec.Artifact{Git: url}, g.git("rev-parse", "HEAD~1")); err != nil || size > little {
		t.Errorf("an old one, allowed: %d bytes, %v", size, err)
	}
	for name, c := range map[string]struct {
		artifact    spec.Artifact
		commit, say string
	}{
		"no such branch":     {spec.Artifact{Git: url, Ref: "nowhere"}, "", "no branch or tag of that name"},
		"no such repository": {spec.Artifact{Git: g.url + "/nothing.git"}, "", "no such repository"},
		"no such folder":     {spec.Artifact{Git: url, Folder: "site/x"}, whole, `there is no folder "x"`},
		"no such commit":     {spec.Artifact{Git: url}, strings.Repeat("1", 40), ""},
		"not for everybody":  {spec.Artifact{Git: g.url + "/closed/tree/.git"}, "", "credentials of the node"},
	} {
		if all, _, _, err := checkOut(t, f, &c.artifact, c.commit); err == nil || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %q, %v", name, all, err)
		}
	}
	f.Credentials = func(context.Context, string) (Credentials, error) {
		return Credentials{User: "me", Password: "secret"}, nil
	}
	if _, got, _, err := checkOut(t, f, &spec.Artifact{Git: g.url + "/closed/tree/.git"}, ""); err != nil || got != whole {
		t.Errorf("with credentials: %s, %v", got, err)
	}
	file := spool(t)
	if _, err := f.Clone(t.Context(), &spec.Artifact{Git: url}, "", file, 100, nil); err == nil || !strings.Contains(err.Error(), "larger disk") {
		t.Errorf("more than the task has: %v", err)
	}
}

// TestPacksAreNotTrusted: what is in a pack is found by its hash only, and a pack that is none is told as that.
func TestPacksAreNotTrusted(t *testing.T) {
	g := newGitServer(t)
	a := &spec.Artifact{Git: g.url + "/tree/.git"}
	file := spool(t)
	f := &Fetcher{}
	if _, err := f.Clone(t.Context(), a, g.last, file, plenty, nil); err != nil {
		t.Fatal(err)
	}
	pack := content(t, file)
	nothing := func(r io.Reader) error { return discard(r) }
	if err := f.CheckOut(t.Context(), a, g.first, file, plenty, nothing); err == nil || !strings.Contains(err.Error(), "is not in the repository") {
		t.Errorf("the pack of another commit: %v", err)
	}
	for name, text := range map[string]string{"changed": strings.Replace(pack, pack[40:60], strings.Repeat("x", 20), 1), "cut": pack[:len(pack)/2], "empty": "", "text": "hello"} {
		other := spool(t)
		_, _ = other.WriteString(text)
		if err := f.CheckOut(t.Context(), a, g.last, other, plenty, nothing); err == nil {
			t.Errorf("%s: it is checked out", name)
		}
	}
	if err := f.CheckOut(t.Context(), a, g.last, file, 5, nothing); err == nil || !strings.Contains(err.Error(), "larger disk") {
		t.Errorf("6 bytes where 5 are allowed: %v", err)
	}
	// A name that leads out, which git's own tools do not make.
	blob := g.git("hash-object", "-w", "site/index.html")
	var tree strings.Builder
	fmt.Fprintf(&tree, "100644 ..\x00%s", unhex(t, blob))
	raw := filepath.Join(g.dir, "raw")
	if err := os.WriteFile(raw, []byte(tree.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	bad := g.git("commit-tree", "-m", "x", g.git("hash-object", "-w", "-t", "tree", "--literally", raw))
	g.git("branch", "bad", bad)
	if all, _, _, err := checkOut(t, f, a, bad); err == nil || !strings.Contains(err.Error(), `".."`) {
		t.Errorf("a name that leads out: %q, %v", all, err)
	}
}

func unhex(t *testing.T, text string) string {
	t.Helper()
	var b []byte
	if _, err := fmt.Sscanf(text, "%x", &b); err != nil {
		t.Fatal(err)
	}
	return string(b)
}
