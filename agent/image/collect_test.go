package image

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"testing"
	"time"
)

// full is a disk that is never less full.
func full() (int, error) { return 100, nil }

func used(digests map[string]bool) func() (map[string]bool, error) {
	return func() (map[string]bool, error) { return digests, nil }
}

// removeAll removes everything but the images in use, as on a full disk a long time after they were prepared.
func removeAll(t testing.TB, s *Store, use ...string) (Collected, error) {
	inUse := map[string]bool{}
	for _, d := range use {
		inUse[d] = true
	}
	return s.collect(t.Context(), DefaultWatermarks, used(inUse), time.Now().Add(2*justUsed), full)
}

func exists(t *testing.T, names ...string) bool {
	t.Helper()
	for _, name := range names {
		if _, err := os.Lstat(name); err != nil {
			return false
		}
	}
	return true
}

func TestCollectKeepsWhatIsUsed(t *testing.T) {
	s := openStore(t)
	base := tarOf(t, entry{name: "base", body: "b"})
	archive := archiveOf(t, layoutOf(t, gzipped, base, tarOf(t, entry{name: "one"})))
	refOne := Ref{URL: "file://" + writeFile(t, archive), SHA256: sumOf(archive)}
	one := prepare(t, s, refOne)
	two := prepare(t, s, Ref{Repo: layoutOf(t, nil, base, tarOf(t, entry{name: "two"})), Path: "."})
	if got, err := s.collect(t.Context(), DefaultWatermarks, used(nil), time.Now(), full); got != (Collected{}) || err != nil {
		t.Errorf("removed %+v of images just prepared, %v", got, err)
	}
	if got, err := removeAll(t, s, two.Digest); got != (Collected{Images: 1, Layers: 1}) || err != nil {
		t.Errorf("removed %+v, %v; want the layer that only the first image has", got, err)
	}
	if !exists(t, two.Layers...) {
		t.Error("layers of an image in use are gone")
	}
	if again := prepare(t, s, refOne); !reflect.DeepEqual(again, one) {
		t.Errorf("after removal, got %+v, want %+v", again, one)
	}
	if got, err := removeAll(t, s); got != (Collected{Images: 2, Layers: 3}) || err != nil {
		t.Errorf("removed %+v, %v; want all", got, err)
	}
	for _, dir := range []string{"layers", "images", "archives", "tmp", "downloads"} {
		if left, _ := os.ReadDir(filepath.Join(s.dir, dir)); len(left) > 0 {
			t.Errorf("left in %s: %v", dir, left)
		}
	}
}

// TestCollectStopsAtTheLowMark: the longest unused go first, and no more than it takes.
func TestCollectStopsAtTheLowMark(t *testing.T) {
	s := openStore(t)
	now := time.Now()
	var images []Image
	for i, name := range []string{"newest", "oldest", "middle", "used"} {
		image := prepare(t, s, Ref{Repo: layoutOf(t, nil, tarOf(t, entry{name: name})), Path: "."})
		last := now.Add(-time.Duration([]int{1, 4, 2, 9}[i]) * time.Hour)
		if err := os.Chtimes(s.recordPath(image.Digest), last, last); err != nil {
			t.Fatal(err)
		}
		images = append(images, image)
	}
	use := map[string]bool{images[3].Digest: true}
	disk := func() (int, error) { // ten percent for each layer
		layers, err := os.ReadDir(filepath.Join(s.dir, "layers"))
		return 45 + 10*len(layers), err
	}
	for _, c := range []struct {
		marks Watermarks
		want  Collected
		left  []bool // newest, oldest, middle, used
	}{
		{Watermarks{High: 90, Low: 50}, Collected{}, []bool{true, true, true, true}},
		{Watermarks{High: 85, Low: 75}, Collected{Images: 1, Layers: 1}, []bool{true, false, true, true}},
		{Watermarks{High: 75, Low: 70}, Collected{Images: 1, Layers: 1}, []bool{true, false, false, true}},
		{Watermarks{High: 60, Low: 10}, Collected{Images: 1, Layers: 1}, []bool{false, false, false, true}},
	} {
		got, err := s.collect(t.Context(), c.marks, used(use), now, disk)
		if got != c.want || err != nil {
			t.Errorf("%+v: removed %+v, %v; want %+v", c.marks, got, err, c.want)
		}
		for i, want := range c.left {
			if exists(t, images[i].Layers...) != want || exists(t, s.recordPath(images[i].Digest)) != want {
				t.Errorf("%+v: image %d is there: %t, want %t", c.marks, i, !want, want)
			}
		}
	}
}

