package image

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"testing/fstest"
	"time"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// entry is a tar entry as tests write it.
type entry struct {
	name, body, link string
	kind             byte // 0: a file, or a folder if the name ends in a slash
	mode             int64
	uid              int
	pax              map[string]string
}

var testTime = time.Unix(1_600_000_000, 0)

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, e := range entries {
		h := &tar.Header{
			Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.body)), ModTime: testTime,
			Uid: e.uid, PAXRecords: e.pax,
		}
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			if e.name != "" && e.name[len(e.name)-1] == '/' {
				h.Typeflag = tar.TypeDir
			}
		}
		if h.Mode == 0 {
			if h.Mode = 0o644; h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		if h.Typeflag == tar.TypeXGlobalHeader {
			h = &tar.Header{Typeflag: h.Typeflag, PAXRecords: h.PAXRecords}
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatalf("write header %q: %v", e.name, err)
		}
		if _, err := w.Write([]byte(e.body)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w := gzip.NewWriter(&out)
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func zstded(t testing.TB, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll(data, nil)
}

func sumOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}

// layoutOf makes an OCI image layout of uncompressed layers, each stored as pack leaves it.
func layoutOf(t testing.TB, pack func(testing.TB, []byte) []byte, layers ...[]byte) fstest.MapFS {
	t.Helper()
	files := fstest.MapFS{"oci-layout": {Data: []byte(`{"imageLayoutVersion":"1.0.0"}`)}}
	manifest := addManifest(t, files, runtime.GOARCH, pack, layers...)
	writeIndex(t, files, manifest)
	return files
}

func writeIndex(t testing.TB, files fstest.MapFS, manifests ...map[string]any) {
	t.Helper()
	files["index.json"] = &fstest.MapFile{Data: asJSON(t, map[string]any{"schemaVersion": 2, "manifests": manifests})}
}

// addManifest adds an image to a layout and returns its descriptor.
func addManifest(t testing.TB, files fstest.MapFS, arch string, pack func(testing.TB, []byte) []byte, layers ...[]byte) map[string]any {
	t.Helper()
	var diffIDs []string
	var descriptors []map[string]any
	for _, plain := range layers {
		diffIDs = append(diffIDs, "sha256:"+sumOf(plain))
		data := plain
		if pack != nil {
			data = pack(t, plain)
		}
		kind := "application/vnd.oci.image.layer.v1.tar"
		if bytes.HasPrefix(data, gzipMagic) {
			kind += "+gzip"
		}
		descriptors = append(descriptors, addBlob(files, kind, data))
	}
	config := asJSON(t, map[string]any{
		"architecture": arch, "os": "linux",
		"config": map[string]any{
			"Entrypoint": []string{"/bin/app"}, "Cmd": []string{"serve"}, "Env": []string{"A=1"}, "WorkingDir": "/srv",
			"User": "www", "StopSignal": "SIGQUIT", "ExposedPorts": map[string]any{"80/tcp": map[string]any{}},
		},
		"rootfs": map[string]any{"type": "layers", "diff_ids": diffIDs},
	})
	manifest := asJSON(t, map[string]any{
		"schemaVersion": 2, "layers": descriptors,
		"config": addBlob(files, "application/vnd.oci.image.config.v1+json", config),
	})
	return addBlob(files, "application/vnd.oci.image.manifest.v1+json", manifest)
}

func addBlob(files fstest.MapFS, mediaType string, data []byte) map[string]any {
	files["blobs/sha256/"+sumOf(data)] = &fstest.MapFile{Data: data}
	return map[string]any{"mediaType": mediaType, "digest": "sha256:" + sumOf(data), "size": len(data)}
}

func asJSON(t testing.TB, v any) []byte {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// archiveOf puts the files of a layout into a tar archive.
func archiveOf(t testing.TB, files fstest.MapFS) []byte {
	t.Helper()
	var entries []entry
	for name, file := range files {
		entries = append(entries, entry{name: name, body: string(file.Data)})
	}
	return tarOf(t, entries...)
}

func openStore(t testing.TB) *Store {
	t.Helper()
	s, err := Open(filepath.Join(t.TempDir(), "images"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func writeFile(t testing.TB, data []byte) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "image.tar")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}
