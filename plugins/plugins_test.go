package plugins

import (
	"reflect"
	"strings"
	"testing"

	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
)

var ring = spec.Framework{Driver: "cassandra", Name: "ring", Pos: spec.Pos{File: "ring.hcl", Line: 3, Column: 1}}

func goodApp(name spec.AppName) *spec.App {
	return &spec.App{Name: name, Count: 2, Network: spec.Network{Ports: []spec.PortSpec{{Name: "db"}}},
		Tasks: []spec.Task{{Name: "db", Rootfs: spec.RootfsHost, Command: []string{"db"}, Checks: []spec.Check{{Name: "up", Type: spec.CheckTCP, Port: "db"}}}}}
}

func TestAnExpansionIsCompleteAndItsOriginNoted(t *testing.T) {
	answer := &Answer{Apps: []*spec.App{goodApp("ring/b"), goodApp("ring/a")},
		Diagnostics: []spec.Diagnostic{{Severity: spec.SeverityWarning, Summary: "Small"}}}
	e, err := Expansion(ring, answer)
	if err != nil {
		t.Fatal(err)
	}
	if e.Driver != "cassandra" || e.Name != "ring" || e.Apps[0].Name != "ring/a" || e.Diagnostics[0].Pos != ring.Pos {
		t.Errorf("%+v", e)
	}
	a := e.Apps[0]
	if a.Framework != "cassandra ring" || a.Pos != ring.Pos || a.Kind != spec.KindService || a.Role != spec.DefaultRole || a.Priority != spec.DefaultPriority ||
		a.Update.HealthyFor != spec.DefaultHealthyFor || !a.Update.AutoRevert || a.Restart.Attempts != spec.DefaultRestartAttempts ||
		a.Reschedule.After != spec.DefaultRescheduleAfter || a.Network.Mode != spec.NetworkHost || a.Network.Ports[0].Protocol != spec.TCP {
		t.Errorf("%+v", a)
	}
	task := a.Tasks[0]
	if task.Memory != spec.DefaultMemory || task.CPU != spec.DefaultCPU || task.Stop.Signal != spec.DefaultStopSignal || task.Checks[0].Interval != spec.DefaultCheckInterval {
		t.Errorf("%+v", task)
	}
	if !reflect.DeepEqual(answer.Apps[1], goodApp("ring/a")) || answer.Diagnostics[0].Pos != (spec.Pos{}) {
		t.Errorf("the driver's own answer was changed: %+v", answer.Apps[1])
	}
	// Filling in twice is filling in once.
	again, err := Expansion(ring, &Answer{Apps: e.Apps, Diagnostics: e.Diagnostics})
	if err != nil || !reflect.DeepEqual(again, e) {
		t.Errorf("%+v, %v", again, err)
	}
}

func TestWhatWasWrittenIsNotOverwritten(t *testing.T) {
	app := goodApp("ring/a")
	app.Kind, app.Priority, app.Update = spec.KindBatch, 7, spec.Update{Strategy: spec.StrategyRecreate, MaxParallel: 3}
	app.Restart = spec.Restart{Interval: spec.Minute} // no restarts at all
	e, err := Expansion(ring, &Answer{Apps: []*spec.App{app}})
	if err != nil {
		t.Fatal(err)
	}
	a := e.Apps[0]
	if a.Kind != spec.KindBatch || a.Priority != 7 || a.Update.Strategy != spec.StrategyRecreate || a.Update.MaxParallel != 3 || a.Update.AutoRevert ||
		a.Restart.Attempts != 0 || a.Restart.Interval != spec.Minute {
		t.Errorf("%+v", a)
	}
}

