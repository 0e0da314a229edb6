package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// expectations by name.
var expectations = map[string]handler{
	"allocations":  {2, ofApp(counted((*player).healthyOnes))},
	"completed":    {2, ofApp(counted((*player).completed))},
	"node":         {2, ofNode(counted((*player).onNode))},
	"devices":      {2, ofSlot(expectNamed("devices"))},
	"cores":        {2, ofSlot(expectNamed("cores"))},
	"runs":         {3, ofApp((*player).expectRuns)},
	"next":         {2, ofApp((*player).expectNext)},
	"starts":       {2, ofSlot((*player).expectStarts)},
	"blocked":      {2, ofApp((*player).expectBlocked)},
	"fix":          {2, ofApp((*player).expectFix)},
	"changes":      {1, func(p *player, args []string) error { return p.expectChanges(args[0]) }},
	"no-changes":   {0, func(p *player, _ []string) error { return p.expectChanges("0") }},
	"at-rest":      {0, func(p *player, _ []string) error { return p.expectRest() }},
	"rollout":      {2, ofApp((*player).expectRollout)},
	"failed":       {1, ofApp((*player).expectFailed)},
	"following":    {1, expectCommit(following)},
	"waiting":      {1, expectCommit(waiting)},
	"not-used":     {1, expectCommit(notUsed)},
	"event":        {1, func(p *player, args []string) error { return p.expectEvent(-1, args) }},
	"events":       {2, (*player).expectEvents},
	"refused":      {0, (*player).expectRefused},
	"source":       {1, (*player).expectSource},
	"availability": {2, (*player).expectAvailability},
	"misplaced":    {2, (*player).expectMisplaced},
	"waits":        {2, (*player).expectWaits},
	"loss":         {4, (*player).expectLoss},
	"moves":        {1, func(p *player, args []string) error { return p.expectMoves(args[0]) }},
}

// expect compares the world with what a script says of it.
func (p *player) expect(args []string) error {
	if len(args) == 0 {
		return errors.New("expect needs to know what")
	}
	if p.refused != "" && args[0] != "refused" {
		return fmt.Errorf("refused before: %s", p.refused)
	}
	h, ok := expectations[args[0]]
	if !ok {
		return fmt.Errorf("nothing can be expected that is called %q%s", args[0], orAll(meant(args[0], sortedKeys(expectations)), ": "+strings.Join(sortedKeys(expectations), ", ")+" can"))
	}
	if len(args)-1 < h.args {
		return fmt.Errorf("%s needs %d more words", args[0], h.args-len(args)+1)
	}
	return h.do(p, args[1:])
}

// counted makes an expectation of something that has a name and a number.
func counted(found func(p *player, name string) int) func(*player, []string) error {
	return func(p *player, args []string) error {
		return number(args, func(name string) int { return found(p, name) })
	}
}

// number compares a count of something named with the second word.
func number(args []string, found func(name string) int) error {
	if len(args) != 2 {
		return errors.New("expected are a name and a number")
	}
	n, err := strconv.Atoi(args[1])
	if err != nil {
		return fmt.Errorf("%q is no number", args[1])
	}
	if got := found(args[0]); got != n {
		return fmt.Errorf("found %d", got)
	}
	return nil
}

func (p *player) healthyOnes(app string) int {
	n := 0
	for _, v := range p.world.master.core.Allocations() {
		if string(v.App) == app && v.State == spec.StateRunning && v.Healthy {
			n++
		}
	}
	return n
}

func (p *player) completed(app string) int {
	n, last := 0, -1
	for _, v := range p.world.master.core.Allocations() {
		if string(v.App) == app && v.State == spec.StateComplete && v.Want == spec.WantRun && v.Index != last {
			n, last = n+1, v.Index
		}
	}
	return n
}

func (p *player) onNode(node string) int {
	core, n := p.world.master.core, 0
	for _, v := range core.Allocations() {
		if string(v.Node) == node && !v.State.Terminal() && core.Reachable(v.Node) {
			n++
		}
	}
	return n
}

