package agent

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/agent/disk"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/agent/registry"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// fetching is as much of an agent as fetches, with a server of one file.
func fetching(t *testing.T) (a *agent, text *string, source string) {
	t.Helper()
	dir := t.TempDir()
	text = new(string)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, *text) }))
	t.Cleanup(server.Close)
	images, err := image.Open(dir + "/images")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { images.Close() })
	client, err := registry.New(registry.Config{Credentials: dir})
	if err != nil {
		t.Fatal(err)
	}
	return &agent{folders: folders{dir}, images: images, artifacts: newArtifacts(client, "test"), log: slog.New(slog.DiscardHandler)}, text, server.URL + "/file"
}

func (a *agent) fetchFor(t *testing.T, id spec.AllocationID, task *spec.Task) ([]image.Image, error) {
	t.Helper()
	app := &spec.App{Tasks: []spec.Task{*task}}
	allocation := &spec.Allocation{ID: id}
	if err := errors.Join(a.folders.makeFolders(allocation, app), a.folders.noteImages(id)); err != nil {
		t.Fatal(err)
	}
	return a.taskArtifacts(t.Context(), allocation, task, nil)
}

func textOf(t *testing.T, one image.Image, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(one.Layers[0], name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// TestAnAllocationKeepsItsArtifacts whatever the server has by then, and gets its folders again when its disk was emptied.
func TestAnAllocationKeepsItsArtifacts(t *testing.T) {
	a, text, source := fetching(t)
	task := &spec.Task{Name: "main", Rootfs: spec.RootfsHost, Artifacts: []spec.Artifact{{Destination: "/tmp/a/file", Source: source, Checksum: spec.ChecksumNone, Format: spec.FormatFile, Deadline: spec.Minute}}}
	*text = "one"
	first, err := a.fetchFor(t, "x-0-1", task)
	if err != nil || textOf(t, first[0], "tmp/a/file") != "one" {
		t.Fatalf("%+v, %v", first, err)
	}
	*text = "two"
	if err := errors.Join(os.RemoveAll(a.folders.root("x-0-1", "main")), os.Mkdir(a.folders.root("x-0-1", "main"), 0o755)); err != nil {
		t.Fatal(err)
	}
	again, err := a.fetchFor(t, "x-0-1", task)
	if err != nil || again[0].Digest != first[0].Digest {
		t.Errorf("it was %s and is %+v, %v", first[0].Digest, again, err)
	}
	for name, mode := range map[string]fs.FileMode{"tmp": 0o777 | fs.ModeSticky, "tmp/a": 0o755} {
		if info, err := os.Lstat(filepath.Join(a.folders.root("x-0-1", "main"), name)); err != nil || info.Mode() != fs.ModeDir|mode {
			t.Errorf("%s: %v, %v", name, info, err)
		}
	}
	other, err := a.fetchFor(t, "x-0-2", task)
	if err != nil || textOf(t, other[0], "tmp/a/file") != "two" {
		t.Errorf("%+v, %v", other, err)
	}
	use, unknown, err := a.folders.usedImages()
	if err != nil || unknown || !use[first[0].Digest] || !use[other[0].Digest] {
		t.Errorf("in use are %v, %v, %v", use, unknown, err)
	}
	// Without its note, what it began with is not known any more, and the server has another.
	if err := os.WriteFile(filepath.Join(a.folders.allocation("x-0-1"), artifactsFile), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if anew, err := a.fetchFor(t, "x-0-1", task); err != nil || anew[0].Digest != other[0].Digest {
		t.Errorf("%+v, %v", anew, err)
	}
}

// TestACleanEndsAPreparation: nobody waits for a server that hangs once the allocation has gone.
func TestACleanEndsAPreparation(t *testing.T) {
	a, _, _ := fetching(t)
	asked := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { asked <- struct{}{}; <-r.Context().Done() }))
	defer server.Close()
	a.preparing, a.events, a.crowded = newErrands(), make(chan node.Event, 10), make(chan struct{}, 1)
	a.disk = disk.Open(a.folders.dir, a.log)
	app := &spec.App{Tasks: []spec.Task{{Name: "main", Rootfs: spec.RootfsHost, Artifacts: []spec.Artifact{{Destination: "/x", Source: server.URL, Checksum: spec.ChecksumNone, Format: spec.FormatFile, Deadline: spec.Hour}}}}}
	a.carryOut(t.Context(), node.Prepare{Allocation: spec.Allocation{ID: "x-0-1"}, App: app})
	<-asked
	a.carryOut(t.Context(), node.Clean{ID: "x-0-1"})
	if e := (<-a.events).(node.Prepared); e.Err == "" {
		t.Error("it is prepared")
	}
	if e := (<-a.events).(node.Cleaned); e.Err != "" {
		t.Error(e.Err)
	}
	if left, _ := os.ReadDir(filepath.Join(a.folders.dir, "allocations")); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

func TestArtifactsHaveTheDiskOfTheTask(t *testing.T) {
	a, text, source := fetching(t)
	one := spec.Artifact{Destination: "/opt/1", Source: source, Checksum: spec.ChecksumNone, Format: spec.FormatFile, Deadline: spec.Minute}
	two := one
	two.Destination = "/opt/2"
	*text = strings.Repeat("x", 3<<20)
	task := &spec.Task{Name: "main", Rootfs: spec.RootfsHost, Disk: 5 * spec.MiB, Artifacts: []spec.Artifact{one, two}}
	if _, err := a.fetchFor(t, "x-0-1", task); err == nil || !strings.Contains(err.Error(), "artifact /opt/2 of task main") || !strings.Contains(err.Error(), "larger disk") {
		t.Errorf("6 MiB where 5 are allowed: %v", err)
	}
	task.Disk = 6 * spec.MiB
	if all, err := a.fetchFor(t, "x-0-2", task); err != nil || len(all) != 2 {
		t.Errorf("%+v, %v", all, err)
	}
	task.Disk = 5 * spec.MiB // what is there already has a size too
	if _, err := a.fetchFor(t, "x-0-3", task); err == nil {
		t.Error("6 MiB that are there, where 5 are allowed")
	}
}

func TestWhoseArtifactsAre(t *testing.T) {
	a, _, _ := fetching(t)
	for name, c := range map[string]struct {
		task     spec.Task
		img      *image.Image
		uid, gid int
	}{
		"root":                   {},
		"numbers":                {task: spec.Task{User: "1000:1001"}, uid: 1000, gid: 1001},
		"a name of the node":     {task: spec.Task{User: "daemon"}, uid: 1, gid: 1},
		"in a user namespace":    {task: spec.Task{User: "1000:1001", UserNS: true}, uid: executor.FirstMappedID + 1000, gid: executor.FirstMappedID + 1001},
		"root of such":           {task: spec.Task{UserNS: true}, uid: executor.FirstMappedID, gid: executor.FirstMappedID},
		"of the image, by name":  {img: imageOf(t, "app", "app:x:33:34::/:\n"), uid: 33, gid: 34},
		"of an image without it": {img: imageOf(t, "", "")},
		"the task's word":        {task: spec.Task{User: "7"}, img: imageOf(t, "app", "app:x:33:34::/:\n"), uid: 7},
	} {
		uid, gid, err := a.ownerOfTask("x-0-1", &c.task, c.img)
		if err != nil || uid != c.uid || gid != c.gid {
			t.Errorf("%s: %d:%d, %v", name, uid, gid, err)
		}
	}
	if _, _, err := a.ownerOfTask("x-0-1", &spec.Task{}, imageOf(t, "nobody-knows", "app:x:33:34::/:\n")); err == nil || !strings.Contains(err.Error(), "nobody-knows") {
		t.Errorf("a user that is not there: %v", err)
	}
}

// imageOf is an image of one layer with a user.
func imageOf(t *testing.T, user, passwd string) *image.Image {
	t.Helper()
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/etc", 0o755); err != nil {
		t.Fatal(err)
	}
	if passwd != "" {
		if err := os.WriteFile(dir+"/etc/passwd", []byte(passwd), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return &image.Image{Config: image.Config{User: user}, Layers: []string{dir}}
}

// TestArtifactsInAContainer: they lie above the image, and with a root that nobody writes to above everything.
func TestArtifactsInAContainer(t *testing.T) {
	f := folders{"/data"}
	all := []image.Image{{Layers: []string{"/one"}}, {Layers: []string{"/two"}}}
	c := executor.Spec{Root: executor.Root{Kind: executor.RootLayers, Layers: []string{"/bottom", "/top"}, Writable: "/w"}}
	f.lay(&c, "x-0-1", "main", all)
	if got := strings.Join(c.Root.Layers, " "); got != "/bottom /top /one /two" {
		t.Error(got)
	}
	c = executor.Spec{Root: executor.Root{Kind: executor.RootHost}}
	f.lay(&c, "x-0-1", "main", all)
	if got := strings.Join(c.Root.Layers, " "); got != "/one /two /data/allocations/x-0-1/main/root" {
		t.Error(got)
	}
	c = executor.Spec{Root: executor.Root{Kind: executor.RootHost}}
	if f.lay(&c, "x-0-1", "main", nil); c.Root.Layers != nil {
		t.Error(c.Root.Layers)
	}
}

// Who looks at the files of a task fetches nothing for that.
func TestLookingFetchesNothing(t *testing.T) {
	a, text, source := fetching(t)
	*text = "content"
	task := &spec.Task{Name: "main", Rootfs: spec.RootfsHost, Artifacts: []spec.Artifact{{Destination: "/opt/x", Source: source, Checksum: spec.ChecksumNone, Format: spec.FormatFile, Deadline: spec.Minute}}}
	if _, err := a.keptArtifacts("a-0-1", task); err == nil || !strings.Contains(err.Error(), "is not here") {
		t.Errorf("before it is fetched: %v", err)
	}
	fetched, err := a.fetchFor(t, "a-0-1", task)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := a.keptArtifacts("a-0-1", task)
	if err != nil || len(kept) != 1 || kept[0].Digest != fetched[0].Digest {
		t.Errorf("kept %+v, %v; fetched %+v", kept, err, fetched)
	}
}
