package view

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/spec"
)

var update = flag.Bool("update", false, "write the golden files anew")

// golden compares what a view prints with a file under testdata.
func golden(t *testing.T, name string, width int, print func(*Page)) string {
	t.Helper()
	var out bytes.Buffer
	print(&Page{Out: &out, Width: width, Now: spec.Time(100 * spec.Second)})
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, out.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(want, out.Bytes()) {
		t.Errorf("%s (%v): go test ./cmd/stowage/view -update writes it; now it is\n%s", path, err, out.String())
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.TrimRight(line, " ") != line {
			t.Errorf("%s: white space ends %q", name, line)
		}
	}
	return out.String()
}

func example() *spec.Plan {
	slot := func(i int) spec.Slot { return spec.Slot{App: "shop/web", Index: i} }
	score := &spec.Score{Total: 830, Next: "n09", NextAt: 790, NextWhy: "less free memory", Feasible: 4}
	return &spec.Plan{ID: "p-7f3a9c", Commit: "9c1e2d7aaaaaaaaa", Subject: "web: 6 replicas, 1.28", Signed: true,
		Base: spec.Base{Commit: "41bb0aabbbbbbb", Behind: 2},
		Apps: []spec.AppPlan{
			{App: "nightly", Action: spec.ChangeBlocked, Pos: spec.Pos{File: "apps/nightly.hcl", Line: 21},
				Blocked: &spec.Blocked{Slots: []int{8, 9}, Of: 10, Fix: []string{"count = 8", `memory = "2.8GiB"`},
					Reasons: []spec.Reason{{Rule: "quota of role eng: cpu", Nodes: 16, Detail: "12 of 12 are used"}, {Rule: "constraint kernel.version >= 6.1", Nodes: 11}, {Rule: "memory", Nodes: 6, Detail: "n14 is short by 1.2GiB"}},
					Groups: []spec.NodeGroup{{Rules: []string{"constraint kernel.version >= 6.1"}, Nodes: 9}, {Rules: []string{"memory"}, Nodes: 4, Detail: "n14 is short by 1.2GiB"},
						{Rules: []string{"constraint kernel.version >= 6.1", "memory"}, Nodes: 2, Detail: "n03 is short by 2GiB of memory"}}, Nodes: 15}},
			{App: "shop/cache", Action: spec.ChangeUpdate, Held: `framework driver "redis": it crashed`, Pos: spec.Pos{File: "cache.hcl", Line: 2}},
			{App: "shop/web", Action: spec.ChangeReplace, Pos: spec.Pos{File: "apps/web.hcl", Line: 3},
				Fields: []spec.FieldChange{{Path: "count", From: "4", To: "6", Effect: "start 2"},
					{Path: "task.server.image", From: `"web:1.27"`, To: `"web:1.28"`, Effect: "replaces 1, one at a time"},
					{Path: "task.server.dir", To: `"/srv"`}, {Path: "task.server.user", From: `"nobody"`}},
				Stay: []spec.SlotRange{{First: 1, Last: 3, Nodes: []spec.NodeID{"n07", "n11", "n12"}}},
				Changes: []spec.Change{
					{Slot: slot(0), Kind: spec.ChangeReplace, Old: "shop.web-0-1", From: "n03", Node: "n03", Reason: "the spec changed", Now: true},
					{Slot: slot(4), Kind: spec.ChangeStart, Node: "n05", Score: score, Reason: "the slot is new", Ports: []spec.Port{{Name: "http", Number: 20001}}},
					{Slot: slot(5), Kind: spec.ChangeStart, Node: "n09", Reason: "the slot is new", After: "after shop/web[4] is healthy",
						Victims: []spec.Victim{{ID: "batch-0-3", Priority: 20}}},
				}},
		},
		Capacity: spec.CapacityChange{Total: spec.Resources{CPU: 100_000, Memory: 400 * spec.GiB}, Before: spec.Resources{CPU: 61_000, Memory: 288 * spec.GiB},
			After: spec.Resources{CPU: 68_000, Memory: 316 * spec.GiB}, Largest: spec.Resources{CPU: 6000, Memory: 11 * spec.GiB}},
		Failure: &spec.FailureImpact{Node: "n07", Displaced: 3, Looked: 20, Of: 20, Domains: []spec.DomainImpact{
			{Attribute: "rack", Looked: 2, Of: 3, Values: []spec.Loss{{Name: "r2", Nodes: 5, Displaced: 12, Homeless: 2, Slots: []spec.Slot{slot(3), slot(4)}}}},
			{Attribute: "zone", Of: 2}, {Attribute: "row"}}},
		Guards:  []spec.Guard{{Rule: "max_prune", Detail: "3 of 4 apps would stop; at most 20% may without approval"}},
		Summary: spec.Summary{Start: 2, Replace: 1, Blocked: 2}}
}

