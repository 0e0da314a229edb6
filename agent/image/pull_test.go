package image

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	server "github.com/google/go-containerregistry/pkg/registry"
	"github.com/stowage/stowage/agent/registry"
	"github.com/stowage/stowage/spec"
)

// fakeRegistry is a registry on loopback with something in front of it.
type fakeRegistry struct {
	*httptest.Server
	mu    sync.Mutex
	asked []string // METHOD PATH RANGE
}

// serveRegistry starts one; before handles a request by itself when it returns true.
func serveRegistry(t testing.TB, before func(w http.ResponseWriter, r *http.Request) bool) *fakeRegistry {
	t.Helper()
	f := &fakeRegistry{}
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	f.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			inner.ServeHTTP(w, r)
			return
		}
		f.mu.Lock()
		f.asked = append(f.asked, strings.TrimSpace(r.URL.Path+" "+r.Header.Get("Range")))
		f.mu.Unlock()
		if before == nil || !before(w, r) {
			inner.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(f.Close)
	return f
}

func (f *fakeRegistry) host() string { return f.Listener.Addr().String() }

// times counts the requests whose path contains a text.
func (f *fakeRegistry) times(text string) (n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.asked {
		if strings.Contains(a, text) {
			n++
		}
	}
	return n
}

func (f *fakeRegistry) put(t testing.TB, method, path, mediaType string, data []byte) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, f.URL+path, bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", mediaType)
	response, err := f.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusCreated {
		text, _ := io.ReadAll(response.Body)
		t.Fatalf("%s %s: %s: %s", method, path, response.Status, text)
	}
}

