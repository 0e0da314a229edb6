package reconcile_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stowage/stowage/spec"
)

// relate makes a rule over another app.
func relate(app string, op spec.Operator, attribute string) spec.Constraint {
	return spec.Constraint{App: spec.AppName(app), Operator: op, Attribute: attribute}
}

func ruled(a *spec.App, rules ...spec.Constraint) *spec.App {
	return edit(a, func(a *spec.App) { a.Constraints = append(slices.Clone(a.Constraints), rules...) })
}

// pinned puts an app on a node.
func pinned(a *spec.App, to string) *spec.App {
	return ruled(a, spec.Constraint{Attribute: "node.id", Operator: spec.OpEqual, Value: to})
}

// racks is two racks of two nodes with room for four each, and a node in none.
func racks(t *testing.T) *lab {
	return cluster(t,
		attribute(node("a1", 4000, spec.TiB), "rack", "a"), attribute(node("a2", 4000, spec.TiB), "rack", "a"),
		attribute(node("b1", 4000, spec.TiB), "rack", "b"), attribute(node("b2", 4000, spec.TiB), "rack", "b"), node("x", 4000, spec.TiB))
}

// Where an app goes that has rules over another one which runs already.
func TestRulesOverAnotherApp(t *testing.T) {
	near, apart := spec.OpNear, spec.OpApart
	for _, tt := range []struct {
		name  string
		rules []spec.Constraint
		count int
		want  map[spec.NodeID]int // exactly these, or those of a rack below
		racks string              // the racks that are used, "-" for none
		why   string
	}{
		{"the same node", []spec.Constraint{relate("db", near, "node.id")}, 3, map[spec.NodeID]int{"b1": 3}, "b", ""},
		{"no more than fit beside it", []spec.Constraint{relate("db", near, "node.id")}, 5, map[spec.NodeID]int{"b1": 3}, "b", "4 constraint near db; 1 cpu"},
		{"another node", []spec.Constraint{relate("db", apart, "node.id")}, 20, map[spec.NodeID]int{"a1": 4, "a2": 4, "b2": 4, "x": 4}, "-ab", "4 cpu; 1 constraint apart from db"},
		{"the same rack", []spec.Constraint{relate("db", near, "rack")}, 9, map[spec.NodeID]int{"b1": 3, "b2": 4}, "b", "2 constraint near db by rack; 2 cpu; 1 constraint rack is set"},
		{"another rack: a node in none is not used", []spec.Constraint{relate("db", apart, "rack")}, 9, map[spec.NodeID]int{"a1": 4, "a2": 4}, "a", "2 constraint apart from db by rack; 2 cpu; 1 constraint rack is set"},
		{"the same rack, another node", []spec.Constraint{relate("db", near, "rack"), relate("db", apart, "node.id")}, 5, map[spec.NodeID]int{"b2": 4}, "b", ""},
		{"near what runs nowhere", []spec.Constraint{relate("none", near, "node.id")}, 1, nil, "", "5 constraint near none"},
		{"apart from what runs nowhere", []spec.Constraint{relate("none", apart, "node.id")}, 20, map[spec.NodeID]int{"a1": 4, "a2": 4, "b1": 3, "b2": 4, "x": 4}, "-ab", "5 cpu"},
		{"an attribute that no node has", []spec.Constraint{relate("db", near, "row")}, 1, nil, "", `5 no node has the attribute "row"; 5 constraint row is set`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			l := racks(t)
			none := service("none", 0)
			db := pinned(asks("db", 1, 1000, spec.MiB), "b1")
			l.commit(db, none)
			l.settle()
			l.commit(db, none, ruled(asks("app", tt.count, 1000, spec.MiB), tt.rules...))
			p := l.step()
			for n, k := range l.where("app") {
				if tt.want[n] != k {
					t.Errorf("%d on %s, want %d\n%s", k, n, tt.want[n], show(p))
				}
			}
			if len(l.where("app")) != len(tt.want) {
				t.Errorf("on %v, want %v", l.where("app"), tt.want)
			}
			if b := blocked(p, "app"); tt.why != "" && (b == nil || rules(b) != tt.why) {
				t.Errorf("blocked %+v, want %q", b, tt.why)
			}
		})
	}
}

// Both apps are new in one plan: the one that others name goes first, whatever its name, priority and role.
func TestPeersOfOnePlanGoFirst(t *testing.T) {
	for _, tt := range []struct {
		name string
		edit func(web, db *spec.App)
	}{
		{"one priority", func(_, _ *spec.App) {}},
		{"the other way round", func(web, _ *spec.App) { web.Priority = 80 }},
		{"other roles", func(web, db *spec.App) { web.Role, db.Role = "a", "z" }},
	} {
		for op, attr := range map[spec.Operator]string{spec.OpNear: "rack", spec.OpApart: "rack"} {
			l := racks(t)
			web, db := ruled(asks("a-web", 2, 1000, spec.MiB), relate("z-db", op, attr)), asks("z-db", 1, 1000, spec.MiB)
			tt.edit(web, db)
			l.commit(web, db)
			p := l.step()
			w, d := "", ""
			for n := range l.where("a-web") {
				w = l.node(n).Attributes["rack"]
			}
			for n := range l.where("z-db") {
				d = l.node(n).Attributes["rack"]
			}
			if p.Summary.Blocked != 0 || len(l.live("a-web")) != 2 || (w == d) != (op == spec.OpNear) {
				t.Errorf("%s, %s: web in %q, db in %q\n%s", tt.name, op, w, d, show(p))
			}
		}
	}
}