func TestPlan(t *testing.T) {
	text := golden(t, "plan.txt", 0, func(p *Page) { p.Plan(example(), PlanOptions{Apply: "stowage apply p-7f3a9c"}) })
	for _, want := range []string{"2 of 10 do not fit", "9 nodes: constraint kernel.version >= 6.1", "quota of role eng: cpu (12 of 12 are used)", "constraint kernel.version >= 6.1, and memory", "would fit with count = 8", "next n09 0.79: less free memory",
		"after shop/web[4] is healthy", "preempts batch-0-3", "worst n07: 3 allocations displaced, all fit elsewhere", "worst r2: 12 allocations displaced, 2 without a home: shop/web[3], shop/web[4] (the 2 fullest of 3 looked at)", "if a zone fails   not looked at", "if a row fails   no node has such an attribute", "2 commits behind", "(signed)"} {
		if !strings.Contains(text, want) {
			t.Errorf("the plan does not say %q", want)
		}
	}
}

func TestAPlanThatSupposesSaysSo(t *testing.T) {
	plan := example()
	plan.Suppose = &spec.Supposition{
		Without: []spec.LostNodes{{Attribute: "rack", Value: "r1", Nodes: []spec.NodeID{"n1", "n2", "n3"}}, {Attribute: "node", Value: "n7", Nodes: []spec.NodeID{"n7"}}},
		With:    []spec.MoreNodes{{Count: 5, Class: "big"}, {Count: 2, Like: "n3"}},
	}
	golden(t, "suppose.txt", 0, func(p *Page) { p.Plan(plan, PlanOptions{}) })
}

func TestAPlanWithoutChangesIsOneLine(t *testing.T) {
	text := golden(t, "no-changes.txt", 0, func(p *Page) { p.Plan(&spec.Plan{ID: "p-1", Commit: "9c1e2d7aaaaaaaaa"}, PlanOptions{}) })
	if strings.Count(text, "\n") != 1 {
		t.Errorf("it is %q", text)
	}
}

// What stands where its rules no longer allow is said by why and explain, though nothing is blocked.
func TestWhatIsMisplacedIsSaid(t *testing.T) {
	stands := []spec.Misplaced{{Slot: spec.Slot{App: "shop/api"}, ID: "shop.api-0-3", Node: "n4", Rules: []string{"constraint near shop/cache"}}}
	for what, print := range map[string]func(*Page){
		"why":     func(p *Page) { p.Why(Why{Apps: []api.BlockedApp{{App: "shop/api", Misplaced: stands}}}) },
		"explain": func(p *Page) { p.Explanation(&api.Explanation{Subject: "shop/api[0]", Misplaced: stands}, nil) },
	} {
		var out bytes.Buffer
		print(&Page{Out: &out})
		if !strings.Contains(out.String(), "! shop/api[0] on n4 no longer meets constraint near shop/cache\n") {
			t.Errorf("%s says\n%s", what, out.String())
		}
	}
}