// push puts all blobs of a layout into a repository, and the given document with the digest of its own. The returned reference
// is pinned to that.
func (f *fakeRegistry) push(t testing.TB, repository string, files fstest.MapFS, mediaType string, document []byte) Ref {
	t.Helper()
	for name, file := range files {
		if digest, ok := strings.CutPrefix(name, "blobs/sha256/"); ok {
			f.put(t, http.MethodPost, "/v2/"+repository+"/blobs/uploads/?digest=sha256:"+digest, "application/octet-stream", file.Data)
		}
	}
	digest := "sha256:" + sumOf(document)
	f.put(t, http.MethodPut, "/v2/"+repository+"/manifests/"+digest, mediaType, document)
	ref, err := ParseRef(f.host()+"/"+repository+":tag@"+digest, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return ref
}

const runtimeArch = runtime.GOARCH

const (
	typeManifest = "application/vnd.oci.image.manifest.v1+json"
	typeIndex    = "application/vnd.oci.image.index.v1+json"
)

// pushImage pushes the only image of a layout by its manifest.
func (f *fakeRegistry) pushImage(t testing.TB, repository string, files fstest.MapFS) Ref {
	t.Helper()
	l := layout{files: files, limits: DefaultLimits, arch: "any"}
	data, err := l.document("index.json")
	if err != nil {
		t.Fatal(err)
	}
	digest, _, _ := strings.Cut(string(data[bytes.Index(data, []byte("sha256:"))+len("sha256:"):]), `"`)
	return f.push(t, repository, files, typeManifest, files["blobs/sha256/"+digest].Data)
}

func pullingStore(t testing.TB, dir string, limits Limits) *Store {
	t.Helper()
	client, err := registry.New(registry.Config{Credentials: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	s, err := OpenWith(dir, limits, client)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func newPullingStore(t testing.TB) *Store {
	t.Helper()
	s := pullingStore(t, filepath.Join(t.TempDir(), "images"), DefaultLimits)
	t.Cleanup(func() { s.Close() })
	return s
}

// leftDownloads lists what lies in the folder of downloads.
func leftDownloads(t testing.TB, s *Store) []string {
	t.Helper()
	var names []string
	all, err := os.ReadDir(s.downloads())
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range all {
		names = append(names, e.Name())
	}
	return names
}

func TestPull(t *testing.T) {
	for name, pack := range map[string]func(testing.TB, []byte) []byte{"plain": nil, "gzip": gzipped, "zstd": zstded} {
		t.Run(name, func(t *testing.T) {
			f := serveRegistry(t, nil)
			ref := f.pushImage(t, "team/web", layoutOf(t, pack, twoLayers(t)...))
			s := newPullingStore(t)
			checkTwoLayers(t, prepare(t, s, ref))
			asked := f.times("")
			checkTwoLayers(t, prepare(t, s, ref))
			if n := f.times(""); n != asked {
				t.Errorf("what is there was asked for again: %d requests more", n-asked)
			}
			if left := leftDownloads(t, s); len(left) > 0 {
				t.Errorf("downloads are left: %q", left)
			}
			if _, pulling := s.Progress(ref.Image.Digest); pulling {
				t.Error("it is still being pulled")
			}
		})
	}
}

func TestPullOfAnIndexTakesThePlatformOfTheNode(t *testing.T) {
	f := serveRegistry(t, nil)
	files := layoutOf(t, gzipped, twoLayers(t)...)
	own := addManifest(t, files, runtimeArch, gzipped, twoLayers(t)...)
	own["platform"] = map[string]any{"os": "linux", "architecture": runtimeArch}
	other := addManifest(t, files, "mips", gzipped, tarOf(t, entry{name: "other", body: "x"}))
	other["platform"] = map[string]any{"os": "linux", "architecture": "mips"}
	unknown := addManifest(t, files, "unknown", gzipped, tarOf(t, entry{name: "attestation", body: "x"}))
	unknown["platform"] = map[string]any{"os": "unknown", "architecture": "unknown"}
	for _, m := range []map[string]any{own, other, unknown} { // a registry wants manifests as manifests
		digest := m["digest"].(string)
		f.put(t, http.MethodPut, "/v2/web/manifests/"+digest, typeManifest, files["blobs/sha256/"+strings.TrimPrefix(digest, "sha256:")].Data)
	}
	index := asJSON(t, map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []map[string]any{other, unknown, own}})
	ref := f.push(t, "web", files, typeIndex, index)
	s := newPullingStore(t)
	image := prepare(t, s, ref)
	checkTwoLayers(t, image)
	if image.Digest != own["digest"] {
		t.Errorf("the image is %s, want %s", image.Digest, own["digest"])
	}
	if again := prepare(t, s, ref); again.Digest != image.Digest || f.times("/manifests/"+ref.Image.Digest) != 1 {
		t.Error("the index was fetched again")
	}
}

// TestPullSharesLayers: of two images only what differs is downloaded, and at the same time each blob once.
func TestPullSharesLayers(t *testing.T) {
	f := serveRegistry(t, nil)
	layers := twoLayers(t)
	top := tarOf(t, entry{name: "top", body: "other"})
	one := f.pushImage(t, "web", layoutOf(t, gzipped, layers...))
	two := f.pushImage(t, "web", layoutOf(t, gzipped, layers[0], top))
	s := newPullingStore(t)
	var wg sync.WaitGroup
	for range 4 {
		for _, ref := range []Ref{one, two} {
			wg.Go(func() {
				if _, err := s.Prepare(t.Context(), ref); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
	for i, data := range [][]byte{layers[0], layers[1], top} {
		if n := f.times("/blobs/sha256:" + sumOf(gzipped(t, data))); n != 1 {
			t.Errorf("blob %d was asked for %d times", i, n)
		}
	}
	if left := leftDownloads(t, s); len(left) > 0 {
		t.Errorf("downloads are left: %q", left)
	}
}

// noise is a layer that does not compress.
func noise(t testing.TB, name string, size int) []byte {
	data := make([]byte, size)
	r := rand.New(rand.NewPCG(1, uint64(len(name))))
	for i := range data {
		data[i] = byte(r.Uint32())
	}
	return tarOf(t, entry{name: name, body: string(data)})
}

// TestPullGoesOnWhereItStopped: a registry that ends each answer early, with and without knowing ranges.
func TestPullGoesOnWhereItStopped(t *testing.T) {
	for name, ranges := range map[string]bool{"with ranges": true, "without": false} {
		t.Run(name, func(t *testing.T) {
			layer := noise(t, "noise", 3<<20)
			cut, ends := 1<<20, 0
			f := serveRegistry(t, func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, sumOf(layer)) {
					return false
				}
				from := 0
				if _, err := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-", &from); err == nil && ranges {
					w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(layer)-1, len(layer)))
					w.Header().Set("Content-Length", fmt.Sprint(len(layer)-from))
					w.WriteHeader(http.StatusPartialContent)
				} else {
					from = 0
					w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
				}
				end := min(from+cut, len(layer))
				if !ranges {
					cut *= 2 // it gets a little further each time
				}
				ends++
				_, _ = w.Write(layer[from:end])
				return true
			})
			ref := f.pushImage(t, "web", layoutOf(t, nil, layer))
			image := prepare(t, newPullingStore(t), ref)
			if info, err := os.Stat(filepath.Join(image.Layers[0], "noise")); err != nil || info.Size() != 3<<20 {
				t.Errorf("%v, %v", info, err)
			}
			if ends < 3 {
				t.Errorf("the registry answered %d times, and should have been interrupted", ends)
			}
		})
	}
}

// TestPullAfterKill: what a killed process downloaded is not asked for again.
func TestPullAfterKill(t *testing.T) {
	const variable = "STOWAGE_TEST_PULL"
	if given := os.Getenv(variable); given != "" {
		dir, text, _ := strings.Cut(given, "|")
		ref, err := ParseRef(text, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = pullingStore(t, dir, DefaultLimits).Prepare(t.Context(), ref)
		t.Fatalf("it was not killed: %v", err)
	}
	layer := noise(t, "noise", 4<<20)
	const half = 2 << 20
	var goOn atomic.Bool
	sent := make(chan struct{})
	f := serveRegistry(t, func(w http.ResponseWriter, r *http.Request) bool {
		if goOn.Load() || !strings.HasSuffix(r.URL.Path, sumOf(layer)) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
		_, _ = w.Write(layer[:half])
		w.(http.Flusher).Flush()
		close(sent)
		<-r.Context().Done() // until the process is killed
		return true
	})
	ref := f.pushImage(t, "web", layoutOf(t, nil, layer))
	dir := filepath.Join(t.TempDir(), "images")
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestPullAfterKill$")
	cmd.Env = append(os.Environ(), "TMPDIR="+t.TempDir(), variable+"="+dir+"|"+ref.Image.String())
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-sent
	part := filepath.Join(dir, "downloads", sumOf(layer)+partSuffix)
	have := int64(0)
	for deadline := time.Now().Add(time.Minute); have < half && time.Now().Before(deadline); {
		if info, err := os.Stat(part); err == nil {
			have = info.Size()
		} else if !errors.Is(err, fs.ErrNotExist) {
			t.Fatal(err)
		}
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // it was killed
	goOn.Store(true)
	s := pullingStore(t, dir, DefaultLimits)
	defer s.Close()
	prepare(t, s, ref)
	if n := f.times(fmt.Sprintf("%s bytes=%d-", sumOf(layer), half)); n != 1 {
		t.Errorf("the rest was asked for %d times: %q", n, f.asked)
	}
}

// TestPullDamagedDownload: what lies on the disk is verified before anything of it is used.
func TestPullDamagedDownload(t *testing.T) {
	layer := noise(t, "noise", 1<<20)
	f := serveRegistry(t, func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, sumOf(layer)) {
			return false
		}
		http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(layer)) // with ranges
		return true
	})
	ref := f.pushImage(t, "web", layoutOf(t, nil, layer))
	for name, leave := range map[string][]byte{sumOf(layer): slices.Repeat([]byte("x"), len(layer)), sumOf(layer) + partSuffix: []byte("xxxx")} {
		s := newPullingStore(t)
		if err := os.WriteFile(filepath.Join(s.downloads(), name), leave, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Prepare(t.Context(), ref); err == nil {
			t.Errorf("%s: damage was taken", name)
		}
		prepare(t, s, ref) // the next attempt begins anew
	}
}

// TestPullRefusesWhatIsHostile: what a registry may send, and the error that comes of it.
func TestPullRefusesWhatIsHostile(t *testing.T) {
	layer := tarOf(t, entry{name: "a", body: "x"})
	descriptor := func(files fstest.MapFS, data []byte) map[string]any {
		return addBlob(files, "application/vnd.oci.image.layer.v1.tar", data)
	}
	config := func(t *testing.T, files fstest.MapFS, layers ...[]byte) map[string]any {
		var ids []string
		for _, l := range layers {
			ids = append(ids, "sha256:"+sumOf(l))
		}
		return addBlob(files, "application/vnd.oci.image.config.v1+json", asJSON(t, map[string]any{
			"architecture": runtimeArch, "os": "linux", "rootfs": map[string]any{"type": "layers", "diff_ids": ids}}))
	}
	limits := DefaultLimits
	limits.Stall, limits.Document, limits.LayerBytes = 200*time.Millisecond, 1<<20, 1<<20
	for name, c := range map[string]struct {
		make   func(t *testing.T, files fstest.MapFS) map[string]any
		before func(w http.ResponseWriter, r *http.Request) bool
		words  string
	}{
		"a layer of other bytes": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				return map[string]any{"config": config(t, files, layer), "layers": []any{descriptor(files, layer)}}
			},
			before: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+sumOf(layer)) {
					return false
				}
				_, _ = w.Write(bytes.Repeat([]byte("y"), len(layer)))
				return true
			},
			words: "the registry has other bytes than it says",
		},
		"a layer without end": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				return map[string]any{"config": config(t, files, layer), "layers": []any{descriptor(files, layer)}}
			},
			before: func(w http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+sumOf(layer)) {
					return false
				}
				for r.Context().Err() == nil {
					if _, err := w.Write(bytes.Repeat([]byte("y"), 1<<20)); err != nil {
						break
					}
				}
				return true
			},
			words: errTooLarge.Error(),
		},
		"a layer that never comes": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				return map[string]any{"config": config(t, files, layer), "layers": []any{descriptor(files, layer)}}
			},
			before: func(_ http.ResponseWriter, r *http.Request) bool {
				if !strings.HasSuffix(r.URL.Path, "/blobs/sha256:"+sumOf(layer)) {
					return false
				}
				<-r.Context().Done()
				return true
			},
			words: errStalled.Error(),
		},
		"a size that is a lie": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				d := descriptor(files, layer)
				d["size"] = len(layer) + 5
				return map[string]any{"config": config(t, files, layer), "layers": []any{d}}
			},
			words: fmt.Sprintf("the registry ends after %d of %d bytes", len(layer), len(layer)+5),
		},
		"a size of a configuration that is a lie": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				k := config(t, files, layer)
				k["size"] = 5
				return map[string]any{"config": k, "layers": []any{descriptor(files, layer)}}
			},
			words: "and 5 are announced",
		},
		"a negative size": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				d := descriptor(files, layer)
				d["size"] = -1
				return map[string]any{"config": config(t, files, layer), "layers": []any{d}}
			},
			words: "layer 1 has -1 bytes",
		},
		"a layer larger than any": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				d := descriptor(files, layer)
				d["size"] = int64(1) << 50
				return map[string]any{"config": config(t, files, layer), "layers": []any{d}}
			},
			words: "at most 1048576 are taken",
		},
		"too many layers": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				all, layers := []any{}, [][]byte{}
				for range 200 {
					all, layers = append(all, descriptor(files, layer)), append(layers, layer)
				}
				return map[string]any{"config": config(t, files, layers...), "layers": all}
			},
			words: "200 layers",
		},
		"a manifest that is an index too": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				d := descriptor(files, layer)
				return map[string]any{"config": config(t, files, layer), "layers": []any{d}, "manifests": []any{d}}
			},
			words: "could be taken for either",
		},
		"a manifest that says it is an index": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				return map[string]any{"mediaType": typeIndex, "config": config(t, files, layer), "layers": []any{descriptor(files, layer)}}
			},
			words: "neither an image nor an index",
		},
		"a manifest of schema 1": {
			make: func(*testing.T, fstest.MapFS) map[string]any {
				return map[string]any{"schemaVersion": 1, "fsLayers": []any{map[string]any{"blobSum": "x"}}}
			},
			words: "schema 1",
		},
		"a chart": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				k := config(t, files, layer)
				k["mediaType"] = "application/vnd.cncf.helm.config.v1+json"
				return map[string]any{"config": k, "layers": []any{descriptor(files, layer)}}
			},
			words: "it is no image but something else",
		},
		"a layer that is none": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				d := descriptor(files, layer)
				d["mediaType"] = "text/html"
				return map[string]any{"config": config(t, files, layer), "layers": []any{d}}
			},
			words: `layer 1 is no file system but of type "text/html"`,
		},
		"a manifest larger than any": {
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				return map[string]any{"config": config(t, files, layer), "layers": []any{descriptor(files, layer)},
					"annotations": map[string]any{"x": strings.Repeat("x", 2<<20)}}
			},
			words: "is larger than 1048576 bytes",
		},
		"an index without end": { // an index cannot name itself; a chain of them can be long
			make: func(t *testing.T, files fstest.MapFS) map[string]any {
				last := map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []any{}}
				for range 10 {
					d := addBlob(files, typeIndex, asJSON(t, last))
					last = map[string]any{"schemaVersion": 2, "mediaType": typeIndex, "manifests": []any{d}}
				}
				return last
			},
			words: "nested more than 4 deep",
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{}
			document := c.make(t, files)
			if document["schemaVersion"] == nil {
				document["schemaVersion"] = 2
			}
			data := asJSON(t, document)
			f := serveRegistry(t, func(w http.ResponseWriter, r *http.Request) bool {
				if c.before != nil && c.before(w, r) {
					return true
				}
				// Whatever it is, it is served: a hostile registry has no scruples.
				_, digest, ok := strings.Cut(r.URL.Path, "sha256:")
				if !ok {
					return false
				}
				body := data
				if digest != sumOf(data) {
					file := files["blobs/sha256/"+digest]
					if file == nil {
						return false
					}
					body = file.Data
				}
				_, _ = w.Write(body)
				return true
			})
			ref, err := ParseRef(f.host()+"/web@sha256:"+sumOf(data), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			s := pullingStore(t, filepath.Join(t.TempDir(), "images"), limits)
			defer s.Close()
			_, err = s.Prepare(t.Context(), ref)
			if err == nil || !strings.Contains(err.Error(), c.words) {
				t.Fatalf("got %v, want %q", err, c.words)
			}
			if !strings.Contains(err.Error(), ref.Image.String()) {
				t.Errorf("the error does not name the image: %v", err)
			}
		})
	}
}

