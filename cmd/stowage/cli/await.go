package cli

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/master/api/client"
	"github.com/stowage/stowage/spec"
)

// awaited is what a plan promised to change, and how much of it is so by now. What the plan itself has no place for, or
// has to wait for a window, is not waited for.
type awaited struct {
	commit      spec.Commit
	steps       []spec.Change
	apps        map[spec.AppName]api.App // those of the plan, as they are
	allocations map[spec.Slot]map[spec.AllocationID]spec.AllocationView
	followed    bool
}

// awaitedOf is all that a plan promised; one that was applied before may have been overtaken since.
func awaitedOf(plan *spec.Plan, before bool) *awaited {
	w := &awaited{commit: plan.Commit, followed: before, apps: map[spec.AppName]api.App{}, allocations: map[spec.Slot]map[spec.AllocationID]spec.AllocationView{}}
	for i := range plan.Apps {
		w.apps[plan.Apps[i].App] = api.App{Name: plan.Apps[i].App, Blocked: plan.Apps[i].Blocked, Waits: plan.Apps[i].Waits}
		for _, step := range plan.Apps[i].Changes {
			if plan.Apps[i].Waits != nil && !step.Now {
				continue // that may take until the night
			}
			if step.Kind != spec.ChangeBlocked && step.Kind != spec.ChangeStay {
				w.steps = append(w.steps, step)
				w.allocations[step.Slot] = map[spec.AllocationID]spec.AllocationView{}
			}
		}
	}
	return w
}

// take notes what is new. It returns an error when what is waited for will not come.
func (w *awaited) take(change *api.Change) error {
	for _, app := range change.Apps {
		if _, ours := w.apps[app.Name]; ours {
			w.apps[app.Name] = app
		}
	}
	for _, a := range change.Allocations {
		if of := w.allocations[a.Slot]; of != nil {
			of[a.ID] = a
		}
	}
	for _, id := range change.Gone {
		for _, of := range w.allocations { // any order: each by itself
			delete(of, id)
		}
	}
	if w.followed && change.Commit != w.commit {
		return fmt.Errorf("commit %s is followed now: what is left of the plan is no longer waited for", change.Commit.Short())
	}
	w.followed = w.followed || change.Commit == w.commit
	for i := range w.steps {
		step := &w.steps[i]
		if r := w.apps[step.App].Rollout; r != nil && r.Target == step.Version && (r.State == spec.RolloutReverting || r.State == spec.RolloutFailed) {
			return fmt.Errorf("the rollout of %s failed: %s: stowage explain %s tells more", step.App, r.Reason, step.App)
		}
	}
	return nil
}

// left are the steps that are still to come.
func (w *awaited) left() []spec.Change {
	var left []spec.Change
	for _, step := range w.steps {
		if !w.done(&step) {
			left = append(left, step)
		}
	}
	return left
}

func (w *awaited) done(step *spec.Change) bool {
	for id, a := range w.allocations[step.Slot] { // any order: one that is as planned is enough, or one that has to end too many
		if step.Kind == spec.ChangeStop {
			if id == step.Old && !a.State.Terminal() {
				return false
			}
			continue
		}
		fresh := step.Kind == spec.ChangeUpdate || id != step.Old
		if fresh && a.Want == spec.WantRun && (step.Version == "" || a.Version == step.Version) && (a.Healthy || a.State == spec.StateComplete) {
			return true
		}
	}
	return step.Kind == spec.ChangeStop
}

// promotion returns the app that has to be promoted by hand before anything of what is left can come; "" if none has.
func (w *awaited) promotion(left []spec.Change) spec.AppName {
	for _, step := range left {
		if r := w.apps[step.App].Rollout; r == nil || r.State != spec.RolloutCanaries || r.Target != step.Version {
			return ""
		}
	}
	if len(left) == 0 {
		return ""
	}
	return left[0].App
}

// await prints a line for each step of a plan until all of it is done, and then what has no place as the plan said. A
// timeout of 0 is none.
func (s *shell) await(ctx context.Context, c *client.Client, applied *api.Applied, timeout spec.Duration) error {
	waiting, stop := ctx, context.CancelFunc(func() {})
	if timeout > 0 {
		waiting, stop = context.WithTimeout(ctx, time.Duration(timeout))
	}
	defer stop()
	w, steps := awaitedOf(applied.Plan, applied.NoOp), s.newSteps(applied.Plan.Base.Generation)
	var left []spec.Change
	promote := spec.AppName("")
	err := c.Watch(waiting, client.WatchFilter{}, func(change api.Change) error {
		err := w.take(&change)
		for i := range change.Allocations {
			if a := &change.Allocations[i]; w.allocations[a.Slot] != nil {
				err = errors.Join(err, steps.tell(a))
			}
		}
		if err != nil || !w.followed {
			return err
		}
		if left = w.left(); len(left) == 0 || change.Settled {
			return errSettled
		}
		if app := w.promotion(left); app != "" && app != promote {
			promote = app
			if v, err := c.App(waiting, app); err == nil && v.Spec != nil && !v.Spec.Update.AutoPromote {
				return errSettled
			}
		}
		return nil
	})
	switch {
	case errors.Is(err, errSettled):
		s.sayRest(w, left)
		return nil
	case ctx.Err() == nil && waiting.Err() != nil:
		return fmt.Errorf("after %s still to come: %s: stowage why tells what is in the way", timeout, stepNames(left))
	}
	return interrupted(err, "the plan is applied all the same; stowage status tells how far it is")
}

// sayRest names what was not waited for.
func (s *shell) sayRest(w *awaited, left []spec.Change) {
	if s.json {
		return
	}
	p := s.page()
	if app := w.promotion(left); app != "" {
		p.Line("The canaries of %s run; stowage promote %s lets them replace the rest.", app, app)
	}
	for _, name := range slices.Sorted(maps.Keys(w.apps)) {
		if b := w.apps[name].Blocked; b != nil {
			p.Line("%s: %d of %d have no place, as the plan says; stowage why %s tells why.", name, len(b.Slots), b.Of, name)
		}
		if wait := w.apps[name].Waits; wait != nil {
			p.Line("%s: its change waits: %s.", name, wait.Text)
		}
	}
}

// maxSteps is how many steps a complaint names.
const maxSteps = 5

func stepNames(left []spec.Change) string {
	if len(left) == 0 {
		return "the commit is not followed yet"
	}
	var words []string
	for _, step := range left[:min(len(left), maxSteps)] {
		words = append(words, string(step.Kind)+" "+step.Slot.String())
	}
	if more := len(left) - maxSteps; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}