// What only one of two plans does is no removal of anything: each part says whose it is.
func TestDiffSaysWhoseStepsTheyAre(t *testing.T) {
	d := &api.Diff{From: "p-1", To: "p-2", New: []string{"web[0] start on n1"}, Changed: []string{"api[0] start on n1 → start on n2"}}
	for i := range 14 {
		d.Only = append(d.Only, spec.Slot{App: "huge", Index: i}.String()+" start on n4")
	}
	golden(t, "diff.txt", 0, func(p *Page) { p.Diff(d) })
}

// A plan made before nodes had joined says so for as long as it is in the history.
func TestHistory(t *testing.T) {
	golden(t, "history.txt", 0, func(p *Page) {
		p.History([]api.HistoryEntry{
			{Time: spec.Time(60 * spec.Second), Commit: "41bb0aabbbbbbb", Plan: "p-2", Summary: spec.Summary{Start: 2}, Nodes: 3, Subject: "more"},
			{Time: spec.Time(20 * spec.Second), Commit: "9c1e2d7aaaaaaa", Plan: "p-1", Summary: spec.Summary{Blocked: 3}, Subject: "first"},
		})
	})
}

// Each pool has a line of its own: what is free in one is of no use to the apps of another.
func TestCapacityHasALineForEachPool(t *testing.T) {
	plan := example()
	c := &plan.Capacity
	c.Pools = []spec.PoolCapacity{{Pool: "default", Total: c.Total, Before: c.Before, After: c.After, Largest: spec.Resources{CPU: 100, Memory: spec.GiB}},
		{Pool: "gpu", Total: spec.Resources{CPU: 4000, Memory: spec.GiB}, Largest: spec.Resources{CPU: 950, Memory: spec.GiB}}}
	text := golden(t, "pools.txt", 0, func(p *Page) { p.Plan(plan, PlanOptions{}) })
	if strings.Count(text, "  capacity   pool ") != 2 || strings.Count(text, "  capacity ") != 2 {
		t.Errorf("it is\n%s", text)
	}
}

// What an app does not have of a commit is told though nothing is left to do, and a slot that waits after a failure does
// not read like one without a place.
func TestFailuresAreNoMissingPlaces(t *testing.T) {
	plan := &spec.Plan{ID: "p-1", Commit: "9c1e2d7aaaaaaaaa", Summary: spec.Summary{Blocked: 1, Failed: 1}, Apps: []spec.AppPlan{
		{App: "nightly", Action: spec.ChangeBlocked, Blocked: &spec.Blocked{Slots: []int{1}, Of: 3, After: spec.Time(110 * spec.Second),
			Failed:  &spec.FailedAllocation{ID: "nightly-1-4", Slot: spec.Slot{App: "nightly", Index: 1}, Node: "n2", Why: "exit code 3", Logs: "nightly-1-4 --task dump"},
			Reasons: []spec.Reason{{Rule: "back-off: the last attempt failed", Detail: "nightly[1] on n2: exit code 3"}}}},
		{App: "shop/api", Action: spec.ChangeBlocked, Blocked: &spec.Blocked{Slots: []int{0, 1}, Of: 3, Leaving: 2, Reasons: []spec.Reason{{Rule: "memory", Nodes: 2}}}},
		{App: "shop/db", Action: spec.ChangeBlocked, Blocked: &spec.Blocked{Slots: []int{0, 1, 2}, Of: 3, Leaving: 1, Kept: 1, Reasons: []spec.Reason{{Rule: "memory", Nodes: 2}}}},
		{App: "shop/web", Action: spec.ChangeStay, Older: "41bb0aabbbbbbb", Pos: spec.Pos{File: "apps/web.hcl", Line: 3},
			Rollout: &spec.Rollout{State: spec.RolloutFailed, Commit: "9c1e2d7aaaaaaaaa", Failed: "shop.web-0-7", Logs: "shop.web-0-7",
				Reason: `no allocation became healthy for 20s; the last one was shop.web-0-7 on n2: task "server": exit code 1`},
			Fields: []spec.FieldChange{{Path: "task.server.command", From: "a", To: "b", Effect: "not carried out"}}},
	}}
	text := golden(t, "failed.txt", 0, func(p *Page) { p.Plan(plan, PlanOptions{}) })
	for _, not := range []string{"No changes", "2 of 3 do not fit"} {
		if strings.Contains(text, not) {
			t.Errorf("it says %q", not)
		}
	}
}

