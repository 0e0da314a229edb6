package git

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
)

// published makes a bare repository in a folder to be served, and a work tree that pushes to it.
func published(t testing.TB) (root, work string) {
	t.Helper()
	work = newRepo(t)
	root = t.TempDir()
	git(t, work, "init", "-q", "--bare", "-b", "main", filepath.Join(root, "repo.git"))
	git(t, work, "init", "-q", "--bare", "-b", "main", filepath.Join(root, "empty.git"))
	git(t, filepath.Join(root, "repo.git"), "config", "receive.denyDeleteCurrent", "ignore")
	git(t, work, "remote", "add", "origin", filepath.Join(root, "repo.git"))
	git(t, work, "push", "-q", "origin", "main")
	return root, work
}

// web is an https server with Git's own program behind it.
type web struct {
	*httptest.Server
	ca    string       // file with its certificate
	token atomic.Value // string
	slow  atomic.Bool  // hold back packs until the request ends
	packs atomic.Int64 // requests for packs
}

func serveHTTPS(t testing.TB, root string) *web {
	t.Helper()
	path, err := exec.LookPath("git")
	if err != nil {
		t.Fatal(err)
	}
	quiet := log.New(io.Discard, "", 0) // clients that go away in the middle are what these tests are about
	backend := &cgi.Handler{Path: path, Args: []string{"http-backend"}, Dir: root, Stderr: io.Discard, Logger: quiet,
		Env: []string{"GIT_PROJECT_ROOT=" + root, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
			"GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*"}}
	w := &web{}
	w.token.Store("secret")
	w.Server = httptest.NewUnstartedServer(http.HandlerFunc(func(rw http.ResponseWriter, req *http.Request) {
		if user, password, ok := req.BasicAuth(); !ok || user != "git" || password != w.token.Load() {
			rw.Header().Set("WWW-Authenticate", `Basic realm="git"`)
			rw.WriteHeader(http.StatusUnauthorized)
			return
		}
		if req.Method == http.MethodPost {
			w.packs.Add(1)
			if w.slow.Load() {
				rw.WriteHeader(http.StatusOK)
				rw.(http.Flusher).Flush()
				io.Copy(io.Discard, req.Body)
				<-req.Context().Done()
				return
			}
		}
		backend.ServeHTTP(rw, req)
	}))
	w.Config.ErrorLog = quiet
	w.StartTLS()
	t.Cleanup(func() { w.CloseClientConnections(); w.Close() })
	w.ca = filepath.Join(t.TempDir(), "ca.pem")
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: w.Certificate().Raw})
	if err := os.WriteFile(w.ca, cert, 0o644); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *web) config(store string) Config {
	return Config{URL: w.URL + "/repo.git", Branch: "main", StoreDir: store, Token: "secret", CAFile: w.ca, Poll: 20 * time.Millisecond}
}

func TestFollowHTTPS(t *testing.T) {
	root, work := published(t)
	w := serveHTTPS(t, root)
	r := open(t, w.config(t.TempDir()))
	heads := follow(t, r)
	first := git(t, work, "rev-parse", "HEAD")
	expect(t, heads, first)

	second := commit(t, work, "a.hcl", "two")
	git(t, work, "push", "-q", "origin", "main")
	expect(t, heads, second)
	if got := readTree(t, r, second, "a.hcl"); got != "two" {
		t.Errorf("a.hcl is %q", got)
	}
	if ahead, behind, err := r.Distance(first, second); ahead != 1 || behind != 0 || err != nil {
		t.Errorf("distance %d, %d, %v", ahead, behind, err)
	}

	// A forced push: the old commit stays readable, the new one is followed.
	git(t, work, "reset", "-q", "--hard", first)
	forced := commit(t, work, "a.hcl", "forced")
	git(t, work, "push", "-q", "-f", "origin", "main")
	expect(t, heads, forced)
	if got := readTree(t, r, second, "a.hcl") + readTree(t, r, forced, "a.hcl"); got != "twoforced" {
		t.Errorf("trees %q", got)
	}
	git(t, work, "push", "-q", "-f", "origin", first+":main")
	expect(t, heads, first)

	// Other branches and tags come along; one that was just pushed is found by asking again.
	git(t, work, "tag", "-a", "-m", "one", "v1")
	git(t, work, "push", "-q", "origin", "v1", "HEAD:refs/heads/preview/7")
	for _, ref := range []string{"preview/7", "v1", forced[:10]} {
		if c, err := r.Resolve(t.Context(), ref); err != nil || c.Hash != forced {
			t.Errorf("%s is %v, %v", ref, c, err)
		}
	}

	git(t, work, "push", "-q", "origin", ":main")
	if h := expectKind(t, heads, NoBranch); h.Commit.Hash != first || h.Contact.IsZero() {
		t.Errorf("while the branch is gone: %+v", h)
	}
	git(t, work, "push", "-q", "origin", forced+":refs/heads/main")
	expect(t, heads, forced)
}

