package image

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stowage/stowage/spec"
)

// prepare prepares and fails the test if that fails.
func prepare(t testing.TB, s *Store, ref Ref) Image {
	t.Helper()
	image, err := s.Prepare(t.Context(), ref)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func twoLayers(t testing.TB) [][]byte {
	return [][]byte{
		tarOf(t, entry{name: "bin/"}, entry{name: "bin/app", body: "one", mode: 0o755}, entry{name: "etc/old", body: "x"}),
		tarOf(t, entry{name: "etc/.wh.old"}, entry{name: "etc/new", body: "two"}),
	}
}

func checkTwoLayers(t *testing.T, image Image) {
	t.Helper()
	if len(image.Layers) != 2 {
		t.Fatalf("layers %q, want two", image.Layers)
	}
	for name, want := range map[string]string{
		filepath.Join(image.Layers[0], "etc/new"): "two", // top first
		filepath.Join(image.Layers[1], "bin/app"): "one",
	} {
		if data, err := os.ReadFile(name); err != nil || string(data) != want {
			t.Errorf("%s holds %q, %v; want %q", name, data, err, want)
		}
	}
	if info, err := os.Lstat(filepath.Join(image.Layers[0], "etc/old")); err != nil || !isWhiteout(info) {
		t.Errorf("etc/old is no whiteout: %v, %v", info, err)
	}
	want := Config{
		Entrypoint: []string{"/bin/app"}, Command: []string{"serve"}, Env: []string{"A=1"}, WorkDir: "/srv", User: "www",
		StopSignal: "SIGQUIT", Ports: []string{"80/tcp"},
	}
	if !reflect.DeepEqual(image.Config, want) {
		t.Errorf("config %+v, want %+v", image.Config, want)
	}
}

func TestPrepareFromEverySource(t *testing.T) {
	for name, pack := range map[string]func(testing.TB, []byte) []byte{"plain": nil, "gzip": gzipped, "zstd": zstded} {
		t.Run(name, func(t *testing.T) {
			files := layoutOf(t, pack, twoLayers(t)...)
			archive := archiveOf(t, files)
			dir := t.TempDir()
			if err := os.CopyFS(dir, files); err != nil {
				t.Fatal(err)
			}
			repo := fstest.MapFS{"images/web.tar": {Data: archive}, "images/web.tar.gz": {Data: gzipped(t, archive)}, "images/web.tar.zst": {Data: zstded(t, archive)}}
			for name, file := range files {
				repo["images/web/"+name] = file
			}
			file := writeFile(t, archive)
			for source, ref := range map[string]Ref{
				"folder of the repository":  {Repo: repo, Path: "images/web"},
				"archive of the repository": {Repo: repo, Path: "images/web.tar"},
				"gzip archive":              {Repo: repo, Path: "images/web.tar.gz"},
				"zstd archive":              {Repo: repo, Path: "images/web.tar.zst", SHA256: sumOf(zstded(t, archive))},
				"local folder":              {Path: dir},
				"local archive":             {Path: file},
				"checked local archive":     {Path: file, SHA256: sumOf(archive)},
				"file URL":                  {URL: "file://" + file, SHA256: sumOf(archive)},
			} {
				t.Run(source, func(t *testing.T) {
					s := openStore(t)
					image := prepare(t, s, ref)
					checkTwoLayers(t, image)
					if again := prepare(t, s, ref); !reflect.DeepEqual(image, again) {
						t.Errorf("the second time: %+v, the first: %+v", again, image)
					}
					if left, _ := os.ReadDir(s.tmp()); len(left) > 0 {
						t.Errorf("left in tmp: %v", left)
					}
				})
			}
		})
	}
}

func TestPrepareDockerSave(t *testing.T) {
	layers := twoLayers(t)
	config := asJSON(t, map[string]any{
		"os":     "linux",
		"config": map[string]any{"Cmd": []string{"serve"}},
		"rootfs": map[string]any{"diff_ids": []string{"sha256:" + sumOf(layers[0]), "sha256:" + sumOf(layers[1]), "sha256:" + sumOf(layers[0])}},
	})
	archive := tarOf(t,
		entry{name: "c/layer.tar", kind: '2', link: "../a/layer.tar"}, // a layer that repeats
		entry{name: "a/layer.tar", body: string(layers[0])},
		entry{name: "b/layer.tar", body: string(layers[1])},
		entry{name: "config.json", body: string(config)},
		entry{name: "manifest.json", body: `[{"Config":"config.json","RepoTags":["web:1"],"Layers":["a/layer.tar","b/layer.tar","c/layer.tar"]}]`},
	)
	s := openStore(t)
	image := prepare(t, s, Ref{Path: writeFile(t, archive)})
	if image.Digest != "sha256:"+sumOf(config) || len(image.Layers) != 3 || image.Layers[0] == image.Layers[2] {
		t.Errorf("got %+v", image)
	}
	prepare(t, s, Ref{Path: writeFile(t, archive), Tag: "1"})
	_, err := s.Prepare(t.Context(), Ref{Path: writeFile(t, archive), Tag: "2"})
	if err == nil || !strings.Contains(err.Error(), "web:1") {
		t.Errorf("an unknown tag gives %v, want an error that lists what there is", err)
	}
}

func TestPrepareFromURLDownloadsOnce(t *testing.T) {
	archive := archiveOf(t, layoutOf(t, gzipped, twoLayers(t)...))
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path != "/web.tar" {
			http.NotFound(w, r)
			return
		}
		w.Write(archive)
	}))
	defer server.Close()
	s := openStore(t)
	ref := Ref{URL: server.URL + "/web.tar", SHA256: sumOf(archive)}
	for range 3 {
		checkTwoLayers(t, prepare(t, s, ref))
	}
	if n := requests.Load(); n != 1 {
		t.Errorf("%d requests, want 1", n)
	}
	for _, bad := range []Ref{
		{URL: server.URL + "/web.tar", SHA256: strings.Repeat("0", 64)},
		{URL: server.URL + "/other", SHA256: strings.Repeat("1", 64)},
		{URL: server.URL + "/web.tar"},
	} {
		if _, err := s.Prepare(t.Context(), bad); err == nil {
			t.Errorf("%+v was accepted", bad)
		}
	}
}