// TestPullStopsWithItsContext, and what came by then is kept for the next attempt.
func TestPullStopsWithItsContext(t *testing.T) {
	layer := noise(t, "noise", 1<<20)
	ctx, cancel := context.WithCancel(t.Context())
	var goOn atomic.Bool
	f := serveRegistry(t, func(w http.ResponseWriter, r *http.Request) bool {
		if goOn.Load() || !strings.HasSuffix(r.URL.Path, sumOf(layer)) {
			return false
		}
		w.Header().Set("Content-Length", fmt.Sprint(len(layer)))
		_, _ = w.Write(layer[:len(layer)/2])
		w.(http.Flusher).Flush()
		cancel()
		<-r.Context().Done()
		return true
	})
	ref := f.pushImage(t, "web", layoutOf(t, nil, layer))
	s := newPullingStore(t)
	if _, err := s.Prepare(ctx, ref); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	goOn.Store(true)
	prepare(t, s, ref)
}

func TestProgressIsTold(t *testing.T) {
	layer := noise(t, "noise", 2<<20)
	go1 := make(chan struct{})
	asked := make(chan struct{})
	f := serveRegistry(t, func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, sumOf(layer)) {
			close(asked)
			<-go1
		}
		return false
	})
	ref := f.pushImage(t, "web", layoutOf(t, nil, layer, tarOf(t, entry{name: "a", body: "b"})))
	s := newPullingStore(t)
	done := make(chan error, 1)
	go func() {
		_, err := s.Prepare(t.Context(), ref)
		done <- err
	}()
	<-asked
	p, ok := s.Progress(ref.Image.Digest)
	if !ok || p.Layers != 2 || p.Ready != 0 || p.Bytes < 2<<20 {
		t.Errorf("progress is %+v, %t", p, ok)
	}
	if text := p.String(); !strings.HasPrefix(text, "0 of 2 layers ready, ") || !strings.HasSuffix(text, " of 2.0 MiB downloaded") {
		t.Errorf("it reads %q", text)
	}
	close(go1)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// TestPullOfOtherTools pulls what skopeo and buildah push.