// plan is that of the newest commit: as it was when it came, while no time has passed, and then as it would be now.
func (p *player) plan() spec.Plan {
	core := p.world.master.core
	if !p.supposed.Empty() {
		plan, _ := p.supposedPlan() // it was planned once without an error
		return plan
	}
	if p.committed != nil && p.world.now == p.committedAt {
		return *p.committed
	}
	if w := core.Pending(); w != nil {
		return w.Plan
	}
	status := core.Status()
	if p.newest != nil && p.newest.Cluster != nil && status.Left != p.newest.Commit {
		plan, _ := core.Preview(*p.newest, nil, false, 0)
		return plan
	}
	if f := core.State().Following; f != nil {
		plan, _ := core.Preview(f.Revision, nil, f.Signed, 0)
		return plan
	}
	return spec.Plan{}
}

func (p *player) expectChanges(text string) error {
	n, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is no number", text)
	}
	plan := p.plan()
	if got := plan.Summary.Changes(); got != n {
		var lines []string
		for _, app := range plan.Apps {
			for _, ch := range app.Changes {
				lines = append(lines, fmt.Sprintf("%s %s: %s", ch.Kind, ch.Slot, ch.Reason))
			}
		}
		return fmt.Errorf("found %d changes:\n  %s", got, strings.Join(lines, "\n  "))
	}
	return nil
}

// expectRest wants no changes left, but for apps whose rollout has failed, which wait for a person, and those that only
// the disruption budget keeps from stopping something first: they wait for room. So does what stands in line behind slots
// without a place, but not of a system app, where each node is by itself.
func (p *player) expectRest() error {
	failed, system := map[spec.AppName]bool{}, map[spec.AppName]bool{}
	for _, v := range p.world.master.core.Apps() {
		failed[v.App] = v.Rollout != nil && v.Rollout.State == spec.RolloutFailed
		system[v.App] = v.Kind == spec.KindSystem
	}
	if w := p.world.master.core.Pending(); w != nil {
		return fmt.Errorf(foundPrefix+"a plan that waits for approval: %s", w.Why)
	}
	plan := p.plan()
	for i := range plan.Apps {
		if b := plan.Apps[i].Blocked; b != nil && slices.ContainsFunc(b.Reasons, func(r spec.Reason) bool { return r.Rule == reconcile.RuleBudget }) {
			continue
		}
		short := p.short(&plan, failed, &plan.Apps[i])
		for _, ch := range plan.Apps[i].Changes {
			waits := !ch.Now && plan.Apps[i].Blocked != nil && !system[ch.App] || ch.After == rollout.AfterTotal && short
			if ch.Kind != spec.ChangeBlocked && ch.Kind != spec.ChangeStay && !failed[ch.App] && !waits {
				return fmt.Errorf("left is: %s %s: %s", ch.Kind, ch.Slot, ch.Reason)
			}
		}
	}
	return nil
}

// short reports whether the cluster's budget has no room for the changes of an app that wait for it, and stays so: because of
// what is missing of apps that have no place or have failed. What else is missing comes back, and then the changes are made.
func (p *player) short(plan *spec.Plan, failed map[spec.AppName]bool, waiting *spec.AppPlan) bool {
	in := p.world.master.core.Input()
	if in.Desired == nil || in.Desired.Disruption.MaxTotal == nil {
		return false
	}
	bound := in.Desired.Disruption.MaxTotal
	lacks := map[spec.AppName]bool{}
	for i := range plan.Apps {
		a := &plan.Apps[i]
		lacks[a.App] = a.Blocked != nil || a.Unfinished()
	}
	slots, missing, ask := 0, 0, 0
	for _, app := range in.Desired.Apps {
		if app.Kind == spec.KindBatch {
			continue
		}
		n, up := p.world.slotsOf(&in, app)
		if slots += n; lacks[app.Name] || failed[app.Name] {
			missing += n - up
		}
		if app.Name == waiting.App {
			ask = up
		}
	}
	return missing > 0 && missing+ask > bound.Of(slots)
}

