package hcl

import (
	"fmt"
	"slices"
	"strings"

	"github.com/zclconf/go-cty/cty"

	"github.com/stowage/stowage/spec"
)

// dependencies is a list of app names, or of { app, deadline }.
var dependencies = kind[[]spec.Dependency]{
	name: "list of names",
	read: func(v cty.Value) ([]spec.Dependency, error) {
		if !isList(v) {
			return nil, mustBe(`a list of apps such as ["shop/db"]`, v)
		}
		var out []spec.Dependency
		for it := v.ElementIterator(); it.Next(); {
			_, e := it.Element()
			dep := spec.Dependency{Deadline: unwritten}
			switch {
			case e.IsNull():
				return nil, wrong("must be a list of apps, but an element is null")
			case e.Type() == cty.String:
				dep.App = spec.AppName(e.AsString())
			case isMap(e):
				if err := readDependency(e, &dep); err != nil {
					return nil, err
				}
			default:
				return nil, mustBe(`a list of apps such as ["shop/db"]`, e)
			}
			out = append(out, dep)
		}
		return out, nil
	},
	show: func([]spec.Dependency) string { return "" },
}

// unwritten stands for a deadline that was not written: what it is depends on the other app.
const unwritten spec.Duration = -1

// readDependency reads { app = "shop/db", deadline = "5m", on_failure = "continue" }.
func readDependency(v cty.Value, dep *spec.Dependency) error {
	const form = `must have elements such as "shop/db" or { app = "shop/db", deadline = "5m" }`
	for it := v.ElementIterator(); it.Next(); {
		key, e := it.Element()
		if e.IsNull() {
			continue
		}
		switch k := key.AsString(); k {
		case "app":
			s, ok := asText(e)
			if !ok {
				return wrong(form + ", but app is " + describe(e))
			}
			dep.App = spec.AppName(s)
		case "deadline":
			t, err := duration.read(e)
			if err != nil {
				return wrong("has a deadline that " + err.Error())
			}
			dep.Deadline = t
		case "on_failure":
			f, err := oneOf(spec.OnFailureStop, spec.OnFailureContinue).read(e)
			if err != nil {
				return wrong("has on_failure, which " + err.Error())
			}
			if f == spec.OnFailureContinue {
				dep.OnFailure = f
			}
		default:
			return wrong(fmt.Sprintf("%s, but here is %q.%s", form, shorten(k, 60), didYouMean(k, []string{"app", "deadline", "on_failure"})))
		}
	}
	if dep.App == "" {
		return wrong(form + ", but app is missing")
	}
	return nil
}

// checkApp checks an app by itself, and leaves what concerns others for later.
func checkApp(d *decoder, b *block, a *spec.App) {
	if len(a.Tasks) == 0 && !slices.ContainsFunc(b.Body.Blocks, isTask) {
		d.at(b.place(), b.env.context, "No task", fmt.Sprintf("%s has nothing to run. Add a task block.", blockTitle(b)))
	}
	if len(a.Tasks) > 0 && !slices.ContainsFunc(a.Tasks, func(t spec.Task) bool { return t.Lifecycle.Main() }) {
		d.at(b.place(), b.env.context, "No main task", "All tasks only go with others, but an allocation lives as long as its main tasks. Take lifecycle out of one.")
	}
	if a.Kind == spec.KindSystem {
		if b.has("count") {
			d.at(b.placeOf("count"), b.env.context, "Argument without effect", "A system app has one allocation on every node that its constraints accept. Remove count, or make it a service.")
		}
		a.Count = 0
		for i := range a.Constraints {
			if c := &a.Constraints[i]; slices.Contains(ownOperators, c.Operator) {
				d.add(spec.Diagnostic{Severity: spec.SeverityError, Summary: "Rule without effect", Pos: c.Pos, Context: b.env.context,
					Detail: fmt.Sprintf("The operator %q chooses among nodes, but a system app has one allocation on every node that its other constraints accept. Remove the constraint, or make it a service.", c.Operator)})
			}
		}
	}
	for _, r := range []struct {
		what string
		n    int
	}{{"constraints", len(a.Constraints)}, {"affinities", len(a.Affinities)}, {"spreads", len(a.Spreads)}} {
		if r.n > spec.MaxRules {
			d.at(b.place(), b.env.context, "Too many rules", fmt.Sprintf("The app has %d %s; at most %d are allowed. Use in or regexp to say more in one.", r.n, r.what, spec.MaxRules))
		}
	}
	checkScaling(d, b, a)
	checkGang(d, b, a)
	for i := range a.Network.Ports {
		if p := a.Network.Ports[i]; p.Static != 0 && p.Static >= spec.DynamicPortFirst && p.Static <= spec.DynamicPortLast {
			d.add(spec.Diagnostic{Severity: spec.SeverityError, Summary: "Port in the dynamic range", Pos: p.Pos, Context: b.env.context,
				Detail: fmt.Sprintf("The port %q has the number %d, but those from %d to %d are given to ports without a number. Choose another.", p.Name, p.Static, spec.DynamicPortFirst, spec.DynamicPortLast)})
		}
	}
	checkBatch(d, b, a)
	d.later = append(d.later, func() { d.loader.checkReferences(b, a) })
}