// A chain of apps, each near the next, is placed by one plan.
func TestAChainIsPlacedAtOnce(t *testing.T) {
	l := racks(t)
	l.commit(ruled(service("a", 1), relate("b", spec.OpNear, "node.id")), edit(ruled(service("b", 1), relate("c", spec.OpNear, "node.id")), func(a *spec.App) { a.Priority = 90 }),
		edit(ruled(service("c", 1), relate("d", spec.OpNear, "node.id")), func(a *spec.App) { a.Priority = 10 }), pinned(service("d", 1), "x"))
	if p := l.step(); p.Summary.Blocked != 0 || l.where("a")["x"] != 1 {
		t.Fatalf("%s", show(p))
	}
}

// Near an app that waits itself, the place is foreseen and not blocked.
func TestNearWhatWaits(t *testing.T) {
	l := racks(t)
	db := service("db", 1)
	db.DependsOn = []spec.Dependency{{App: "seed", Deadline: spec.Hour}}
	l.commit(service("seed", 1), db, ruled(service("web", 2), relate("db", spec.OpNear, "node.id")))
	p := l.step()
	if p.Summary.Blocked != 0 || p.Summary.Start != 4 || now(p, spec.ChangeStart) != 1 || !strings.Contains(show(p), `after="after db is placed"`) {
		t.Fatalf("%+v\n%s", p.Summary, show(p))
	}
	l.settle()
	if w, d := l.where("web"), l.where("db"); len(w) != 1 || len(d) != 1 || w[l.live("db")[0].Node] != 2 {
		t.Fatalf("web on %v, db on %v", w, d)
	}
}

// Who wants to be apart keeps the other away as well: when it grows, moves, or is replaced after a loss.
func TestApartHoldsBothWays(t *testing.T) {
	l := racks(t)
	db := pinned(asks("db", 1, 1000, spec.MiB), "a1")
	web := ruled(asks("web", 1, 1000, spec.MiB), relate("db", spec.OpApart, "rack"))
	free := func(n int) *spec.App { return asks("db", n, 1000, spec.MiB) }
	l.commit(db, web)
	l.settle()
	webOn := l.live("web")[0].Node
	if l.node(webOn).Attributes["rack"] != "b" {
		t.Fatalf("web on %s", webOn)
	}
	apart := func(what string) {
		t.Helper()
		for n := range l.where("db") {
			if l.node(n).Attributes["rack"] == "b" {
				t.Errorf("%s: db on %s beside web on %v", what, n, l.where("web"))
			}
		}
	}
	l.commit(free(14), web)
	p := l.step()
	apart("more of db")
	if b := blocked(p, "db"); len(l.live("db")) != 12 || b == nil || rules(b) != "3 cpu; 2 constraint apart from web by rack, which asks for it" {
		t.Errorf("%d of db, blocked %+v", len(l.live("db")), b)
	}
	l.commit(free(3), web)
	l.settle()
	l.drain("a1")
	l.settle()
	apart("a drain")
	l.lose("x")
	l.settle()
	apart("a loss")
	l.in.Nodes = append(l.in.Nodes, attribute(node("c1", 8000, spec.TiB), "rack", "c"))
	l.drain("a2")
	l.settle()
	apart("another drain")
	if len(l.live("db")) != 3 {
		t.Errorf("%d of db, want 3", len(l.live("db")))
	}
}

// The other app's replacement stays with those that have to be near it, though a policy would have it elsewhere.
func TestTheOtherAppStaysNear(t *testing.T) {
	l := racks(t)
	db := asks("db", 1, 500, spec.MiB)
	web := ruled(asks("web", 2, 500, spec.MiB), relate("db", spec.OpNear, "rack"), spec.Constraint{Attribute: "node.id", Operator: spec.OpDistinct})
	l.commit(pinned(db, "b1"), pinned(service("full", 1), "a1"))
	l.settle()
	l.commit(db, web, pinned(asks("full", 1, 3000, spec.MiB), "a1"))
	l.settle()
	l.lose("b1")
	l.settle()
	if d, w := l.where("db"), l.where("web"); d["b2"] != 1 || w["b2"] != 1 || w["a1"]+w["a2"]+w["x"] > 0 {
		t.Errorf("db on %v, web on %v", d, w)
	}
	l.commit(edit(db, command("v2")), web)
	l.settle()
	if n := l.live("db")[0].Node; l.node(n).Attributes["rack"] != "b" {
		t.Errorf("the new version of db on %s", n)
	}
}