// slotsOf counts the slots of an app that have an allocation, at most as many as it wants, and those of them that work.
func (w *world) slotsOf(in *reconcile.Input, app *spec.App) (slots, up int) {
	all, works := map[int]bool{}, map[int]bool{}
	for i := range in.Current {
		a := &in.Current[i]
		if a.App != app.Name || a.Canary || a.Want != spec.WantRun {
			continue
		}
		all[a.Index] = true
		if a.Healthy && !a.State.Terminal() && w.master.core.Reachable(a.Node) {
			works[a.Index] = true
		}
	}
	if app.Kind == spec.KindService {
		return max(len(works), min(len(all), app.Count)), len(works)
	}
	return len(all), len(works)
}

func (p *player) expectBlocked(args []string) error {
	if len(args) < 2 {
		return errors.New("expected are an app, a number and perhaps a rule")
	}
	var found *control.BlockedView
	for _, b := range p.blocked() {
		if string(b.App) == args[0] {
			found = &b
		}
	}
	err := number(args[:2], func(string) int {
		if found == nil {
			return 0
		}
		return len(found.Slots)
	})
	if err != nil || len(args) == 2 || found == nil {
		return err
	}
	rule := strings.Join(args[2:], " ")
	var rules []string
	for _, r := range found.Reasons {
		if strings.Contains(r.Rule, rule) || strings.Contains(r.Detail, rule) {
			return nil
		}
		rules = append(rules, r.Rule+" ("+r.Detail+")")
	}
	for _, g := range found.Groups {
		if text := fmt.Sprintf("%d nodes: %s (%s)", g.Nodes, strings.Join(g.Rules, ", and "), g.Detail); strings.Contains(text, rule) {
			return nil
		}
	}
	return fmt.Errorf("found the rules %s", strings.Join(rules, ", "))
}

// expectFix wants a fix to be said of an app that is blocked; the text is part of it.
func (p *player) expectFix(args []string) error {
	text := strings.Join(args[1:], " ")
	for _, b := range p.explained() {
		if string(b.App) != args[0] {
			continue
		}
		for _, fix := range b.Fix {
			if strings.Contains(fix, text) {
				return nil
			}
		}
		return fmt.Errorf("found the fixes %s", strings.Join(b.Fix, ", or "))
	}
	return fmt.Errorf("%s is not blocked", args[0])
}

func (p *player) expectStarts(args []string) error {
	return number(args, func(text string) int {
		s, err := spec.ParseSlot(text)
		if err != nil {
			return -1
		}
		return p.world.starts[s]
	})
}

func (p *player) expectRollout(args []string) error {
	if len(args) != 2 {
		return errors.New("expected are an app and a state")
	}
	state := "none"
	for _, v := range p.world.master.core.Apps() {
		if string(v.App) == args[0] && v.Rollout != nil {
			state = string(v.Rollout.State)
		}
	}
	if state != args[1] {
		return fmt.Errorf("found %s", state)
	}
	return nil
}

// expectFailed wants the plan to say that an app is not as the commit says, with a text in the reason.
func (p *player) expectFailed(args []string) error {
	plan, text := p.plan(), strings.Join(args[1:], " ")
	for i := range plan.Apps {
		switch a := &plan.Apps[i]; {
		case string(a.App) != args[0] || !a.Unfinished():
		case !strings.Contains(a.Rollout.Reason, text):
			return fmt.Errorf("found %s", a.Rollout.Reason)
		default:
			return nil
		}
	}
	return errors.New("the plan says nothing of it")
}

// What a commit can have become.
func following(p *player) spec.Commit { return p.world.master.core.Status().Commit }

func waiting(p *player) spec.Commit {
	if w := p.world.master.core.Pending(); w != nil {
		return w.Revision.Commit
	}
	return ""
}

func notUsed(p *player) spec.Commit {
	if f := p.world.master.core.Status().Failure; f != nil {
		return f.Commit
	}
	return ""
}

func expectCommit(found func(*player) spec.Commit) func(*player, []string) error {
	return func(p *player, args []string) error {
		want := p.scenario.revisions[args[0]]
		if want == nil {
			return errors.New("expected is a commit of this scenario")
		}
		got := found(p)
		if got == want.Commit {
			return nil
		}
		for _, name := range sortedKeys(p.scenario.revisions) {
			if p.scenario.revisions[name].Commit == got {
				return fmt.Errorf("found %s", name)
			}
		}
		return errors.New("found none")
	}
}