func TestPullOfOtherTools(t *testing.T) {
	umoci, skopeo := tool(t, "umoci"), tool(t, "skopeo")
	dir := t.TempDir()
	name := filepath.Join(dir, "layout") + ":v1"
	run(t, umoci, "init", "--layout", filepath.Join(dir, "layout"))
	run(t, umoci, "new", "--image", name)
	bundle := filepath.Join(dir, "bundle")
	unpack := []string{"unpack", "--image", name, bundle}
	if os.Geteuid() != 0 {
		unpack = append(unpack, "--rootless")
	}
	run(t, umoci, unpack...)
	if err := os.WriteFile(filepath.Join(bundle, "rootfs", "hello"), []byte("hi"), 0o644); err != nil {
		t.Fatal(err)
	}
	run(t, umoci, "repack", "--image", name, bundle)
	f := serveRegistry(t, nil)
	for tag, args := range map[string][]string{
		"oci": nil, "docker": {"--format", "v2s2"}, "zstd": {"--dest-compress-format", "zstd", "--format", "oci"},
		"unpacked": {"--dest-decompress"},
	} {
		t.Run(tag, func(t *testing.T) {
			image := f.host() + "/web:" + tag
			if tag == "unpacked" {
				plain := filepath.Join(dir, "plain")
				run(t, skopeo, append(append([]string{"--insecure-policy", "copy"}, args...), "oci:"+name, "dir:"+plain)...)
				run(t, skopeo, "--insecure-policy", "copy", "--dest-tls-verify=false", "dir:"+plain, "docker://"+image)
			} else {
				run(t, skopeo, append(append([]string{"--insecure-policy", "copy", "--dest-tls-verify=false"}, args...), "oci:"+name, "docker://"+image)...)
			}
			s := newPullingStore(t)
			r, err := spec.ParseImage(image)
			if err != nil {
				t.Fatal(err)
			}
			digest, err := s.registry.Resolve(t.Context(), r)
			if err != nil {
				t.Fatal(err)
			}
			ref, err := ParseRef(spec.Pin(image, digest), "", nil)
			if err != nil {
				t.Fatal(err)
			}
			if data, err := os.ReadFile(filepath.Join(prepare(t, s, ref).Layers[0], "hello")); err != nil || string(data) != "hi" {
				t.Errorf("%q, %v", data, err)
			}
		})
	}
}