// A rule still means the same app when a moved block renames it: nothing moves, and the rule holds on.
func TestRulesFollowMovedBlocks(t *testing.T) {
	l := racks(t)
	web := ruled(asks("web", 1, 1000, spec.MiB), relate("db", spec.OpApart, "node.id"))
	l.commit(asks("db", 1, 1000, spec.MiB), web)
	l.settle()
	before := l.live("web")[0].Node
	l.commit(asks("shop/db", 1, 1000, spec.MiB), ruled(asks("web", 1, 1000, spec.MiB), relate("shop/db", spec.OpApart, "node.id")))
	l.in.Desired.Moved = []spec.Moved{{From: "db", To: "shop/db"}}
	if p := l.step(); p.Summary.Start+p.Summary.Stop+p.Summary.Move+p.Summary.Replace != 0 {
		t.Fatalf("%s", show(p))
	}
	l.settle()
	l.commit(asks("shop/db", 14, 1000, spec.MiB), ruled(asks("web", 1, 1000, spec.MiB), relate("db", spec.OpApart, "node.id")))
	l.settle()
	if l.where("web")[before] != 1 || l.where("shop/db")[before] != 0 {
		t.Fatalf("web on %v, db on %v", l.where("web"), l.where("shop/db"))
	}
}

// An affinity to an app by rack, near and apart, of apps that are new together.
func TestAffinitiesByAttribute(t *testing.T) {
	for _, weight := range []int{80, -80} {
		l := racks(t)
		l.in.Desired.Policy.Name = "spread"
		web := asks("a-web", 2, 1000, spec.MiB)
		web.Constraints = []spec.Constraint{{Attribute: "rack", Operator: spec.OpSet}}
		web.Affinities = []spec.Affinity{{App: "z-cache", Attribute: "rack", Weight: weight}}
		l.commit(web, pinned(asks("z-cache", 1, 1000, spec.MiB), "b2"))
		p := l.step()
		for n := range l.where("a-web") {
			if (l.node(n).Attributes["rack"] == "b") != (weight > 0) {
				t.Errorf("weight %d: on %s\n%s", weight, n, show(p))
			}
		}
	}
}

// A circle of wishes is resolved by name, and always in the same way.
func TestACircleOfWishes(t *testing.T) {
	l := racks(t)
	l.in.Desired.Policy.Name = "spread"
	wish := func(a *spec.App, of string) *spec.App {
		a.Affinities = []spec.Affinity{{App: spec.AppName(of), Weight: 100}}
		return a
	}
	l.commit(wish(service("a", 1), "b"), wish(service("b", 1), "c"), wish(service("c", 1), "a"))
	p := l.step()
	q, _ := l.plan()
	if p.Summary.Start != 3 || q.Summary.Start != 0 || len(l.where("a")) != 1 || l.where("a")[l.live("b")[0].Node] != 1 || l.where("c")[l.live("b")[0].Node] != 1 {
		t.Fatalf("%s", show(p))
	}
}

// A system app near another is where that is, and follows it.
func TestSystemAppsNearOthers(t *testing.T) {
	l := racks(t)
	system := func(name string, rule spec.Constraint) *spec.App {
		a := ruled(asks(name, 0, 100, spec.MiB), rule)
		a.Kind = spec.KindSystem
		return a
	}
	beside, elsewhere := system("beside", relate("db", spec.OpNear, "node.id")), system("elsewhere", relate("db", spec.OpApart, "node.id"))
	l.commit(pinned(asks("db", 1, 1000, spec.MiB), "a1"), beside, elsewhere)
	l.settle()
	if b, e := l.where("beside"), l.where("elsewhere"); len(b) != 1 || b["a1"] != 1 || len(e) != 4 || e["a1"] != 0 {
		t.Fatalf("beside on %v, elsewhere on %v", b, e)
	}
	l.drain("a1")
	l.commit(asks("db", 1, 1000, spec.MiB), beside, elsewhere)
	l.settle()
	on := l.live("db")[0].Node
	if b, e := l.where("beside"), l.where("elsewhere"); on == "a1" || len(b) != 1 || b[on] != 1 || len(e) != 3 || e[on] != 0 {
		t.Fatalf("db on %s, beside on %v, elsewhere on %v", on, b, e)
	}
}

// What would help names the rule; another node would not.
func TestFixesOfRulesOverOthers(t *testing.T) {
	l := racks(t)
	l.commit(pinned(asks("db", 1, 3000, spec.MiB), "a1"), ruled(asks("web", 2, 1000, spec.MiB), relate("db", spec.OpNear, "node.id")))
	b := blocked(l.step(), "web")
	if b == nil || len(b.Slots) != 1 || !slices.Contains(b.Fix, "no constraint near db") || slices.ContainsFunc(b.Fix, func(f string) bool { return strings.Contains(f, "more node") }) {
		t.Fatalf("%+v", b)
	}
}