func TestPrepareGivesUpAStalledDownload(t *testing.T) {
	stop := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/half" {
			w.Write(make([]byte, 1000))
			w.(http.Flusher).Flush()
		}
		<-stop // says no more
	}))
	defer server.Close()
	defer close(stop)
	limits := DefaultLimits
	limits.Stall = 50 * time.Millisecond
	s, err := OpenWith(filepath.Join(t.TempDir(), "images"), limits, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for i, path := range []string{"/half", "/nothing"} {
		_, err := s.Prepare(t.Context(), Ref{URL: server.URL + path, SHA256: strings.Repeat(fmt.Sprint(i), 64)})
		if !errors.Is(err, errStalled) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

func TestPrepareSharesLayers(t *testing.T) {
	s := openStore(t)
	base := tarOf(t, entry{name: "base", body: "b"})
	one := prepare(t, s, Ref{Repo: layoutOf(t, gzipped, base, tarOf(t, entry{name: "one"})), Path: "."})
	two := prepare(t, s, Ref{Repo: layoutOf(t, nil, base, tarOf(t, entry{name: "two"})), Path: "."})
	if one.Layers[1] != two.Layers[1] || one.Layers[0] == two.Layers[0] {
		t.Errorf("layers %q and %q should share their base only", one.Layers, two.Layers)
	}
}

// countingFS counts how often a large file is opened.
type countingFS struct {
	fstest.MapFS
	opened atomic.Int32
}

func (f *countingFS) Open(name string) (fs.File, error) {
	if file := f.MapFS[name]; file != nil && len(file.Data) > 1<<20 {
		f.opened.Add(1)
	}
	return f.MapFS.Open(name)
}

func TestPrepareAtTheSameTimeUnpacksOnce(t *testing.T) {
	files := &countingFS{MapFS: layoutOf(t, nil, tarOf(t, entry{name: "big", body: strings.Repeat("x", 2<<20)}))}
	s := openStore(t)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if _, err := s.Prepare(t.Context(), Ref{Repo: files, Path: "."}); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := files.opened.Load(); n != 1 {
		t.Errorf("the layer was read %d times", n)
	}
}

func TestPreparePicksPlatformAndTag(t *testing.T) {
	files := fstest.MapFS{}
	layer := tarOf(t, entry{name: "mine"})
	mine := addManifest(t, files, runtime.GOARCH, nil, layer)
	mine["platform"] = map[string]any{"os": "linux", "architecture": runtime.GOARCH}
	other := addManifest(t, files, "mips", nil, tarOf(t, entry{name: "other"}))
	other["platform"] = map[string]any{"os": "linux", "architecture": "mips"}
	attestation := map[string]any{"digest": other["digest"], "platform": map[string]any{"os": "unknown", "architecture": "unknown"}}
	inner := addBlob(files, "application/vnd.oci.image.index.v1+json",
		asJSON(t, map[string]any{"manifests": []any{attestation, other, mine}}))
	inner["annotations"] = map[string]string{refName: "v1"}
	foreign := addBlob(files, "application/vnd.oci.image.index.v1+json", asJSON(t, map[string]any{"manifests": []any{other}}))
	foreign["annotations"] = map[string]string{refName: "v2"}
	writeIndex(t, files, inner, foreign)
	s := openStore(t)
	if image := prepare(t, s, Ref{Repo: files, Path: ".", Tag: "v1"}); image.Digest != mine["digest"] {
		t.Errorf("took %s, want %s", image.Digest, mine["digest"])
	}
	for tag, want := range map[string]string{"": "v1, v2", "v2": "linux/mips", "v3": "v1, v2"} {
		if _, err := s.Prepare(t.Context(), Ref{Repo: files, Path: ".", Tag: tag}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("tag %q gives %v, want an error with %q", tag, err, want)
		}
	}
}

func TestPrepareRefusesDamage(t *testing.T) {
	layers := twoLayers(t)
	blobName := "blobs/sha256/" + sumOf(layers[0])
	for name, damage := range map[string]func(files fstest.MapFS){
		"a layer of other content": func(f fstest.MapFS) { f[blobName] = &fstest.MapFile{Data: layers[1]} },
		"a layer cut short":        func(f fstest.MapFS) { f[blobName] = &fstest.MapFile{Data: layers[0][:700]} },
		"a layer with more behind": func(f fstest.MapFS) {
			f[blobName] = &fstest.MapFile{Data: append(layers[0][:len(layers[0]):len(layers[0])], 0)}
		},
		"a layer that is missing":   func(f fstest.MapFS) { delete(f, blobName) },
		"an index that is no JSON":  func(f fstest.MapFS) { f["index.json"] = &fstest.MapFile{Data: []byte("{")} },
		"an index without a digest": func(f fstest.MapFS) { f["index.json"] = &fstest.MapFile{Data: []byte(`{"manifests":[{}]}`)} },
		"an empty index":            func(f fstest.MapFS) { f["index.json"] = &fstest.MapFile{Data: []byte(`{}`)} },
		"an index that is huge":     func(f fstest.MapFS) { f["index.json"] = &fstest.MapFile{Data: make([]byte, 5<<20)} },
		"a digest that is a path": func(f fstest.MapFS) {
			f["index.json"] = &fstest.MapFile{Data: []byte(`{"manifests":[{"digest":"sha256:../../x"}]}`)}
		},
		"a damaged manifest":       func(f fstest.MapFS) { damageBlobs(f, `"schemaVersion":2,"x"`, "schemaVersion") },
		"no index and no manifest": func(f fstest.MapFS) { delete(f, "index.json") },
		"an index that names itself": func(f fstest.MapFS) {
			f["index.json"] = &fstest.MapFile{Data: []byte(`{"manifests":[{"mediaType":"application/vnd.oci.image.index.v1+json"}]}`)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			files := layoutOf(t, nil, layers...)
			damage(files)
			s := openStore(t)
			if _, err := s.Prepare(t.Context(), Ref{Repo: files, Path: "."}); err == nil {
				t.Fatal("was accepted")
			}
			for _, dir := range []string{"tmp", "images"} {
				if left, _ := os.ReadDir(filepath.Join(s.dir, dir)); len(left) > 0 {
					t.Errorf("left in %s: %v", dir, left)
				}
			}
			prepare(t, s, Ref{Repo: layoutOf(t, nil, layers...), Path: "."}) // the store is as good as before
		})
	}
}

// damageBlobs replaces text in all blobs, which keep their names.
func damageBlobs(files fstest.MapFS, replacement, text string) {
	for name, file := range files {
		if strings.HasPrefix(name, "blobs/") {
			files[name] = &fstest.MapFile{Data: []byte(strings.ReplaceAll(string(file.Data), text, replacement))}
		}
	}
}

func TestOpenRemovesWhatAKilledProcessLeft(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "images")
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	image := prepare(t, s, Ref{Repo: layoutOf(t, nil, twoLayers(t)...), Path: "."})
	if _, err := Open(dir); !errors.Is(err, ErrInUse) {
		t.Errorf("a second process gets %v", err)
	}
	half := filepath.Join(s.tmp(), "layer-half", "etc")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s, err = Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Lstat(half); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("leftovers are still there: %v", err)
	}
	checkTwoLayers(t, image)
	if again := prepare(t, s, Ref{Repo: layoutOf(t, nil, twoLayers(t)...), Path: "."}); !reflect.DeepEqual(again, image) {
		t.Errorf("got %+v, want %+v", again, image)
	}
}

