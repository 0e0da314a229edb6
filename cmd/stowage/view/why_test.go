package view

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

// Why does not say that nothing is wrong while a drain, a commit or a rollout does not get on.
func TestWhyTellsOfAllThatDoesNotGetOn(t *testing.T) {
	drain := func(d spec.DrainProgress) []api.Node {
		return []api.Node{{NodeView: spec.NodeView{Node: spec.Node{ID: "n7"}}, Drain: &d}}
	}
	for name, c := range map[string]struct {
		why  Why
		want string
	}{
		"nothing":           {Why{}, "Nothing is blocked"},
		"nothing of it":     {Why{App: "shop/web"}, "Nothing of shop/web is blocked"},
		"drain gets on":     {Why{Drains: drain(spec.DrainProgress{Left: 2, Moving: 2})}, "Nothing is blocked"},
		"drain is done":     {Why{Drains: drain(spec.DrainProgress{Wait: &spec.WindowWait{Text: "window nightly to open"}})}, "Nothing is blocked"},
		"drain waits":       {Why{Drains: drain(spec.DrainProgress{Left: 2, Wait: &spec.WindowWait{Text: "window nightly to open"}})}, "! drain of n7: 2 left, for window nightly to open"},
		"drain is stuck":    {Why{Drains: drain(spec.DrainProgress{Left: 1, Waiting: 1, Stays: []spec.DrainStay{{Slot: spec.Slot{App: "web"}, Why: "held: a plugin"}}})}, "  web[0] on n7 must move and cannot yet: held: a plugin"},
		"commit":            {Why{Refused: &api.Refused{Commit: "9c1e2d7aaaaaaaaa", Subject: "more"}}, `! commit 9c1e2d7 "more" is not used`},
		"rollout":           {Why{Apps: []api.BlockedApp{{App: "shop/web", Rollout: &spec.Rollout{State: spec.RolloutFailed, Commit: "9c1e2d7aaaaaaaaa", Reason: "none became healthy"}}}}, "the rollout of commit 9c1e2d7 failed: none became healthy"},
		"rollout of an app": {Why{App: "shop/web", Apps: []api.BlockedApp{{App: "shop/web", Rollout: &spec.Rollout{State: spec.RolloutReverting, Reason: "canary"}}}}, "failed: canary"},
	} {
		var out bytes.Buffer
		(&Page{Out: &out}).Why(c.why)
		text := out.String()
		if !strings.Contains(text, c.want) || strings.Contains(text, "Nothing") != strings.HasPrefix(c.want, "Nothing") {
			t.Errorf("%s: %s", name, text)
		}
	}
}
