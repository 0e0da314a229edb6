package registry

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"unicode"

	server "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/stowage/stowage/spec"
)

// fake is a registry on loopback with something in front of it.
type fake struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // METHOD PATH
}

// host is how images name it.
func (f *fake) host() string { return f.Listener.Addr().String() }

func (f *fake) requests() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// serve starts a registry; before handles a request by itself when it returns true.
func serve(t *testing.T, secure bool, before func(w http.ResponseWriter, r *http.Request) bool) *fake {
	t.Helper()
	f := &fake{}
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		f.asked = append(f.asked, r.Method+" "+r.URL.Path)
		f.mu.Unlock()
		if r.Header.Get("Test-Push") == "" && before != nil && before(w, r) {
			return
		}
		inner.ServeHTTP(w, r)
	})
	f.Server = httptest.NewUnstartedServer(handler)
	f.Config.ErrorLog = log.New(io.Discard, "", 0)
	if secure {
		f.StartTLS()
	} else {
		f.Start()
	}
	t.Cleanup(f.Close)
	return f
}

// push puts a document under a tag, past what stands in front, and returns its digest.
func (f *fake) push(t *testing.T, repository, tag string, document []byte) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, f.URL+"/v2/"+repository+"/manifests/"+tag, bytes.NewReader(document))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", string(types.OCIManifestSchema1))
	r.Header.Set("Test-Push", "1")
	response, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("push: %s: %s", response.Status, text)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(document))
}