// checkScaling settles where an app with bounds begins.
func checkScaling(d *decoder, b *block, a *spec.App) {
	s := a.Scaling
	if s == nil {
		return
	}
	bounds := b.inner("scaling")
	switch {
	case a.Kind != spec.KindService:
		d.at(bounds.place(), b.env.context, "Block without effect", fmt.Sprintf("Only a service is scaled, and this is a %s app. Remove the block.", a.Kind))
	case s.Min > s.Max && bounds.has("max"):
		d.at(bounds.placeOf("min"), b.env.context, "Bounds that leave nothing", fmt.Sprintf("min is %d and max %d, so that no count is allowed. Exchange them.", s.Min, s.Max))
	case !b.has("count"):
		a.Count = s.Min
	case s.Clamp(a.Count) != a.Count:
		d.at(b.placeOf("count"), b.env.context, "Wrong value for count", fmt.Sprintf("The app begins with %d, outside its bounds of %d to %d. Choose a count within them, or leave it out to begin with %d.", a.Count, s.Min, s.Max, s.Min))
	}
}

// checkGang settles how a gang is replaced: as one.
func checkGang(d *decoder, b *block, a *spec.App) {
	if !a.Gang {
		return
	}
	if a.Kind == spec.KindSystem {
		d.at(b.placeOf("gang"), b.env.context, "Argument without effect", "A system app has one allocation on every node, each by itself. Remove gang, or make it a service or batch app.")
		return
	}
	place, written := b.place(), false
	if update := b.inner("update"); update != nil {
		place, written = update.placeOf("strategy"), update.has("strategy")
	}
	switch a.Update.Strategy {
	case spec.StrategyRecreate, spec.StrategyBlueGreen:
		return
	case spec.StrategyRolling:
		if !written {
			a.Update.Strategy = spec.StrategyRecreate
			return
		}
	}
	d.at(place, b.env.context, "Wrong value for strategy", fmt.Sprintf("A gang is replaced as one, and %s replaces a few at a time. Write \"recreate\" (what a gang does when nothing is written) or \"blue_green\".", a.Update.Strategy))
}

// checkReferences checks what an app says about others.
func (l *loader) checkReferences(b *block, a *spec.App) {
	l.checkRole(b, a.Role)
	l.checkPool(b, a)
	for i := range a.Affinities {
		if near := &a.Affinities[i]; near.App != "" { // unknown ones are reported by their block
			near.App, _ = l.resolveApp(b.env.scope, near.App)
			if near.App == a.Name {
				l.ruleError(b, near.Pos, "Wish about itself", "The app of this affinity is the one it stands in. For its own allocations there are spread, and constraints with same or distinct.")
			}
		}
	}
	for i := range a.Constraints {
		if c := &a.Constraints[i]; c.App != "" {
			c.App, _ = l.resolveApp(b.env.scope, c.App)
		}
	}
	seen := map[spec.AppName]bool{}
	for i := range a.DependsOn {
		dep := &a.DependsOn[i]
		full, ok := l.resolveApp(b.env.scope, dep.App)
		switch {
		case !ok:
			l.unknownApp(b, "depends_on", dep.App)
			continue
		case seen[full]:
			l.at(b.placeOf("depends_on"), b.env.context, "Duplicate dependency", fmt.Sprintf("The app %q is named twice. Remove one.", full))
		}
		seen[full] = true
		dep.App = full
	}
}

// checkPool checks that the app's pool is declared, and takes the name of the default one away: it is that of apps which
// name none.
func (l *loader) checkPool(b *block, a *spec.App) {
	switch {
	case a.Pool == "" || a.Pool == spec.DefaultPool:
	case a.Pool == spec.AllPools && a.Kind == spec.KindSystem:
	case a.Pool == spec.AllPools:
		l.at(b.placeOf("pool"), b.env.context, "Wrong value for pool", fmt.Sprintf("%q stands for every pool, and only a system app can be in all of them. Name one pool, or write kind = \"system\".", a.Pool))
	default:
		l.checkPoolName(b, a.Pool)
	}
	if a.Pool == spec.DefaultPool {
		a.Pool = ""
	}
}