func TestAnAnswerThatBreaksARuleIsRefused(t *testing.T) {
	cases := map[string]struct {
		change func(*spec.App)
		want   string
	}{
		"foreign":       {func(a *spec.App) { a.Name = "shop/web" }, `begin with "ring/"`},
		"prefix only":   {func(a *spec.App) { a.Name = "ringer/x" }, `begin with "ring/"`},
		"itself":        {func(a *spec.App) { a.Name = "ring" }, `begin with "ring/"`},
		"climbing":      {func(a *spec.App) { a.Name = "ring/../shop" }, "is not a name"},
		"count":         {func(a *spec.App) { a.Count = spec.MaxCount + 1 }, "count is"},
		"negative":      {func(a *spec.App) { a.Count = -1 }, "count is -1"},
		"kind":          {func(a *spec.App) { a.Kind = "daemon" }, "no kind"},
		"system count":  {func(a *spec.App) { a.Kind = spec.KindSystem }, "no count"},
		"priority":      {func(a *spec.App) { a.Priority = 101 }, "priority is 101"},
		"policy":        {func(a *spec.App) { a.Policy = &spec.PolicyRef{Name: "x"} }, "chooses no policy"},
		"dependency":    {func(a *spec.App) { a.DependsOn = []spec.Dependency{{App: "shop/db"}} }, "none of the driver's apps"},
		"cycle":         {func(a *spec.App) { a.DependsOn = []spec.Dependency{{App: "ring/other"}} }, "waits for itself"},
		"affinity":      {func(a *spec.App) { a.Affinities = []spec.Affinity{{App: "shop/db", Weight: 5}} }, "none of the driver's apps"},
		"affinity op":   {func(a *spec.App) { a.Affinities = []spec.Affinity{{Attribute: "x", Operator: spec.OpMaxPer}} }, "no operator"},
		"operator":      {func(a *spec.App) { a.Constraints = []spec.Constraint{{Attribute: "x", Operator: "~"}} }, "no operator"},
		"no task":       {func(a *spec.App) { a.Tasks = nil }, "no task"},
		"only sidecars": {func(a *spec.App) { a.Tasks[0].Lifecycle = spec.LifecycleSidecar }, "main task"},
		"twins":         {func(a *spec.App) { a.Tasks = append(a.Tasks, a.Tasks[0]) }, "two tasks"},
		"no root":       {func(a *spec.App) { a.Tasks[0].Rootfs = "" }, "rootfs or an image"},
		"odd root":      {func(a *spec.App) { a.Tasks[0].Rootfs = "/" }, "no rootfs"},
		"no command":    {func(a *spec.App) { a.Tasks[0].Command = nil }, "no command"},
		"zero byte":     {func(a *spec.App) { a.Tasks[0].Command = []string{"a\x00b"} }, "zero byte"},
		"variable":      {func(a *spec.App) { a.Tasks[0].Env = map[string]string{"A=B": "c"} }, "no variable"},
		"memory":        {func(a *spec.App) { a.Tasks[0].Memory = 1 }, "memory is 1"},
		"burst":         {func(a *spec.App) { a.Tasks[0].MemoryMax = 5 * spec.MiB }, "below memory"},
		"cpu":           {func(a *spec.App) { a.Tasks[0].CPU = -5 }, "cpu is -5"},
		"signal":        {func(a *spec.App) { a.Tasks[0].Stop.Signal = "9" }, "no signal"},
		"check port":    {func(a *spec.App) { a.Tasks[0].Checks[0].Port = "web" }, `port "web"`},
		"check before":  {checkedBeside(spec.LifecyclePrestart), "a prestart task runs to its end"},
		"check after":   {checkedBeside(spec.LifecyclePoststart), "a poststart task runs to its end"},
		"check at last": {checkedBeside(spec.LifecyclePoststop), "a poststop task runs to its end"},
		"check command": {func(a *spec.App) { a.Tasks[0].Checks[0].Type = spec.CheckExec }, "no command"},
		"port":          {func(a *spec.App) { a.Network.Ports[0].Static = 70000 }, "70000"},
		"network":       {func(a *spec.App) { a.Network.Mode = "wifi" }, "network mode"},
		"strategy":      {func(a *spec.App) { a.Update.Strategy = "hope" }, "no strategy"},
		"duration":      {func(a *spec.App) { a.Update.Deadline = -1 }, "duration"},
	}
	for name, c := range cases {
		other := goodApp("ring/other")
		other.DependsOn = []spec.Dependency{{App: "ring/a"}}
		a := goodApp("ring/a")
		if name == "foreign" || name == "prefix only" || name == "itself" || name == "climbing" {
			other.DependsOn = nil
		}
		c.change(a)
		if _, err := Expansion(ring, &Answer{Apps: []*spec.App{a, other}}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: want %q in: %v", name, c.want, err)
		}
	}
	for want, a := range map[string]*Answer{
		"null":                    {Apps: []*spec.App{nil}},
		"two apps called":         {Apps: []*spec.App{goodApp("ring/a"), goodApp("ring/a")}},
		"at most 1000":            {Apps: make([]*spec.App, MaxApps+1)},
		"a step has no title":     {Steps: []spec.Step{{}}},
		"number of steps":         {Steps: make([]spec.Step, MaxSteps+1)},
		"no severity":             {Diagnostics: []spec.Diagnostic{{Summary: "x"}}},
		"the block has an error:": {Diagnostics: []spec.Diagnostic{{Severity: spec.SeverityError, Summary: "x"}}},
	} {
		if _, err := Expansion(ring, a); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
}

// checkedBeside adds a task of another lifecycle that has checks.
func checkedBeside(life spec.Lifecycle) func(*spec.App) {
	return func(a *spec.App) {
		beside := a.Tasks[0]
		beside.Name, beside.Lifecycle = "beside", life
		a.Tasks = append(a.Tasks, beside)
	}
}

func TestADriverSeesWhatItsBlockOwnsAndNothingElse(t *testing.T) {
	alloc := func(app spec.AppName, node spec.NodeID, version spec.Hash) spec.AllocationView {
		return spec.AllocationView{Allocation: spec.Allocation{Slot: spec.Slot{App: app}, Node: node, Version: version}}
	}
	q := About(ring, []spec.AllocationView{alloc("ring/a", "n1", "v1"), alloc("ring", "n2", "v2"), alloc("ringer/b", "n2", "v2"), alloc("ring/b/c", "n3", "gone"), alloc("shop/web", "n2", "v2")},
		map[spec.Hash]*spec.App{"v1": {Name: "ring/a"}, "v2": {Name: "shop/web"}},
		[]spec.NodeView{{Node: spec.Node{ID: "n1", Address: "10.0.0.1"}}, {Node: spec.Node{ID: "n2", Address: "10.0.0.2"}}, {Node: spec.Node{ID: "n3"}}})
	if len(q.Allocations) != 2 || q.Allocations[1].App != "ring/b/c" || len(q.Versions) != 1 || q.Versions["v1"] == nil ||
		!reflect.DeepEqual(q.Nodes, []Node{{"n1", "10.0.0.1"}, {"n3", ""}}) {
		t.Errorf("%+v", q)
	}
	if q.Address("n1") != "10.0.0.1" || q.Address("n2") != "" {
		t.Error("the driver knows where a node is that it has nothing on")
	}
}

func TestSchemas(t *testing.T) {
	one, two := 1.0, 2.0
	good := spec.Schema{
		Arguments: []spec.Argument{{Name: "nodes", Type: spec.TypeNumber, Default: 1.5, Min: &one, Max: &two}, {Name: "mode", Type: spec.TypeString, OneOf: []string{"a"}, Default: "a"},
			{Name: "tags", Type: spec.TypeStringList, Default: []any{"x"}}, {Name: "on", Type: spec.TypeBool, Default: true}, {Name: "env", Type: spec.TypeStringMap, Required: true}},
		Blocks: []spec.BlockType{{Name: "rack", Labelled: true, Schema: spec.Schema{Arguments: []spec.Argument{{Name: "nodes", Type: spec.TypeNumber}}}}},
	}
	if err := CheckSchema(good); err != nil {
		t.Error(err)
	}
	deep := spec.Schema{}
	for range MaxSchemaDepth + 1 {
		deep = spec.Schema{Blocks: []spec.BlockType{{Name: "b", Schema: deep}}}
	}
	argument := func(a spec.Argument) spec.Schema { return spec.Schema{Arguments: []spec.Argument{a}} }
	for want, s := range map[string]spec.Schema{
		"deeper than":         deep,
		"is no name":          argument(spec.Argument{Name: "No-de", Type: spec.TypeBool}),
		"means something":     argument(spec.Argument{Name: "for_each", Type: spec.TypeBool}),
		"twice":               {Arguments: good.Arguments[:1], Blocks: []spec.BlockType{{Name: "nodes"}}},
		"is no type":          argument(spec.Argument{Name: "a", Type: "colour"}),
		"has a range":         argument(spec.Argument{Name: "a", Type: spec.TypeBool, Min: &one}),
		"no value lies":       argument(spec.Argument{Name: "a", Type: spec.TypeSize, Min: &two, Max: &one}),
		"lists values":        argument(spec.Argument{Name: "a", Type: spec.TypeBool, OneOf: []string{"x"}}),
		"required and has":    argument(spec.Argument{Name: "a", Type: spec.TypeBool, Required: true, Default: true}),
		"is no number":        argument(spec.Argument{Name: "a", Type: spec.TypeNumber, Default: "1"}),
		"is no list(string)":  argument(spec.Argument{Name: "a", Type: spec.TypeStringList, Default: []any{1.0}}),
		"out of its range":    argument(spec.Argument{Name: "a", Type: spec.TypeDuration, Default: 3.0, Max: &two}),
		"none of the values":  argument(spec.Argument{Name: "a", Type: spec.TypeString, Default: "b", OneOf: []string{"a"}}),
		"the number of names": {Arguments: make([]spec.Argument, MaxSchemaNames+1)},
	} {
		if want == "the number of names" {
			for i := range s.Arguments {
				s.Arguments[i] = spec.Argument{Name: "a" + strings.Repeat("x", i%60) + string(rune('a'+i/60)), Type: spec.TypeBool}
			}
		}
		if err := CheckSchema(s); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("want %q in: %v", want, err)
		}
	}
}

