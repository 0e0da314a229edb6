package e2e

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/stowage/stowage/spec"
)

// pushTask pushes an image whose program prints a message and waits, and returns its digest.
func pushTask(t *testing.T, image, message string) string {
	t.Helper()
	busybox, err := exec.LookPath("busybox")
	if err != nil {
		t.Fatal("busybox is needed as the program of an image: install busybox-static")
	}
	program, err := os.ReadFile(busybox)
	if err != nil {
		t.Fatal(err)
	}
	var archive bytes.Buffer
	w := tar.NewWriter(&archive)
	for _, f := range []struct {
		name string
		body []byte
	}{{"bin/busybox", program}, {"etc/message", []byte(message + "\n")}} {
		if err := w.WriteHeader(&tar.Header{Name: f.name, Typeflag: tar.TypeReg, Mode: 0o755, Size: int64(len(f.body))}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(f.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(archive.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.AppendLayers(empty.Image, layer)
	if err != nil {
		t.Fatal(err)
	}
	file, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	c := file.DeepCopy()
	c.OS, c.Architecture = "linux", ""
	c.Config = v1.Config{Cmd: []string{"/bin/busybox", "sh", "-c", "/bin/busybox cat /etc/message; exec /bin/busybox sleep 1000000"}}
	if img, err = mutate.ConfigFile(img, c); err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(image, name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return digest.String()
}

func imageHCL(count int, images ...string) string {
	var b strings.Builder
	for i, image := range images {
		fmt.Fprintf(&b, `app "img%d" {
  count = %d
  update { healthy_for = "0s" }
  task "main" {
    image  = %q
    cpu    = 0.01
    memory = "16MiB"
  }
}
`, i, count, image)
	}
	return b.String()
}

// TestTagsOfARegistry: the plan says what a tag means and that runs; the tag moves and nothing changes until the next commit; the way
// back runs what ran; a registry that is down stops only what nobody knows.
func TestTagsOfARegistry(t *testing.T) {
	c := newCluster(t, 2)
	var down atomic.Bool
	inner := server.New(server.Logger(log.New(io.Discard, "", 0)))
	registry := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		inner.ServeHTTP(w, r)
	}))
	defer registry.Close()
	image := registry.Listener.Addr().String() + "/team/web:1"
	one := pushTask(t, image, "this is one")

	c.commit("cluster.hcl", clusterHCL)
	c.write("img.hcl", imageHCL(2, image))
	if out := c.cli("plan", "./"); !strings.Contains(out, "image "+image+" → "+spec.ShortDigest(one)) {
		t.Errorf("the plan does not say what the tag means:\n%s", out)
	}
	first := c.commit()
	c.runsImage(2, "img0", "this is one")

	two := pushTask(t, image, "this is two")
	before, err := c.allocations()
	if err != nil {
		t.Fatal(err)
	}
	c.noChanges()
	c.master.kill9()
	c.startMaster()
	c.noChanges()
	if out := c.cli("plan", "./"); !strings.Contains(out, spec.ShortDigest(two)) { // what a commit would do now
		t.Errorf("the plan of the working tree goes by the old tag:\n%s", out)
	}
	after, err := c.allocations()
	if err != nil || fmt.Sprint(ids(after)) != fmt.Sprint(ids(before)) {
		t.Errorf("a tag that moved changed something: %v, %v; before %v", ids(after), err, ids(before))
	}

	c.commit("unrelated.txt", "x")
	c.runsImage(2, "img0", "this is two")

	down.Store(true)
	c.cli("rollback", first)
	c.runsImage(2, "img0", "this is one")
	c.commit("img.hcl", imageHCL(3, image, registry.Listener.Addr().String()+"/team/other:1"))
	c.runsImage(3, "img0", "this is one")
	var status struct {
		Problems []struct{ Subject, What string } `json:"problems"`
	}
	c.json(&status, "status", "--json")
	if len(status.Problems) != 1 || status.Problems[0].Subject != "img1" || !strings.Contains(status.Problems[0].What, "task main: image "+registry.Listener.Addr().String()+"/team/other:1 has no digest yet") {
		t.Errorf("the problems are %+v", status.Problems)
	}
	down.Store(false)
	pushTask(t, registry.Listener.Addr().String()+"/team/other:1", "this is other")
	c.runsImage(3, "img1", "this is other") // nobody had to ask
}

func ids(all map[string]spec.AllocationView) map[string]spec.AllocationID {
	out := map[string]spec.AllocationID{}
	for slot, a := range all {
		out[slot] = a.ID
	}
	return out
}

// runsImage waits until the slots of an app run, and each has printed a message.
func (c *cluster) runsImage(count int, app, message string) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d of %s say %q", count, app, message), func() error {
		all, err := c.allocations()
		if err != nil {
			return err
		}
		n, others := 0, ""
		for slot, a := range all {
			if string(a.App) != app {
				continue
			}
			if !a.Healthy {
				others += fmt.Sprintf("; %s is %s: %s", slot, a.State, a.Reason)
				continue
			}
			out, err := c.try("logs", string(a.ID))
			if err != nil {
				return err
			}
			if strings.TrimSpace(out) != message {
				return fmt.Errorf("%s says %q", slot, out)
			}
			n++
		}
		if n != count {
			return fmt.Errorf("%d run%s", n, others)
		}
		return nil
	})
}