func TestLongListsFold(t *testing.T) {
	plan := example()
	app := &plan.Apps[2]
	for i := 6; i < 40; i++ {
		app.Changes = append(app.Changes, spec.Change{Slot: spec.Slot{App: "shop/web", Index: i}, Kind: spec.ChangeStart, Node: "n05", Reason: "the slot is new"})
	}
	count := func(all bool) int {
		var out bytes.Buffer
		(&Page{Out: &out}).Plan(plan, PlanOptions{All: all})
		return strings.Count(out.String(), "→ n05")
	}
	if folded, whole := count(false), count(true); folded >= 20 || whole != 35 {
		t.Errorf("folded %d lines, whole %d", folded, whole)
	}
}

func TestTablesFitTheTerminal(t *testing.T) {
	long := strings.Repeat("a long reason ", 20)
	for _, width := range []int{40, 60, 100} {
		var out bytes.Buffer
		p := &Page{Out: &out, Width: width}
		p.Table([]string{"SLOT", "NODE", "REASON"}, [][]string{{"shop/web[0]", "n1", long}, {"shop/web[1]", "a-node-with-a-long-name.example", "short"}})
		for _, line := range strings.Split(out.String(), "\n") {
			if n := width - len([]rune(line)); n < 0 {
				t.Errorf("%d columns: %q is %d too long", width, line, -n)
			}
		}
	}
}

func TestColourOnlyHelps(t *testing.T) {
	var plain, coloured bytes.Buffer
	(&Page{Out: &plain}).Plan(example(), PlanOptions{})
	(&Page{Out: &coloured, Colour: true}).Plan(example(), PlanOptions{})
	if strings.Contains(plain.String(), "\x1b") || !strings.Contains(coloured.String(), "\x1b[") {
		t.Fatal("colours are where they should not be, or not where they should")
	}
	var text strings.Builder
	escape := false
	for _, r := range coloured.String() {
		switch {
		case r == '\x1b':
			escape = true
		case escape:
			escape = r != 'm'
		default:
			text.WriteRune(r)
		}
	}
	if text.String() != plain.String() {
		t.Error("without its colours the coloured plan says something else")
	}
}