// checkPoolName checks that the pool of an app or a node_class is declared.
func (l *loader) checkPoolName(b *block, pool spec.PoolName) {
	if pool == "" || pool == spec.DefaultPool || l.pools[pool] != nil || l.broken {
		return
	}
	name := shorten(string(pool), 60)
	hint := didYouMean(name, append(toStrings(sortedKeys(l.pools)), string(spec.DefaultPool)))
	if hint == "" {
		hint = fmt.Sprintf(" Declare it: pool %q {}.", name)
	}
	l.at(b.placeOf("pool"), b.env.context, "Unknown pool", fmt.Sprintf("There is no pool named %q.%s", name, hint), l.valuesIn(exprOf(b, "pool"), b.env)...)
}

func toStrings[K ~string](names []K) []string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = string(n)
	}
	return out
}

// resolveApp finds the app that a name in some scope means: in a module first its own apps, then those further out. A
// name below a framework's is taken on trust: which apps it makes is known only when the driver has spoken.
func (d *decoder) resolveApp(s *scope, name spec.AppName) (spec.AppName, bool) {
	l := d.loader
	prefix := ""
	if s != nil {
		prefix = s.prefix
	}
	for {
		full := spec.AppName(prefix) + name
		if l.apps[full] != nil {
			return full, true
		}
		for i, c := range string(full) {
			if c == '/' && l.frames[full[:i]] != nil {
				return full, true
			}
		}
		if prefix == "" {
			return name, (l.broken || l.meter.spent) && l.groups[name] == nil
		}
		prefix = prefix[:strings.LastIndexByte(strings.TrimSuffix(prefix, "/"), '/')+1]
	}
}

// unknownApp reports a name that is no app.
func (d *decoder) unknownApp(b *block, argument string, name spec.AppName) {
	l, prefix := d.loader, ""
	if b.env.scope != nil {
		prefix = b.env.scope.prefix
	}
	detail := fmt.Sprintf("There is no app named %q.", shorten(string(name), 100))
	group := l.groups[spec.AppName(prefix)+name]
	switch {
	case len(group) > 0:
		detail = fmt.Sprintf("The block %q has for_each, so its apps are called %s. Name those that are meant.", name, list(toStrings(group)))
	case l.frames[name] != nil:
		detail = fmt.Sprintf("%q is a framework; name one of the apps that its driver makes, such as %q.", name, name+"/…")
	case l.movedTo(name) != "":
		detail += fmt.Sprintf(" A moved block says that it is called %q now.", l.movedTo(name))
	default:
		detail += didYouMean(string(name), toStrings(sortedKeys(l.apps)))
	}
	d.at(b.placeOf(argument), b.env.context, "Unknown app", detail, d.valuesIn(exprOf(b, argument), b.env)...)
}

// checkPolicy checks later that a policy is built in or a plugin.
func (d *decoder) checkPolicy(b *block, p spec.PolicyRef) {
	d.later = append(d.later, func() {
		builtIn := []string{"binpack", "spread"}
		l := d.loader
		plugin := l.plugins[p.Name]
		if slices.Contains(builtIn, p.Name) {
			if len(p.Config) > 0 {
				first := sortedKeys(p.Config)[0]
				d.at(b.Body.Attributes[first].NameRange, b.env.context, "Unknown argument", fmt.Sprintf("The built-in policy %q has no settings. Remove this.", p.Name))
			}
			return
		}
		if plugin != nil && plugin.value.Kind == spec.PluginPolicy || l.broken {
			return
		}
		if plugin != nil {
			d.at(b.place(), b.env.context, "Unknown policy", fmt.Sprintf("The plugin %q (declared at %s) is a framework driver and no policy.", p.Name, where(plugin.value.Pos)))
			return
		}
		names := slices.Clone(builtIn)
		for _, n := range sortedKeys(l.plugins) {
			if l.plugins[n].value.Kind == spec.PluginPolicy {
				names = append(names, n)
			}
		}
		hint := didYouMean(p.Name, names)
		if hint == "" {
			hint = fmt.Sprintf(" There are %s; others need a plugin block of kind policy.", list(names))
		}
		d.at(b.place(), b.env.context, "Unknown policy", fmt.Sprintf("There is no policy named %q.%s", shorten(p.Name, 60), hint))
	})
}

