package master

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

func TestASlowReaderOfTheStoryHoldsUpNobodyAndIsToldOfAGap(t *testing.T) {
	s := newStory(1)
	slow, _ := s.since("", 0, storyOf(""))
	quick := slow
	const total = 2 * control.MaxEvents
	for i := range total {
		_, _, _, more := s.from(quick)
		s.publish([]spec.Event{{Subject: fmt.Sprint(i)}})
		<-more
		list, next, gap, _ := s.from(quick)
		if len(list) != 1 || gap || list[0].Subject != fmt.Sprint(i) {
			t.Fatalf("event %d is %+v, gap %v", i, list, gap)
		}
		quick = next
	}
	list, next, gap, _ := s.from(slow)
	if len(list) != maxTold || !gap {
		t.Fatalf("the slow one gets %d, gap %v", len(list), gap)
	}
	for len(list) > 0 {
		slow = next
		if list, next, gap, _ = s.from(slow); gap {
			t.Fatal("a second gap")
		}
	}
	if slow != quick {
		t.Errorf("the slow one ends before %d, the quick one before %d", slow, quick)
	}
}

func TestTheStoryForgetsTheOldest(t *testing.T) {
	s := newStory(1)
	total := 2*control.MaxEvents + 7
	for i := range total {
		s.publish([]spec.Event{{Subject: fmt.Sprint(i)}})
	}
	oldest, _ := s.since("", 1<<30, storyOf(""))
	if kept := uint64(total) + 1 - oldest; kept < control.MaxEvents || kept > control.MaxEvents*5/4+1 {
		t.Errorf("%d are kept", kept)
	}
	list, _, _, _ := s.from(oldest)
	if got, gap := s.since(list[3].ID, 0, storyOf("")); gap || got != oldest+4 {
		t.Errorf("after the fourth comes %d, gap %v", got-oldest, gap)
	}
	last, _ := s.since("", 0, storyOf(""))
	if got, gap := s.since(s.id(uint64(total)), 0, storyOf("")); gap || got != last {
		t.Errorf("after the last comes %d, gap %v", got, gap)
	}
	for _, id := range []string{s.id(1), s.id(uint64(total) + 5), "x", "1-x", "2-7", s.epoch + "-18446744073709551615"} {
		if _, gap := s.since(id, 0, storyOf("")); !gap {
			t.Errorf("after %s there is no gap", id)
		}
	}
}

// pack builds a tar archive from headers; regular files hold their own name.
func pack(t testing.TB, headers ...tar.Header) *bytes.Buffer {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		if h.Typeflag == tar.TypeReg {
			h.Size = int64(len(h.Name))
		}
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			if _, err := w.Write([]byte(h.Name)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return &b
}

func TestAnUploadedTree(t *testing.T) {
	tr, err := readTree(pack(t, tar.Header{Typeflag: tar.TypeReg, Name: "a.hcl"}, tar.Header{Typeflag: tar.TypeDir, Name: "empty/"},
		tar.Header{Typeflag: tar.TypeReg, Name: "./deep/er/b.hcl"}, tar.Header{Typeflag: tar.TypeFifo, Name: "pipe"}))
	if err != nil {
		t.Fatal(err)
	}
	if err := fstest.TestFS(tr, "a.hcl", "empty", "deep/er/b.hcl"); err != nil {
		t.Error(err)
	}
	if _, err := fs.Stat(tr, "pipe"); err == nil {
		t.Error("a pipe was taken in")
	}
}

func TestLinksOfAnUploadedTreeStayInside(t *testing.T) {
	link := func(name, to string) tar.Header {
		return tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: to}
	}
	tr, err := readTree(pack(t, tar.Header{Typeflag: tar.TypeReg, Name: "d/f"}, link("l", "d/f"), link("d/up", "../l"), link("folder", "d"),
		link("out", "../../etc/passwd"), link("abs", "/etc/passwd"), link("loop", "loop"), link("x", "y"), link("y", "x")))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"d/f", "l", "d/up", "folder/f", "folder/up"} {
		if b, err := fs.ReadFile(tr, name); err != nil || string(b) != "d/f" {
			t.Errorf("%s: %q, %v", name, b, err)
		}
	}
	for _, name := range []string{"out", "abs", "loop", "x", "l/f", "../d/f", "nothing"} {
		if _, err := fs.ReadFile(tr, name); err == nil {
			t.Errorf("%s could be read", name)
		}
	}
	if to, err := fs.ReadLink(tr, "l"); err != nil || to != "d/f" {
		t.Errorf("the link leads to %q, %v", to, err)
	}
}