func TestDrains(t *testing.T) {
	var b strings.Builder
	now := spec.Time(1000 * spec.Hour)
	p := &Page{Out: &b, Now: now}
	lack := &spec.Blocked{Slots: []int{3, 4}, Of: 5, Leaving: 2, Reasons: []spec.Reason{{Rule: "memory", Nodes: 2}, {Rule: "the node is draining", Nodes: 1}}, Nodes: 3,
		Groups: []spec.NodeGroup{{Rules: []string{"memory"}, Nodes: 2, Detail: "n2 is short by 1GiB"}, {Rules: []string{"the node is draining"}, Nodes: 1}}}
	n := api.Node{NodeView: spec.NodeView{Node: spec.Node{ID: "n1"}, State: spec.NodeDraining}, Drain: &spec.DrainProgress{
		Drain: spec.Drain{Node: "n1", Since: now - spec.Time(5*spec.Minute), Deadline: now.Add(40 * spec.Minute), Reason: "new disk"},
		Left:  15, Moving: 3, Finishing: 1, Waiting: 12, Stays: []spec.DrainStay{
			{Slot: spec.Slot{App: "web", Index: 3}, Why: "no other node has a place", Blocked: lack}, {Slot: spec.Slot{App: "web", Index: 4}, Why: "no other node has a place", Blocked: lack},
			{Slot: spec.Slot{App: "x"}, Why: "held: a plugin"}},
	}}
	p.Drains([]api.Node{n})
	p.Drains(nil)
	want := `NODE  STATE     SINCE  PROGRESS                                                                  REASON
n1    draining  5m     15 left, 3 moving, 1 finishing their work, 12 must move and cannot yet, stopped in 40m  new disk
  web[3], web[4] on n1 must move and cannot yet: no other node has a place
      2 nodes: memory (n2 is short by 1GiB)
      1 node: the node is draining
  x[0] on n1 must move and cannot yet: held: a plugin
  … and 9 more
No node is draining. stowage drain NODE moves everything away from one.
`
	if got := b.String(); squeeze(got) != squeeze(want) {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := Names([]spec.NodeID{"a", "b", "c", "d", "e", "f", "g"}); got != "a, b, c, d, e and 2 more" {
		t.Errorf("names are %q", got)
	}
}

// squeeze makes every run of blanks one.
func squeeze(text string) string {
	lines := strings.Split(text, "\n")
	for i := range lines {
		lines[i] = strings.Join(strings.Fields(lines[i]), " ")
	}
	return strings.Join(lines, "\n")
}

// Nodes are listed with their pools; one that names none is in the default one.
// TestANodeShowsWhatIsKeptOnIt: for whom, and how much of it is not used.
func TestANodeShowsWhatIsKeptOnIt(t *testing.T) {
	var out bytes.Buffer
	p := &Page{Out: &out, Width: 120, Now: spec.Time(100 * spec.Second)}
	n := api.Node{Reservations: []spec.NodeReservation{
		{Name: "peak", Role: "db", Amount: spec.Resources{CPU: 3000}, Unused: spec.Resources{CPU: 1000}},
		{Name: "all", Role: "web", Amount: spec.Resources{Memory: spec.GiB}},
	}}
	p.Node(&n, nil)
	for _, want := range []string{"3 cpu for role db (peak), 1 cpu of it not used", "for role web (all), nothing of it not used"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, out.String())
		}
	}
}

func TestNodesShowTheirPool(t *testing.T) {
	var out bytes.Buffer
	p := &Page{Out: &out, Width: 120, Now: spec.Time(100 * spec.Second)}
	node := func(id spec.NodeID, pool spec.PoolName) api.Node {
		n := api.Node{}
		n.ID, n.Pool, n.State = id, pool, spec.NodeReady
		return n
	}
	g := node("g1", "gpu")
	p.Nodes([]api.Node{g, node("n1", "")})
	p.Node(&g, nil)
	for _, line := range strings.Split(out.String(), "\n") {
		f := strings.Fields(line)
		if len(f) > 2 && (f[0] == "g1" && f[2] != "gpu" || f[0] == "n1" && f[2] != "default" || f[0] == "NODE" && f[2] != "POOL") {
			t.Errorf("%q", line)
		}
	}
	if !strings.Contains(out.String(), "  pool         gpu\n") {
		t.Errorf("the page of the node does not name its pool:\n%s", out.String())
	}
}

func TestRebalancing(t *testing.T) {
	var b strings.Builder
	p := &Page{Out: &b, Now: spec.Time(100 * spec.Second)}
	p.Rebalancing(&api.Rebalancing{})
	r := &api.Rebalancing{ID: "r-1", Of: 1, Gains: []api.Gain{{What: "frees n7 whole", Moves: 1, Worth: 10}},
		Moves: []api.Move{{Slot: spec.Slot{App: "web", Index: 3}, From: "n7", To: "n2", Why: "frees n7 whole"}}}
	p.Rebalancing(r)
	r.Begun, r.Parallel, r.Since = true, 4, spec.Time(40*spec.Second)
	p.Rebalancing(r)
	want := `Nothing pays: every slot that can have a place has one, spreads are even, and no node can be freed for what it costs.
Rebalancing r-1 1 move, replacement first

frees n7 whole (1 move, worth 10)
> web[3] n7 → n2

stowage rebalance --id r-1
Rebalancing r-1 1 of 1 move left, 4 at a time, since 60s

frees n7 whole (1 move, worth 10)
> web[3] n7 → n2

stowage rebalance --status shows how far it is, --cancel ends it.
`
	if got := squeeze(b.String()); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}