// TestCollectTakesWhatAKilledOneLeft: a record that is gone and layers that are not yet, and the other way round.
func TestCollectTakesWhatAKilledOneLeft(t *testing.T) {
	s := openStore(t)
	ref := Ref{Repo: layoutOf(t, nil, twoLayers(t)...), Path: "."}
	image := prepare(t, s, ref)
	if err := os.Remove(s.recordPath(image.Digest)); err != nil { // where it was killed
		t.Fatal(err)
	}
	checkTwoLayers(t, prepare(t, s, ref)) // as if nothing had happened
	if err := os.Remove(s.recordPath(image.Digest)); err != nil {
		t.Fatal(err)
	}
	if got, err := removeAll(t, s); got != (Collected{Layers: 2}) || err != nil {
		t.Errorf("removed %+v, %v; want the two layers", got, err)
	}
	if err := os.WriteFile(s.recordPath(image.Digest), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := removeAll(t, s, image.Digest); err == nil {
		t.Error("something was removed though nobody knows what an image in use needs")
	}
}

func TestCollectLeavesAPrepareAlone(t *testing.T) {
	s := openStore(t)
	image := prepare(t, s, Ref{Repo: layoutOf(t, nil, twoLayers(t)...), Path: "."})
	r, err := s.load(image.Digest)
	if err != nil {
		t.Fatal(err)
	}
	part := filepath.Join(s.downloads(), sumOf(nil)+partSuffix)
	if err := os.WriteFile(part, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s.pin(r.Layers, 1)
	s.hold(sumOf(nil), 1)
	if got, err := removeAll(t, s); got.Layers != 0 || got.Downloads != 0 || err != nil || !exists(t, append(image.Layers, part)...) {
		t.Errorf("removed %+v, %v, of what a Prepare counts on", got, err)
	}
	s.pin(r.Layers, -1)
	s.hold(sumOf(nil), -1)
	if got, err := removeAll(t, s); got.Layers != 2 || got.Downloads != 1 || err != nil {
		t.Errorf("removed %+v, %v; want all", got, err)
	}
}

// TestCollectMeasures: a disk that cannot be measured is not taken for a full one; this one can.
func TestCollectMeasures(t *testing.T) {
	s := openStore(t)
	image := prepare(t, s, Ref{Repo: layoutOf(t, nil, twoLayers(t)...), Path: "."})
	broken := errors.New("broken")
	if _, err := s.collect(t.Context(), DefaultWatermarks, used(nil), time.Now().Add(time.Hour), func() (int, error) { return 0, broken }); !errors.Is(err, broken) || !exists(t, image.Layers...) {
		t.Errorf("got %v", err)
	}
	unknown := func() (map[string]bool, error) { return nil, broken }
	if _, err := s.collect(t.Context(), DefaultWatermarks, unknown, time.Now().Add(time.Hour), full); !errors.Is(err, broken) || !exists(t, image.Layers...) {
		t.Errorf("something was removed though nobody knows what is in use: %v", err)
	}
	if n, err := s.used(); err != nil || n < 0 || n > 100 {
		t.Errorf("%d %%, %v", n, err)
	}
	if _, err := s.Collect(t.Context(), Watermarks{High: 1, Low: 1}, used(map[string]bool{image.Digest: true})); err != nil || !exists(t, image.Layers...) {
		t.Errorf("got %v", err)
	}
}