func TestPicksThatBreakARuleAreRefused(t *testing.T) {
	batch := func() *place.Batch {
		return &place.Batch{App: "a", Count: 4, Resources: []string{"cpu"}, Need: []int64{10}, Nodes: []spec.NodeID{"x", "y"}, Capacity: []int64{100, 100},
			Free: []int64{25, 100}, Room: []int32{9, 3}, Own: []int32{0, 0}, Load: []int32{0, 0},
			Groups: []place.Group{{Name: "rack", Of: []int32{0, 1}, Have: []int32{5, 1}, Cap: []int32{9, 3}}}}
	}
	at := func(nodes ...int) (p []place.Pick) {
		for _, n := range nodes {
			p = append(p, place.Pick{Node: n})
		}
		return p
	}
	for _, good := range [][]place.Pick{nil, at(0), at(0, 0, 1, 1), at(1, 1)} {
		if err := CheckPicks(batch(), good); err != nil {
			t.Errorf("%v: %v", good, err)
		}
	}
	odd := at(0)
	odd[0].Score.Next = "z"
	long := at(0)
	long[0].Score.NextWhy = strings.Repeat("w", MaxText+1)
	for want, bad := range map[string][]place.Pick{
		"asked for 4": at(0, 0, 1, 1, 1), "node number -1": at(-1), "node number 2": at(2), "not enough cpu": at(0, 0, 0),
		"in its group of rack": at(1, 1, 1), "runner-up": odd, "too great length": long,
	} {
		if err := CheckPicks(batch(), bad); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: want %q in: %v", bad, want, err)
		}
	}
	tight := batch()
	tight.Room[1] = 1
	if err := CheckPicks(tight, at(1, 1)); err == nil || !strings.Contains(err.Error(), "takes 1 at most") {
		t.Error(err)
	}
}