// expectEvents wants lines of the story that hold a text: so many.
func (p *player) expectEvents(args []string) error {
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 0 {
		return fmt.Errorf("%q is no number", args[0])
	}
	return p.expectEvent(n, args[1:])
}

// expectEvent wants a number of lines of the story that hold a text; -1 is one or more.
func (p *player) expectEvent(want int, args []string) error {
	text := strings.Join(args, " ")
	found := 0
	for _, e := range p.world.master.events {
		if strings.Contains(e.Subject+" "+e.What+" "+e.Why, text) {
			found++
		}
	}
	if want < 0 && found == 0 || want >= 0 && found != want {
		return fmt.Errorf("found %d such lines", found)
	}
	return nil
}

// expectSource wants the last contact with the repository to have been "ok", or to have failed with a text.
func (p *player) expectSource(args []string) error {
	got := p.world.master.core.Status().Contact.Err
	if got == "" {
		got = "ok"
	}
	if !strings.Contains(got, strings.Join(args, " ")) {
		return fmt.Errorf("found %s", got)
	}
	return nil
}

// expectAvailability wants an app's wanted slots to have been healthy for at least such a share of all the time: 99.9%.
func (p *player) expectAvailability(args []string) error {
	f, err := strconv.ParseFloat(strings.TrimSuffix(args[1], "%"), 64)
	if err != nil || f < 0 || f > 100 {
		return fmt.Errorf("%q is no share: write it as 99.9%%", args[1])
	}
	g := p.world.meter.apps[spec.AppName(args[0])]
	if g == nil {
		return errors.New("there was never a service of that name")
	}
	g.count(p.world.now)
	if got := of(g.healthyArea, g.wantedArea); got < int64(f*10_000) {
		return fmt.Errorf("it was %s", share(got)) // and differs a little with everything else
	}
	return nil
}

func (p *player) expectRefused(args []string) error {
	text := strings.Join(args, " ")
	switch {
	case p.refused == "":
		return errors.New("nothing was refused")
	case !strings.Contains(p.refused, text):
		return fmt.Errorf("refused for another reason: %s", p.refused)
	}
	p.refused, p.refusedAt = "", 0
	return nil
}

// expectMisplaced counts the allocations of an app that run where its rules would not let them be placed now; the text is part
// of the first rule that one of them does not meet.
func (p *player) expectMisplaced(args []string) error {
	text, said := strings.Join(args[2:], " "), ""
	n := 0
	for _, m := range reconcile.Misplaced(p.world.master.core.Input()) {
		if string(m.Slot.App) == args[0] {
			n++
			said += m.String() + "; "
		}
	}
	if err := number(args[:2], func(string) int { return n }); err != nil {
		return fmt.Errorf("%w: %s", err, said)
	}
	if !strings.Contains(said, text) {
		return fmt.Errorf("found %s", said)
	}
	return nil
}

// expectMoves compares how many moves a rebalancing would propose now.
func (p *player) expectMoves(text string) error {
	want, err := strconv.Atoi(text)
	if err != nil {
		return fmt.Errorf("%q is no number", text)
	}
	r := reconcile.Rebalance(p.world.master.core.Input(), reconcile.Terms{})
	if len(r.Moves) == want {
		return nil
	}
	var what []string
	for _, g := range r.Gains {
		what = append(what, g.What)
	}
	return fmt.Errorf("found %d: %s", len(r.Moves), strings.Join(what, "; "))
}

// expectWaits looks at the window that an app's change waits for; "none": for no window.
func (p *player) expectWaits(args []string) error {
	f := p.world.master.core.State().Following
	if f == nil {
		return errors.New("no commit is followed yet")
	}
	plan, _ := p.world.master.core.Preview(f.Revision, nil, f.Signed, 0)
	found := "none"
	for i := range plan.Apps {
		if a := &plan.Apps[i]; a.App == spec.AppName(args[0]) && a.Waits != nil {
			found = a.Waits.Text
		}
	}
	if want := strings.Join(args[1:], " "); !strings.Contains(found, want) {
		return fmt.Errorf("it waits for %s", found)
	}
	return nil
}