func TestCredentialsHTTPS(t *testing.T) {
	root, work := published(t)
	w := serveHTTPS(t, root)
	hash := git(t, work, "rev-parse", "HEAD")
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	c := w.config(t.TempDir())
	c.Token, c.TokenFile = "", token
	heads := follow(t, open(t, c))
	if h := expectKind(t, heads, Denied); strings.Contains(h.Err.Error(), "old") {
		t.Errorf("the error has the token: %v", h.Err)
	}
	if err := os.WriteFile(token, []byte("secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	expect(t, heads, hash)
	w.token.Store("renewed")
	if h := expectKind(t, heads, Denied); h.Commit.Hash != hash {
		t.Errorf("the last good commit is gone: %+v", h)
	}
	w.token.Store("secret")
	expect(t, heads, hash)

	for name, change := range map[Kind]func(*Config){
		Missing:     func(c *Config) { c.URL = w.URL + "/nothing.git" },
		Empty:       func(c *Config) { c.URL = w.URL + "/empty.git" },
		NoBranch:    func(c *Config) { c.Branch = "nothing" },
		Unreachable: func(c *Config) { c.URL = "https://127.0.0.1:1/repo.git" },
		Unsupported: func(c *Config) { c.URL = "http://git.example.org/repo.git" },
		Untrusted:   func(c *Config) { c.CAFile = "" }, // a certificate that nobody vouches for
	} {
		c := w.config(t.TempDir())
		change(&c)
		expectKind(t, follow(t, open(t, c)), name)
	}
}

func TestStalledServers(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.Map
	go func() {
		for {
			c, err := silent.Accept()
			if err != nil {
				return
			}
			conns.Store(c, true)
		}
	}()
	t.Cleanup(func() {
		silent.Close()
		conns.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	})
	key := newKey(t)
	for _, url := range []string{"https://" + silent.Addr().String() + "/r.git", "ssh://git@" + silent.Addr().String() + "/r.git"} {
		c := Config{URL: url, StoreDir: t.TempDir(), Stall: 50 * time.Millisecond, SSHKeyFile: key.file, KnownHostsFile: "/nonexistent"}
		expectKind(t, follow(t, open(t, c)), Unreachable)
	}

	root, work := published(t)
	w := serveHTTPS(t, root)
	c := w.config(t.TempDir())
	c.Stall = 300 * time.Millisecond
	w.slow.Store(true)
	heads := follow(t, open(t, c))
	expectKind(t, heads, Unreachable)
	w.slow.Store(false)
	expect(t, heads, git(t, work, "rev-parse", "HEAD"))
}

func TestStoreSurvives(t *testing.T) {
	root, work := published(t)
	w := serveHTTPS(t, root)
	store := t.TempDir()
	first := git(t, work, "rev-parse", "HEAD")

	r := open(t, w.config(store))
	expect(t, follow(t, r), first)
	if _, err := Open(t.Context(), w.config(store)); KindOf(err) != Locked {
		t.Errorf("second process on the store: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	before := w.packs.Load()

	// What a killed fetch leaves: a pack half received, an index without its pack, temporary files.
	packs := filepath.Join(store, "1", "objects", "pack")
	for _, f := range []string{filepath.Join(packs, "tmp_pack_1"), filepath.Join(packs, "pack-"+strings.Repeat("a", 40)+".idx"), filepath.Join(store, "1", "packed-refs.tmp"), filepath.Join(store, "1", "packed-refs.lock")} {
		if err := os.WriteFile(f, []byte("half"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r = open(t, w.config(store))
	if c, err := r.Resolve(t.Context(), "main"); err != nil || c.Hash != first {
		t.Errorf("from the store, before any contact: %v, %v", c, err)
	}
	expect(t, follow(t, r), first)
	if w.packs.Load() != before {
		t.Errorf("fetched %d packs again", w.packs.Load()-before)
	}
	if left, _ := filepath.Glob(filepath.Join(packs, "tmp_*")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	// A store whose packs are broken is made again.
	list, err := filepath.Glob(filepath.Join(packs, "*.pack"))
	if err != nil || len(list) == 0 {
		t.Fatal(list, err)
	}
	for _, f := range list {
		if err := errors.Join(os.Chmod(f, 0o600), os.Truncate(f, 20)); err != nil {
			t.Fatal(err)
		}
	}
	r = open(t, w.config(store))
	expect(t, follow(t, r), first)
	if got := readTree(t, r, first, "a.hcl"); got != "one" {
		t.Errorf("a.hcl is %q", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}

	// The store of another remote is not taken for this one's.
	c := w.config(store)
	c.URL = w.URL + "/empty.git"
	expectKind(t, follow(t, open(t, c)), Empty)
}

// key is a key pair on disk.
type key struct {
	signer ssh.Signer
	file   string
}

func newKey(t testing.TB) key {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	k := key{signer, filepath.Join(t.TempDir(), "id")}
	if err := os.WriteFile(k.file, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return k
}

// serveSSH is an SSH server that runs git-upload-pack for whoever has the user's key.
func serveSSH(t testing.TB, root string, host ssh.Signer, user ssh.PublicKey) string {
	t.Helper()
	config := &ssh.ServerConfig{PublicKeyCallback: func(c ssh.ConnMetadata, k ssh.PublicKey) (*ssh.Permissions, error) {
		if c.User() != "git" || string(k.Marshal()) != string(user.Marshal()) {
			return nil, errors.New("unknown key")
		}
		return nil, nil
	}}
	config.AddHostKey(host)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	t.Cleanup(func() { l.Close(); wg.Wait() })
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { serveConn(c, config, root) })
		}
	})
	return l.Addr().String()
}

func serveConn(c net.Conn, config *ssh.ServerConfig, root string) {
	defer c.Close()
	_, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	for n := range chans {
		ch, reqs, err := n.Accept()
		if err != nil {
			return
		}
		for req := range reqs {
			if req.Type != "exec" {
				req.Reply(false, nil)
				continue
			}
			req.Reply(true, nil)
			var line struct{ Command string }
			ssh.Unmarshal(req.Payload, &line)
			cmd := exec.Command("sh", "-c", line.Command)
			cmd.Dir, cmd.Stdout, cmd.Stderr = root, ch, ch.Stderr()
			in, err := cmd.StdinPipe() // not Stdin: the end of the program is not to wait for the end of the input
			if err != nil {
				return
			}
			go func() { io.Copy(in, ch); in.Close() }()
			cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_COUNT=1", "GIT_CONFIG_KEY_0=safe.directory", "GIT_CONFIG_VALUE_0=*")
			status := struct{ Status uint32 }{}
			if cmd.Run() != nil {
				status.Status = 1
			}
			ch.SendRequest("exit-status", false, ssh.Marshal(status))
			ch.Close()
		}
	}
}

func TestFollowSSH(t *testing.T) {
	root, work := published(t)
	host, user := newKey(t), newKey(t)
	addr := serveSSH(t, root, host.signer, user.signer.PublicKey())
	known := filepath.Join(t.TempDir(), "known_hosts")
	trust := func(k key) {
		if err := os.WriteFile(known, []byte(knownhosts.Line([]string{addr}, k.signer.PublicKey())+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	c := Config{URL: "ssh://git@" + addr + filepath.Join(root, "repo.git"), StoreDir: t.TempDir(), SSHKeyFile: user.file, KnownHostsFile: known, Poll: 20 * time.Millisecond}
	r := open(t, c)
	heads := follow(t, r)
	h := expectKind(t, heads, Untrusted)
	line := knownhosts.Line([]string{addr}, host.signer.PublicKey())
	if !strings.Contains(h.Err.Error(), line) || !strings.Contains(h.Err.Error(), known) {
		t.Errorf("the error does not say what to add where: %v", h.Err)
	}
	trust(host)
	expect(t, heads, git(t, work, "rev-parse", "HEAD"))
	for _, content := range []string{"two", "it's!"} {
		hash := commit(t, work, "a.hcl", content)
		git(t, work, "push", "-q", "origin", "main")
		expect(t, heads, hash)
		if got := readTree(t, r, hash, "a.hcl"); got != content {
			t.Errorf("a.hcl is %q", got)
		}
	}
	first := git(t, work, "rev-parse", "HEAD~1")
	git(t, work, "push", "-q", "-f", "origin", "HEAD~1:main")
	expect(t, heads, first)

	trust(newKey(t))
	if h := expectKind(t, heads, Untrusted); !strings.Contains(h.Err.Error(), "another key") {
		t.Errorf("%v", h.Err)
	}
	trust(host)
	expect(t, heads, first)

	for kind, change := range map[Kind]func(*Config){
		Denied:  func(c *Config) { c.SSHKeyFile = newKey(t).file },
		Missing: func(c *Config) { c.URL = "ssh://git@" + addr + "/nothing.git" },
		Empty:   func(c *Config) { c.URL = "ssh://git@" + addr + filepath.Join(root, "empty.git") },
	} {
		c := c
		c.StoreDir = t.TempDir()
		change(&c)
		expectKind(t, follow(t, open(t, c)), kind)
	}
}

// Only the kinds of keys that known_hosts lists are asked for, so that a server with several shows the known one.
func TestHostKeyAlgorithms(t *testing.T) {
	host := newKey(t)
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte(knownhosts.Line([]string{"example.org:22"}, host.signer.PublicKey())+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	r := &Repo{config: Config{KnownHostsFile: known}}
	config := &ssh.ClientConfig{}
	if err := r.hostKeys(config, "example.org:22"); err != nil {
		t.Fatal(err)
	}
	if len(config.HostKeyAlgorithms) != 1 || config.HostKeyAlgorithms[0] != ssh.KeyAlgoED25519 {
		t.Errorf("asks for %v", config.HostKeyAlgorithms)
	}
}