func manifest(text string) []byte {
	return []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{},"layers":[],"annotations":{"x":%q}}`, types.OCIManifestSchema1, text))
}

func client(t *testing.T, c Config) *Client {
	t.Helper()
	if c.Credentials == "" {
		c.Credentials = t.TempDir() // never those of who runs the tests
	}
	cl, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return cl
}

func ref(t *testing.T, text string) spec.ImageRef {
	t.Helper()
	r, err := spec.ParseImage(text)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func (f *fake) authority(t *testing.T) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: f.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// expectError resolves an image and looks for words in the error.
func expectError(t *testing.T, c *Client, image string, words ...string) {
	t.Helper()
	digest, err := c.Resolve(t.Context(), ref(t, image))
	if err == nil {
		t.Fatalf("%s is %s, and an error was expected", image, digest)
	}
	if text := err.Error(); len(text) > 4*maxSaid || strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the error is not fit for a terminal: %q", text)
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error lacks %q: %v", w, err)
		}
	}
}

func expectDigest(t *testing.T, c *Client, image, want string) {
	t.Helper()
	got, err := c.Resolve(t.Context(), ref(t, image))
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%s is %s, want %s", image, got, want)
	}
}

func TestTagsAndWhatTheyMean(t *testing.T) {
	f := serve(t, false, nil)
	c := client(t, Config{})
	one := f.push(t, "team/web", "1", manifest("one"))
	expectDigest(t, c, f.host()+"/team/web:1", one)
	two := f.push(t, "team/web", "1", manifest("two"))
	expectDigest(t, c, f.host()+"/team/web:1", two)
	expectDigest(t, c, f.host()+"/team/web@"+one, one)
	for _, digest := range []string{one, two} {
		data, err := c.Document(t.Context(), ref(t, f.host()+"/team/web@"+digest), digest, true)
		if err != nil || !bytes.Equal(data, manifest(map[string]string{one: "one", two: "two"}[digest])) {
			t.Errorf("%s: %q, %v", digest, data, err)
		}
	}
	expectError(t, c, f.host()+"/team/web:2", "has no such image in team/web", "push it")
}

func TestTrust(t *testing.T) {
	f := serve(t, true, nil)
	digest := f.push(t, "web", "1", manifest("one"))
	expectError(t, client(t, Config{}), f.host()+"/web:1", "--registry-ca "+f.host()+"=FILE")
	expectDigest(t, client(t, Config{CAs: []string{f.host() + "=" + f.authority(t)}}), f.host()+"/web:1", digest)
	other := serve(t, true, nil)
	expectError(t, client(t, Config{CAs: []string{other.host() + "=" + f.authority(t)}}), f.host()+"/web:1", "certificate") // trust is for a host

	// A host that is not this machine by its name is not spoken to without TLS, unless somebody says so.
	plain := serve(t, false, nil)
	digest = plain.push(t, "web", "1", manifest("one"))
	expectDigest(t, client(t, Config{Mirrors: []string{"registry.test=" + plain.host()}}), "registry.test/web:1", digest)
	for _, allowed := range []bool{false, true} {
		g := &guard{inner: http.DefaultTransport, plain: allowed, host: "registry.test"}
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, plain.URL+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := g.RoundTrip(request)
		if allowed {
			if err != nil {
				t.Error(err)
			} else {
				response.Body.Close()
			}
		} else if err = explain(place{host: "registry.test"}, err); !strings.Contains(err.Error(), "--registry-http registry.test") {
			t.Errorf("got %v", err)
		}
	}
}

// login writes a config.json with the credentials of a host.
func login(t *testing.T, host, user, password string) string {
	t.Helper()
	dir := t.TempDir()
	writeConfig(t, dir, map[string]any{"auths": map[string]any{host: map[string]string{"auth": base64.StdEncoding.EncodeToString([]byte(user + ":" + password))}}})
	return dir
}

func writeConfig(t *testing.T, dir string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestBasicCredentials(t *testing.T) {
	f := serve(t, true, func(w http.ResponseWriter, r *http.Request) bool {
		if user, password, _ := r.BasicAuth(); user == "ann" && password == "secret" {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="r"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	digest := f.push(t, "web", "1", manifest("one"))
	cas := []string{f.host() + "=" + f.authority(t)}
	image := f.host() + "/web:1"
	expectError(t, client(t, Config{CAs: cas}), image, "refuses web (401)", "docker login")
	expectError(t, client(t, Config{CAs: cas, Credentials: login(t, f.host(), "ann", "wrong")}), image, "refuses web (401)")
	expectDigest(t, client(t, Config{CAs: cas, Credentials: login(t, f.host(), "ann", "secret")}), image, digest)

	// A credential helper is a program of the node.
	bin := t.TempDir()
	helper := "#!/bin/sh\nread host\n[ \"$1 $host\" = \"get " + f.host() + "\" ] || { echo 'credentials not found in native keychain'; exit 1; }\n" +
		`echo '{"ServerURL":"x","Username":"ann","Secret":"secret"}'` + "\n"
	if err := os.WriteFile(filepath.Join(bin, "docker-credential-fake"), []byte(helper), 0o755); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
	dir := t.TempDir()
	writeConfig(t, dir, map[string]any{"credHelpers": map[string]string{f.host(): "fake"}})
	expectDigest(t, client(t, Config{CAs: cas, Credentials: dir}), image, digest)
}

func TestTokens(t *testing.T) {
	var f *fake
	issued := 0
	f = serve(t, true, func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/token" {
			user, password, _ := r.BasicAuth()
			if user != "ann" || password != "secret" || r.URL.Query().Get("scope") != "repository:web:pull" {
				w.WriteHeader(http.StatusForbidden)
				return true
			}
			issued++
			fmt.Fprintf(w, `{"token":"t%d"}`, issued)
			return true
		}
		if r.Header.Get("Authorization") == fmt.Sprintf("Bearer t%d", issued) && issued > 0 {
			return false
		}
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+f.URL+`/token",service="s"`)
		w.WriteHeader(http.StatusUnauthorized)
		return true
	})
	digest := f.push(t, "web", "1", manifest("one"))
	cas := []string{f.host() + "=" + f.authority(t)}
	c := client(t, Config{CAs: cas, Credentials: login(t, f.host(), "ann", "secret")})
	expectDigest(t, c, f.host()+"/web:1", digest)
	issued++ // the token is not good any more: another one is fetched
	expectDigest(t, c, f.host()+"/web:1", digest)
	expectError(t, client(t, Config{CAs: cas, Credentials: login(t, f.host(), "ann", "wrong")}), f.host()+"/web:1", "refuses web")
}

