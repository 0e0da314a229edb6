package control

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

func imaged(name spec.AppName, image string) *spec.App {
	a := app(name, 1)
	a.Tasks[0].Rootfs, a.Tasks[0].Image = "", image
	return a
}

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// registries answers all that the core asked since the last call, from what the tags mean now.
func (r *rig) registries(tags map[string]string) {
	lookups := r.lookups
	r.lookups = nil
	for _, e := range lookups {
		for _, image := range e.Images {
			ev := Resolved{Commit: e.Commit, Image: image, Digest: tags[image]}
			if ev.Digest == "" {
				ev.Err = "the registry is down"
			}
			r.step(ev)
		}
	}
}

// runs tells what images the allocations of an app run that are wanted.
func (r *rig) runs(name spec.AppName) []string {
	var all []string
	for _, a := range r.core.Allocations() {
		if a.App == name && a.Want == spec.WantRun {
			all = append(all, r.core.State().Versions[a.Version].Tasks[0].Image)
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (r *rig) expectRuns(name spec.AppName, want ...string) {
	r.t.Helper()
	for range 20 {
		r.obey()
		r.advance(spec.DefaultHealthyFor + spec.Second)
	}
	if got := r.runs(name); !slices.Equal(got, want) {
		r.t.Errorf("%s runs %q, want %q", name, got, want)
	}
	r.sameAsJournal()
}

// TestTagsMeanOneImageForEachCommit: what runs changes with a commit and never with a tag, not by a restart of the master
// and not on the way back.
func TestTagsMeanOneImageForEachCommit(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	first := commit("aa", spec.ApprovalAuto, imaged("web", "web:1"), app("other", 1))
	r.step(RevisionSeen{Revision: first})
	if len(r.core.Allocations()) != 0 {
		t.Fatal("a commit was followed before anybody knew what its images are")
	}
	r.registries(map[string]string{"web:1": digest("1")})
	r.expectRuns("web", spec.Pin("web:1", digest("1")))

	// The tag moves: neither a restart nor a report of the old head asks again.
	r.lead(r.replayed(), true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: first})
	if len(r.lookups) != 0 {
		t.Errorf("a known image was looked up again: %+v", r.lookups)
	}
	r.expectRuns("web", spec.Pin("web:1", digest("1")))

	r.step(RevisionSeen{Revision: commit("bb", spec.ApprovalAuto, imaged("web", "web:1"), app("other", 1))})
	r.registries(map[string]string{"web:1": digest("2")})
	r.expectRuns("web", spec.Pin("web:1", digest("2")))

	r.step(Rollback{Request: 1, Revision: first, Head: "bb"})
	if len(r.lookups) != 0 {
		t.Errorf("the way back asks registries: %+v", r.lookups)
	}
	r.expectRuns("web", spec.Pin("web:1", digest("1")))
}

// TestUnresolvedImageHoldsItsAppOnly: the other apps of the commit go on, and the app does as soon as the registry answers.
func TestUnresolvedImageHoldsItsAppOnly(t *testing.T) {
	r := newRig(t, true)
	r.join("n1", "n2")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, imaged("web", "web:1"), imaged("old", "old:1"))})
	r.registries(map[string]string{"web:1": digest("1"), "old:1": digest("a")})
	r.expectRuns("web", spec.Pin("web:1", digest("1")))

	r.step(RevisionSeen{Revision: commit("bb", spec.ApprovalAuto, imaged("web", "web:2"), imaged("old", "old:1"), imaged("more", "more:1"))})
	r.registries(map[string]string{"more:1": digest("c")}) // that of web and old is down
	r.expectRuns("more", spec.Pin("more:1", digest("c")))
	r.expectRuns("web", spec.Pin("web:1", digest("1")))
	r.expectRuns("old", spec.Pin("old:1", digest("a"))) // what it was in the commit before is known

	var held string
	for _, v := range r.core.Apps() {
		if v.Held != "" {
			held += string(v.App) + ": " + v.Held
		}
	}
	if want := "web: task main: image web:2 has no digest yet: the registry is down"; held != want {
		t.Errorf("held is %q, want %q", held, want)
	}
	open := r.core.Unresolved()
	if len(open) != 1 || !slices.Equal(open[0].Images, []string{"web:2"}) {
		t.Errorf("to be asked again: %+v", open)
	}
	r.step(Resolved{Commit: open[0].Commit, Image: "web:2", Digest: digest("2")})
	r.expectRuns("web", spec.Pin("web:2", digest("2")))
	r.step(Resolved{Commit: open[0].Commit, Image: "web:2", Digest: digest("3")}) // too late: it is recorded
	r.expectRuns("web", spec.Pin("web:2", digest("2")))
	if len(r.core.Unresolved()) != 0 {
		t.Errorf("still to be asked: %+v", r.core.Unresolved())
	}
}

