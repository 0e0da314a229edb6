package image

import (
	"bytes"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// likeAnImage is a layer as distributions make them: thousands of small files, some programs, some of what is compressed
// already.
func likeAnImage(b *testing.B) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	words := make([]string, 4000)
	for i := range words {
		words[i] = fmt.Sprintf("%x ", r.Uint32()>>r.UintN(24))
	}
	text := func(n int) string {
		var t bytes.Buffer
		for t.Len() < n {
			t.WriteString(words[r.UintN(uint(len(words)))])
		}
		return t.String()
	}
	var entries []entry
	for d := range 300 {
		entries = append(entries, entry{name: fmt.Sprintf("usr/share/doc/package%d/", d)})
		for i := range 10 {
			entries = append(entries, entry{name: fmt.Sprintf("usr/share/doc/package%d/file%d", d, i), body: text(int(2000 + r.UintN(8000)))})
		}
	}
	for i := range 20 {
		noise := make([]byte, 1<<20)
		for k := range noise {
			noise[k] = byte(r.Uint32())
		}
		entries = append(entries, entry{name: fmt.Sprintf("usr/bin/program%d", i), body: text(1<<20) + string(noise), mode: 0o755})
	}
	return tarOf(b, entries...)
}

// cpu is the processor time of this process so far.
func cpu(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkBesideOthers unpacks the same image in turns with this package, with umoci (a layer to a folder) and with skopeo
// (into the store that podman uses), and tells the least processor time of each: on a busy machine the other runs say how busy it was.
func BenchmarkBesideOthers(b *testing.B) {
	if os.Geteuid() != 0 {
		b.Skip("skopeo's store needs root")
	}
	umoci, err1 := exec.LookPath("umoci")
	skopeo, err2 := exec.LookPath("skopeo")
	if err1 != nil || err2 != nil {
		b.Skip("umoci and skopeo are not installed")
	}
	dir := b.TempDir()
	layout := filepath.Join(dir, "layout")
	files := layoutOf(b, gzipped, likeAnImage(b))
	for name, file := range files {
		path := filepath.Join(layout, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			b.Fatal(err)
		}
		if name == "index.json" { // the others want a tag
			file.Data = bytes.Replace(file.Data, []byte(`"digest"`), []byte(`"annotations":{"`+refName+`":"v1"},"digest"`), 1)
		}
		if err := os.WriteFile(path, file.Data, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	least := map[string]time.Duration{}
	note := func(who string, d time.Duration) {
		if least[who] == 0 || d < least[who] {
			least[who] = d
		}
	}
	child := func(who string, name string, args ...string) {
		cmd := exec.CommandContext(b.Context(), name, args...)
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s: %v\n%s", who, err, out)
		}
		note(who, cmd.ProcessState.UserTime()+cmd.ProcessState.SystemTime())
	}
	for i := 0; b.Loop(); i++ {
		at := func(what string) string { return filepath.Join(dir, fmt.Sprint(what, i)) }
		s, err := Open(at("own"))
		if err != nil {
			b.Fatal(err)
		}
		before := cpu(b)
		image := prepare(b, s, Ref{Path: layout, Tag: "v1"})
		note("own", cpu(b)-before)
		if info, err := os.Stat(filepath.Join(image.Layers[0], "usr/bin/program19")); err != nil || info.Size() < 2<<20 {
			b.Fatal(info, err)
		}
		child("umoci", umoci, "raw", "unpack", "--image", layout+":v1", at("umoci"))
		child("skopeo", skopeo, "--insecure-policy", "copy", "oci:"+layout+":v1", "containers-storage:[overlay@"+at("graph")+"+"+at("run")+"]localhost/web:v1")
		if err := s.Close(); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		_ = unix.Unmount(filepath.Join(at("graph"), "overlay"), unix.MNT_DETACH)
		for _, what := range []string{"own", "umoci", "graph", "run"} {
			if err := os.RemoveAll(at(what)); err != nil && !os.IsNotExist(err) {
				b.Fatal(err)
			}
		}
		b.StartTimer()
	}
	size := int64(0)
	if err := fs.WalkDir(files, ".", func(_ string, d fs.DirEntry, err error) error {
		if info, e := d.Info(); err == nil && e == nil {
			size += info.Size()
		}
		return err
	}); err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(size)/(1<<20), "MiB")
	b.ReportMetric(float64(least["own"].Milliseconds()), "own-cpu-ms")
	b.ReportMetric(float64(least["umoci"])/float64(least["own"]), "umoci/own")
	b.ReportMetric(float64(least["skopeo"])/float64(least["own"]), "skopeo/own")
}