func TestUploadsThatAreRefused(t *testing.T) {
	file := func(name string) tar.Header { return tar.Header{Typeflag: tar.TypeReg, Name: name} }
	many := make([]tar.Header, maxUploadFiles+1)
	for i := range many {
		many[i] = file(fmt.Sprint(i))
	}
	for name, archive := range map[string]*bytes.Buffer{
		"leaves the tree": pack(t, file("../x")), "absolute": pack(t, file("/etc/x")), "twice": pack(t, file("x"), file("x")),
		"file and folder": pack(t, file("x"), file("x/y")), "too deep": pack(t, file(strings.Repeat("d/", maxUploadDepth)+"x")),
		"too many": pack(t, many...), "rubbish": bytes.NewBufferString(strings.Repeat("rubbish", 1000)),
	} {
		var e *api.Error
		if _, err := readTree(archive); !errors.As(err, &e) || e.Status < 400 || e.Status > 499 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestLargeEntriesAreCompressedAndReadBack(t *testing.T) {
	e := control.Entry{FormatVersion: control.EntryVersion, Time: 7, Joined: &spec.Node{ID: "n1", Attributes: map[string]string{}}}
	for i := range 5000 {
		e.Joined.Attributes[fmt.Sprintf("attribute-%d", i)] = "the same value again and again"
	}
	b, err := encodeEntry(e)
	if err != nil {
		t.Fatal(err)
	}
	plain, err := e.Encode()
	if err != nil || len(b) > len(plain)/4 {
		t.Fatalf("%d bytes of %d, %v", len(b), len(plain), err)
	}
	one, two := newMachine(), newMachine()
	one.expect([]pendingEntry{{b, e}}) // as on the leader, which need not decode
	for _, m := range []*machine{one, two} {
		if err := m.Apply(b); err != nil {
			t.Fatal(err)
		}
	}
	x, err1 := one.clone().Encode()
	y, err2 := two.clone().Encode()
	if err1 != nil || err2 != nil || !bytes.Equal(x, y) {
		t.Errorf("two members differ: %v, %v", err1, err2)
	}
	// A snapshot brings another member to the same state.
	w, err := one.Snapshot()
	if err != nil {
		t.Fatal(err)
	}
	var snap bytes.Buffer
	if _, err := w.WriteTo(&snap); err != nil {
		t.Fatal(err)
	}
	three := newMachine()
	if err := three.Restore(&snap); err != nil {
		t.Fatal(err)
	}
	if z, err := three.clone().Encode(); err != nil || !bytes.Equal(x, z) {
		t.Errorf("after the snapshot it differs: %v", err)
	}
	if err := two.Apply([]byte(`{"v":99,"time":"","resumed":{}}`)); err == nil {
		t.Error("an entry of a newer version was applied")
	}
	if err := two.Apply(nil); err != nil {
		t.Errorf("an empty entry: %v", err)
	}
}

// What is asked of an allocation is told of that one, not of those before and after it in its slot; the last events of something are its own
// last ones, however much is told of others since.
func TestTheStoryOfOne(t *testing.T) {
	s := newStory(1)
	for i, a := range []spec.AllocationID{"web-0-1", "web-0-2", "web-0-3"} {
		for _, what := range []string{"placed", "failed"} {
			s.publish([]spec.Event{{Subject: "web[0]", Allocation: a, What: fmt.Sprint(what, i)}, {Subject: "other[0]", What: "healthy"}, {Subject: "web/db[0]", What: "healthy"}})
		}
	}
	a := &spec.AllocationView{}
	a.ID, a.Slot = "web-0-2", spec.Slot{App: "web"}
	for of, want := range map[string]string{"web-0-2": "placed1 failed1", "web[0]": "placed0 failed0 placed1 failed1 placed2 failed2"} {
		var got []string
		for _, e := range s.about(tells(of, a), 100) {
			got = append(got, e.What)
		}
		if strings.Join(got, " ") != want {
			t.Errorf("of %s: %v", of, got)
		}
	}
	for subject, want := range map[string]int{"web-0-2": 2, "web[0]": 6, "web": 12, "": 18, "nothing": 0} {
		about, got := storyOf(subject), 0
		next, _ := s.since("", 100, about)
		list, _, _, _ := s.from(next)
		for i := range list {
			if about(&list[i].Event) {
				got++
			}
		}
		if got != want {
			t.Errorf("of %q there are %d, want %d", subject, got, want)
		}
	}
	next, _ := s.since("", 1, storyOf("web-0-1"))
	if list, _, _, _ := s.from(next); len(list) == 0 || list[0].What != "failed0" {
		t.Errorf("the last one of the first allocation is not what its tail begins with: %+v", list)
	}
}

// A name that nothing has is an error with the one that was meant.
func TestNamesThatNothingHas(t *testing.T) {
	s := &snapshot{apps: []control.AppView{{App: "shop/web"}, {App: "db"}}, nodes: []spec.NodeView{{Node: spec.Node{ID: "n01"}}}}
	for name, want := range map[string]string{"shop/wbe": `did you mean "shop/web"?`, "shop/wbe[3]": `did you mean "shop/web[3]"?`, "n02": `did you mean "n01"?`, "zzzzzzzz": "see there"} {
		if err := s.notFound("thing", name, "see there"); !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "there is no thing") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