// TestPendingPlanIsMadeAgainWithItsImages: a plan that waits and lacks an image is another one once the image is known, and
// runs that image.
func TestPendingPlanIsMadeAgainWithItsImages(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	rev := commit("aa", spec.ApprovalManual, imaged("web", "web:1"))
	r.step(RevisionSeen{Revision: rev})
	r.registries(nil)
	before := r.core.State().Pending.Plan
	if before.Summary.Start != 0 || len(before.Apps) != 1 || before.Apps[0].Held == "" {
		t.Fatalf("the plan is %+v", before)
	}
	r.step(Resolved{Commit: rev.Commit, Image: "web:1", Digest: digest("1")})
	r.advance(spec.Second)
	r.step(Tick{})
	after := r.core.State().Pending.Plan
	if after.Summary.Start != 1 || !slices.Equal(after.Apps[0].Images, []string{spec.Pin("web:1", digest("1"))}) {
		t.Fatalf("the plan is %+v", after)
	}
	r.step(Approve{Request: 1, ID: after.ID})
	r.expectRuns("web", spec.Pin("web:1", digest("1")))
}

// TestACommitThatComesBackIsAskedAbout: what registries said of a commit that another one replaced is gone with it, or is
// asked anew. It has its images when it comes back, also those that nobody could look up the first time.
func TestACommitThatComesBackIsAskedAbout(t *testing.T) {
	for name, first := range map[string]map[string]string{
		"it was known":     {"web:1": digest("1")},
		"nobody knew":      nil,
		"it was in flight": {}, // the answer comes when the commit is there again
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, true)
			r.join("n1")
			r.step(RevisionSeen{Revision: commit("00", spec.ApprovalManual, app("other", 1))})
			r.step(Approve{Request: 1, ID: r.core.State().Pending.Plan.ID})
			a, b := commit("aa", spec.ApprovalManual, imaged("web", "web:1"), app("other", 1)), commit("bb", spec.ApprovalManual, app("other", 2))
			r.step(RevisionSeen{Revision: a})
			if first == nil || len(first) > 0 {
				r.registries(first)
			}
			r.step(RevisionSeen{Revision: b})
			if p := r.core.State().Pending; p == nil || p.Revision.Commit != b.Commit {
				t.Fatalf("%+v waits", p)
			}
			r.step(RevisionSeen{Revision: a})
			r.registries(map[string]string{"web:1": digest("1")})
			p := r.core.State().Pending
			if p == nil || p.Revision.Commit != a.Commit || p.Images["web:1"] != digest("1") {
				t.Fatalf("%+v waits", p)
			}
			r.step(Approve{Request: 2, ID: p.Plan.ID})
			r.expectRuns("web", spec.Pin("web:1", digest("1")))
			if len(r.lookups) != 0 {
				t.Errorf("looked up again: %+v", r.lookups)
			}
		})
	}
}

// TestARegistryIsAskedOnce: as long as it has not answered, and after it has said that it cannot: then it is asked again in
// time, and not with every step.
func TestARegistryIsAskedOnce(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalManual, imaged("web", "web:1"))})
	r.step()
	if len(r.lookups) != 1 {
		t.Errorf("asked: %+v", r.lookups)
	}
	r.registries(nil)
	r.step()
	r.step()
	if open := r.core.Unresolved(); len(r.lookups) != 0 || len(open) != 1 {
		t.Errorf("asked: %+v, to be asked again: %+v", r.lookups, open)
	}
}

// TestNoRunWithoutItsImage: a run keeps the version that it begins with, so there is none before that is whole.
func TestNoRunWithoutItsImage(t *testing.T) {
	r := newRig(t, true)
	r.join("n1")
	job := imaged("job", "job:1")
	job.Kind, job.Schedule = spec.KindBatch, &spec.Schedule{Enabled: true}
	r.step(RevisionSeen{Revision: commit("aa", spec.ApprovalAuto, job)})
	r.registries(nil)
	r.step(Dispatch{Request: 1, App: "job"})
	if len(r.answers) != 1 || !strings.Contains(r.answers[0].Err, "image job:1 has no digest yet: the registry is down") {
		t.Fatalf("the answer is %+v", r.answers)
	}
	r.step(Resolved{Commit: r.core.Unresolved()[0].Commit, Image: "job:1", Digest: digest("1")})
	r.step(Dispatch{Request: 2, App: "job"})
	if len(r.answers) != 1 || r.answers[0].Err != "" {
		t.Fatalf("the answer is %+v", r.answers)
	}
}

// TestImagesOfTheHistory: each commit of the history has all its images, though an entry keeps only what differs, and the
// oldest entries go.
func TestImagesOfTheHistory(t *testing.T) {
	s := NewState()
	all := []map[string]string{}
	for i := range MaxHistory + 20 {
		images := map[string]string{"same:1": digest("0")}
		if i%3 != 0 {
			images["comes-and-goes:1"] = digest("a")
		}
		if i%2 == 0 {
			images["moves:1"] = digest(string("0123456789abcdef"[i%16]))
		}
		all = append(all, images)
		rev := commit("aa", spec.ApprovalAuto)
		rev.Commit = spec.Commit(strings.Repeat("a", i+1))
		s.Apply(Entry{Followed: &Followed{Revision: rev, Images: images}})
		last := len(s.History) - 1
		for k := range s.History {
			commit := s.History[k].Commit
			if got, want := s.Images(commit), all[len(commit)-1]; !maps.Equal(got, want) {
				t.Fatalf("after %d commits entry %d of %d has %v, want %v", i+1, k, last, got, want)
			}
		}
	}
	if n := len(s.History[len(s.History)-1].Images); n > 2 {
		t.Errorf("the newest entry keeps %d images, and at most two differ", n)
	}
}