func TestMirrorsComeFirst(t *testing.T) {
	down := serve(t, false, func(w http.ResponseWriter, _ *http.Request) bool {
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	mirror, own := serve(t, false, nil), serve(t, false, nil)
	digest := mirror.push(t, "hub/library/web", "1", manifest("one"))
	only := own.push(t, "library/other", "1", manifest("two"))
	c := client(t, Config{Mirrors: []string{"docker.io=" + down.host(), "docker.io=" + mirror.host() + "/hub"}})
	expectDigest(t, c, "web:1", digest)
	if len(down.requests()) == 0 {
		t.Error("the first mirror was not asked")
	}
	c = client(t, Config{Mirrors: []string{own.host() + "=" + down.host()}})
	expectDigest(t, c, own.host()+"/library/other:1", only)
	c = client(t, Config{Mirrors: []string{down.host() + "=" + down.host()}})
	expectError(t, c, down.host()+"/web:1", "mirror "+down.host(), "503")
}

// TestHostileRegistries: what a registry may try, and the error that comes of it.
func TestHostileRegistries(t *testing.T) {
	for name, c := range map[string]struct {
		before func(w http.ResponseWriter, r *http.Request) bool
		words  string
	}{
		"a page in place of an image": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "text/html")
			w.Header().Set("Docker-Content-Digest", "sha256:"+strings.Repeat("1", 64))
			return true
		}, "no image that this program knows"},
		"a digest that is none, and a body without end": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodGet && r.URL.Path != "/v2/" {
				for r.Context().Err() == nil {
					if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
						break
					}
				}
			}
			w.Header().Set("Docker-Content-Digest", "../../etc/passwd")
			return true
		}, "longer than"},
		"an error without end": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			w.WriteHeader(http.StatusTeapot)
			for r.Context().Err() == nil && r.Method == http.MethodGet {
				if _, err := w.Write(bytes.Repeat([]byte("x"), 1<<20)); err != nil {
					break
				}
			}
			return true
		}, "418"},
		"words for the terminal": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprintf(w, `{"errors":[{"code":"X","message":"one\n\u001b[31mtwo\u202e %s"}]}`, strings.Repeat("x", 10000))
			return true
		}, "answers 400"},
		"a redirect to a file": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			http.Redirect(w, r, "file:///etc/passwd", http.StatusTemporaryRedirect)
			return true
		}, "redirects to file"},
		"a redirect to the metadata of a cloud": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			http.Redirect(w, r, "https://169.254.169.254/latest", http.StatusTemporaryRedirect)
			return true
		}, "must not lead to an address of the machine itself"},
		"redirects without end": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/v2/" {
				return false
			}
			http.Redirect(w, r, r.URL.Path, http.StatusTemporaryRedirect)
			return true
		}, "redirects"},
		"a token from the metadata of a cloud": {func(w http.ResponseWriter, r *http.Request) bool {
			w.Header().Set("WWW-Authenticate", `Bearer realm="https://169.254.169.254/token"`)
			w.WriteHeader(http.StatusUnauthorized)
			return true
		}, "link-local"},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, true, c.before)
			expectError(t, client(t, Config{CAs: []string{f.host() + "=" + f.authority(t)}}), f.host()+"/web:1", c.words)
		})
	}
}

// TestNothingLeadsInside: of a registry elsewhere, no redirect leads to loopback.
func TestNothingLeadsInside(t *testing.T) {
	d := &dialer{own: "registry.test:443"}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, address := range []string{l.Addr().String(), "localhost:1", "[::1]:1", "169.254.169.254:80", "0.0.0.0:80", "[::ffff:127.0.0.1]:1"} {
		if conn, err := d.dial(t.Context(), "tcp", address); err == nil || !strings.Contains(err.Error(), errInside.Error()) {
			t.Errorf("%s: %v, %v", address, conn, err)
		}
	}
	near := &dialer{own: "127.0.0.1:5000"}
	conn, err := near.dial(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestLiesAboutADocument(t *testing.T) {
	f := serve(t, false, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.Contains(r.URL.Path, "/manifests/sha256:") {
			return false
		}
		fmt.Fprint(w, "{}")
		return true
	})
	digest := f.push(t, "web", "1", manifest("one"))
	_, err := client(t, Config{}).Document(t.Context(), ref(t, f.host()+"/web@"+digest), digest, true)
	if err == nil || !strings.Contains(err.Error(), "other bytes than asked for") {
		t.Errorf("got %v", err)
	}
}

func TestResolveEndsWithItsContext(t *testing.T) {
	asked := make(chan struct{}, 1)
	f := serve(t, false, func(_ http.ResponseWriter, r *http.Request) bool {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-r.Context().Done()
		return true
	})
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-asked
		cancel(errors.New("enough"))
	}()
	if _, err := client(t, Config{}).Resolve(ctx, ref(t, f.host()+"/web:1")); err == nil || !strings.Contains(err.Error(), "enough") {
		t.Errorf("got %v", err)
	}
}

func TestConfigTellsAllThatIsWrong(t *testing.T) {
	_, err := New(Config{Mirrors: []string{"docker.io", "docker.io=https://x"}, PlainHTTP: []string{"http://a"}, CAs: []string{"a=/nonexistent", "b"}, Credentials: "/nonexistent"})
	if err == nil {
		t.Fatal("it was taken")
	}
	for _, w := range []string{`mirror "docker.io"`, "https://x", "http://a", "/nonexistent: no such file", `"b"`, "config.json"} {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("the error lacks %q: %v", w, err)
		}
	}
}