func TestPrepareStopsWithItsContext(t *testing.T) {
	s := openStore(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Prepare(ctx, Ref{Repo: layoutOf(t, nil, twoLayers(t)...), Path: "."}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if left, _ := os.ReadDir(filepath.Join(s.dir, "layers")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

func TestParseRef(t *testing.T) {
	sum := strings.Repeat("ab", 32)
	repo := fstest.MapFS{}
	for _, c := range []struct {
		text, sum string
		want      Ref
		wrong     string
	}{
		{text: "oci:./image", want: Ref{Repo: repo, Path: "image"}},
		{text: "oci:images/web:1.2", want: Ref{Repo: repo, Path: "images/web", Tag: "1.2"}},
		{text: "oci:a:b/web.tar", sum: "sha256:" + strings.ToUpper(sum), want: Ref{Repo: repo, Path: "a:b/web.tar", SHA256: sum}},
		{text: "https://host/web.tar", sum: sum, want: Ref{URL: "https://host/web.tar", SHA256: sum}},
		{text: "file:///srv/web.tar", sum: sum, want: Ref{URL: "file:///srv/web.tar", SHA256: sum}},
		{text: "archive:web.tar", want: Ref{Repo: repo, Path: "web.tar"}},
		{text: "oci:../image", wrong: "within the repository"},
		{text: "oci:/etc", wrong: "within the repository"},
		{text: "oci:", wrong: "no path"},
		{text: "https://host/web.tar", wrong: "needs its sha256"},
		{text: "https://host/web.tar", sum: "12", wrong: "64 hexadecimal digits"},
		{text: "ftp://host/web.tar", sum: sum, wrong: "not known"},
		{text: "https:///web.tar", sum: sum, wrong: "no host"},
		{text: "file://host/web.tar", sum: sum, wrong: "file:///"},
		{text: "nginx:1.27@sha256:" + sum, want: Ref{Image: spec.ImageRef{Registry: "docker.io", Repository: "library/nginx", Tag: "1.27", Digest: "sha256:" + sum}}},
		{text: "Nginx", wrong: "lower-case"},
	} {
		got, err := ParseRef(c.text, c.sum, repo)
		if c.wrong != "" {
			if err == nil || !strings.Contains(err.Error(), c.wrong) {
				t.Errorf("%q: %v, want an error with %q", c.text, err, c.wrong)
			}
			continue
		}
		if err != nil || !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q: %+v, %v; want %+v", c.text, got, err, c.want)
		}
	}
}

// BenchmarkPrepareAgain prepares an image that is there, as for each further allocation.
func BenchmarkPrepareAgain(b *testing.B) {
	s := openStore(b)
	ref := Ref{Repo: layoutOf(b, nil, twoLayers(b)...), Path: "."}
	for b.Loop() {
		prepare(b, s, ref)
	}
}