// checkCluster checks what concerns the commit as a whole.
func (l *loader) checkCluster() {
	if len(l.clusters) == 0 && !l.broken {
		detail := "Exactly one file must hold a cluster block: cluster \"prod\" {}."
		if len(l.sources) == 0 {
			detail = "There are no *.hcl files here. Begin one with: cluster \"prod\" {}. If they are in another folder, name that."
			if l.options.Path != "." {
				detail = fmt.Sprintf("The folder %q of the repository holds no *.hcl files. Begin one with: cluster \"prod\" {}. If they are in another folder, point --path of stowage master at that.", l.options.Path)
			}
		}
		l.add(spec.Diagnostic{Severity: spec.SeverityError, Summary: "No cluster", Detail: detail})
	}
	l.checkRoles()
	l.checkDependencyCycles()
	l.checkRules()
	l.checkRuns()
	l.checkFrameworkNames()
	l.checkMoved()
	l.checkAsked()
}

func (l *loader) checkDependencyCycles() {
	for _, cycle := range cycles(toStrings(sortedKeys(l.apps)), func(n string) []string {
		var next []string
		for _, dep := range l.apps[spec.AppName(n)].value.DependsOn {
			if l.apps[dep.App] != nil {
				next = append(next, string(dep.App))
			}
		}
		return next
	}) {
		b := l.apps[spec.AppName(cycle[0])].block
		l.at(b.placeOf("depends_on"), b.env.context, "Dependencies in a circle", fmt.Sprintf("%s. None of them could ever start: take one out of a depends_on.", circle(cycle)))
	}
}

// checkFrameworkNames keeps the names below a framework's for the apps its driver makes.
func (l *loader) checkFrameworkNames() {
	for _, name := range sortedKeys(l.apps) {
		for i, c := range string(name) + "/" {
			if f := l.frames[name[:min(i, len(name))]]; c == '/' && f != nil {
				b := l.apps[name].block
				l.at(b.place(), b.env.context, "Name taken by a framework", fmt.Sprintf("Names from %q on belong to the apps of the framework at %s. Rename this app.", f.value.Name, where(f.value.Pos)))
			}
		}
	}
}

// checkMoved checks the renamings: each app comes from one name and each name becomes one app, without circles.
func (l *loader) checkMoved() {
	from, to := map[spec.AppName]*declared[spec.Moved]{}, map[spec.AppName]*declared[spec.Moved]{}
	for _, m := range l.moved {
		b, v := m.block, m.value
		if v.From == "" || v.To == "" {
			continue // reported
		}
		for _, n := range []struct {
			argument string
			name     spec.AppName
		}{{"from", v.From}, {"to", v.To}} {
			if err := spec.CheckName(string(n.name)); err != nil {
				l.at(b.placeOf(n.argument), b.env.context, "Invalid name", fmt.Sprintf("This is no name for an app: %v.", err))
			}
		}
		switch {
		case v.From == v.To:
			l.at(b.placeOf("to"), b.env.context, "Move to the same name", "from and to are the same. Remove the block.")
			continue
		case from[v.From] != nil:
			l.at(b.placeOf("from"), b.env.context, "Duplicate move", fmt.Sprintf("%q is moved already, at %s. An app can go to one place only.", v.From, where(from[v.From].value.Pos)))
			continue
		case to[v.To] != nil:
			l.at(b.placeOf("to"), b.env.context, "Duplicate move", fmt.Sprintf("Another app is moved to %q already, at %s. Two cannot become one.", v.To, where(to[v.To].value.Pos)))
			continue
		case l.apps[v.From] != nil && !l.broken:
			l.at(b.placeOf("from"), b.env.context, "Moved app still there", fmt.Sprintf("There still is an app %q, at %s. Rename it to %q, or remove the moved block.", v.From, where(l.apps[v.From].value.Pos), v.To))
		}
		from[v.From], to[v.To] = m, m
	}
	for _, m := range l.moved {
		v := m.value
		if from[v.From] == m && l.apps[v.To] == nil && from[v.To] == nil && !l.broken && !l.belowFramework(v.To) {
			l.at(m.block.placeOf("to"), m.block.env.context, "Unknown app", fmt.Sprintf("There is no app named %q.%s", shorten(string(v.To), 100), didYouMean(string(v.To), toStrings(sortedKeys(l.apps)))))
		}
	}
	for _, cycle := range cycles(toStrings(sortedKeys(from)), func(n string) []string {
		if m := from[spec.AppName(n)]; m != nil {
			return []string{string(m.value.To)}
		}
		return nil
	}) {
		m := from[spec.AppName(cycle[0])]
		l.at(m.block.placeOf("to"), m.block.env.context, "Moves in a circle", fmt.Sprintf("%s. Remove one of the moved blocks.", strings.ReplaceAll(strings.ReplaceAll(circle(cycle), "needs", "becomes"), "itself", "itself")))
	}
}

func (l *loader) belowFramework(name spec.AppName) bool {
	for i, c := range string(name) {
		if c == '/' && l.frames[name[:i]] != nil {
			return true
		}
	}
	return false
}
