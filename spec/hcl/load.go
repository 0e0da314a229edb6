package hcl

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/stowage/stowage/spec"
)

// Options say what to load.
type Options struct {
	// Path is the folder of the repository to follow, slash-separated; "" is its root.
	Path string
	// Schemas returns the schema of a framework driver. Its error is reported at the first block of that driver. When
	// Schemas is nil, bodies of framework blocks are taken as they are, with a warning.
	Schemas func(spec.Plugin) (*spec.Schema, error)
	// Cache, when not nil, makes a load cheaper that follows another one of nearly the same files.
	Cache *Cache

	budget meter // of evaluation; zero for the limits of this package
}

// loader is one load of a commit.
type loader struct {
	decoder
	fsys    fs.FS
	options Options
	sources []*source
	byName  map[string]*source
	// broken says that a file could not be read, so that what seems to be missing may stand there.
	broken bool

	cluster      *spec.Cluster
	clusters     []*block
	roles        map[spec.RoleName]*declared[spec.Role]
	reservations map[string]*declared[spec.Reservation]
	classes      map[string]*declared[spec.NodeClass]
	pools        map[spec.PoolName]*declared[spec.Pool]
	windows      map[spec.WindowName]*declared[spec.Window]
	allowances   map[string]*declared[spec.Allowance]
	plugins      map[string]*declared[spec.Plugin]
	apps         map[spec.AppName]*declared[spec.App]
	groups       map[spec.AppName][]spec.AppName // apps made by for_each, by the name of their block
	frames       map[spec.AppName]*declared[spec.Framework]
	moved        []*declared[spec.Moved]
	schemas      map[string]*spec.Schema
	amounts      []*block // that limit or keep something
	modules      int
	root         string          // the followed folder, links resolved
	folders      map[string]bool // that module blocks name
	read         map[string]bool // folders that were looked for outside of the followed one
	guard        guard
	bytes        int
	allocs       int
}

// declared is a thing with the block that declares it.
type declared[T any] struct {
	value *T
	block *block
}

// programError is the summary of a panic.
const programError = "Program error"

// Load reads all *.hcl files of a folder and returns the cluster they describe: defaults filled in, references
// resolved, everything sorted. The cluster is nil when a diagnostic is an error. Load only reads from fsys, keeps
// nothing, and returns the same for the same files.
func Load(fsys fs.FS, o Options) (c *spec.Cluster, diags []spec.Diagnostic) {
	defer func() {
		if p := recover(); p != nil { // the parser and its library read what nobody vouches for
			c, diags = nil, []spec.Diagnostic{{
				Severity: spec.SeverityError, Summary: programError,
				Detail: fmt.Sprintf("Reading this commit met an error of Stowage itself: %s. Please report it with the files.", shorten(fmt.Sprint(p), 500)),
			}}
		}
	}()
	l := &loader{
		fsys: fsys, options: o, byName: map[string]*source{}, cluster: &spec.Cluster{},
		roles: map[spec.RoleName]*declared[spec.Role]{}, pools: map[spec.PoolName]*declared[spec.Pool]{}, plugins: map[string]*declared[spec.Plugin]{},
		apps: map[spec.AppName]*declared[spec.App]{}, groups: map[spec.AppName][]spec.AppName{},
		windows:      map[spec.WindowName]*declared[spec.Window]{},
		allowances:   map[string]*declared[spec.Allowance]{},
		reservations: map[string]*declared[spec.Reservation]{}, classes: map[string]*declared[spec.NodeClass]{},
		frames: map[spec.AppName]*declared[spec.Framework]{}, schemas: map[string]*spec.Schema{},
	}
	l.complaints = newComplaints(l.text)
	if l.options.Cache == nil {
		l.options.Cache = NewCache()
	}
	l.options.Cache.begin(o.budget)
	defer l.options.Cache.end()
	l.meter = &l.options.Cache.meter
	l.decoder.loader = l
	if o.Path == "" {
		l.options.Path = "."
	}
	if sources, ok := find(fsys, l.options.Path, "", l.complaints); ok {
		l.broken = len(l.list) > 0
		l.sources = sources
		l.root, _, _ = resolve(fsys, l.options.Path)
		l.parse(sources)
		l.decode()
	}
	if l.meter.spent && !spec.HasErrors(l.list) { // the place was swallowed by try or can
		l.hclErrors(overdraft(hcl.Range{}), env{})
	}
	diags = l.sorted()
	if spec.HasErrors(diags) {
		return nil, diags
	}
	return l.cluster, diags
}

// text returns a file's source, for quoting.
func (l *loader) text(name string) []byte {
	if s := l.byName[name]; s != nil {
		return s.text
	}
	return nil
}

// parse reads and parses the files. What cannot be parsed is reported and left out.
func (l *loader) parse(sources []*source) {
	for _, s := range sources {
		s.body = &hclsyntax.Body{}
	}
	for _, s := range sources {
		l.byName[s.name] = s
		text, err := read(l.fsys, s.real, MaxFileSize)
		if err != nil {
			l.refuse(s, "File not readable", fmt.Sprintf("The file cannot be read: %v.", cause(err)))
			continue
		}
		if l.bytes += len(text); l.bytes > MaxTotalSize {
			l.refuse(s, "Too much text", fmt.Sprintf("From this file on, the folder holds more than %d MiB of *.hcl files. Follow a subfolder, or make more with for_each.", MaxTotalSize>>20))
			return
		}
		s.text = text
		if !l.parseFile(s, &l.guard) {
			l.broken = true
		}
	}
}

// parseFile parses one file, or takes it from the cache.
func (l *loader) parseFile(s *source, total *guard) bool {
	cache, sum := l.options.Cache, sha256.Sum256(s.text)
	if p, ok := cache.find(s.name, sum); ok && total.tokens+p.cost.tokens <= MaxTotalTokens && total.work+p.cost.work <= MaxTextWork &&
		total.elements+p.cost.elements <= MaxTotalElements {
		total.tokens, total.work, total.elements = total.tokens+p.cost.tokens, total.work+p.cost.work, total.elements+p.cost.elements
		s.body = p.body
		return true
	}
	before := *total
	if !total.admit(s.text, s.name, false, func(r hcl.Range, summary, detail string) { l.at(r, "", summary, detail) }) {
		return false
	}
	file, diags := hclsyntax.ParseConfig(s.text, s.name, hcl.InitialPos)
	if diags.HasErrors() {
		l.hclErrors(untilOpenQuote(diags), env{})
		return false
	}
	s.body = file.Body.(*hclsyntax.Body)
	l.meter.wrapBody(s.body, false)
	cache.fresh[s.name] = parsed{sum, s.body, guard{total.tokens - before.tokens, total.elements - before.elements, total.work - before.work}}
	return true
}

func (l *loader) refuse(s *source, summary, detail string) {
	l.broken = true
	l.add(spec.Diagnostic{Severity: spec.SeverityError, Summary: summary, Detail: detail, Pos: spec.Pos{File: s.name}})
}

// decode turns the parsed files into the cluster.
func (l *loader) decode() {
	main := l.divide()
	s := l.newScope(l.fsys, main, "", 0, nil)
	for _, f := range main {
		l.checkTop(f, s)
	}
	for _, kind := range order {
		l.decodeBlocks(s, kind)
	}
	for _, check := range l.later {
		check()
	}
	l.checkCluster()
	l.finish()
}

// order is the order in which kinds of blocks are decoded: plugins before what they are needed for.
var order = []string{"cluster", "role", "reservation", "pool", "window", "allowance", "node_class", "plugin", "app", "framework", "module", "moved"}

// decodeBlocks decodes all blocks of a kind, in the order of the files.
func (l *loader) decodeBlocks(s *scope, kind string) {
	for _, f := range s.sources {
		for _, hb := range f.body.Blocks {
			if hb.Type != kind {
				continue
			}
			b := &block{Block: hb, env: s.envs[f]}
			b.env.context = blockTitle(b)
			if l.checkLabels(b, top[kind].labels...) {
				l.decodeTop(s, b)
			}
		}
	}
}

// decodeTop decodes one block at the top of a file. Variables and locals are decoded by newScope.
func (l *loader) decodeTop(s *scope, b *block) {
	switch b.Type {
	case "cluster":
		l.decodeCluster(b)
	case "role":
		l.decodeRole(b)
	case "reservation":
		l.decodeReservation(b)
	case "pool":
		l.decodePool(b)
	case "window":
		l.decodeWindow(b)
	case "allowance":
		l.decodeAllowance(b)
	case "node_class":
		l.decodeClass(b)
	case "plugin":
		l.decodePlugin(b)
	case "app":
		l.decodeApp(s, b)
	case "framework":
		l.decodeFramework(s, b)
	case "module":
		l.decodeModule(s, b)
	case "moved":
		l.decodeMoved(b)
	}
}

// checkTop reports what may not stand at the top of a file.
func (l *loader) checkTop(f *source, s *scope) {
	names := sortedKeys(top)
	for _, name := range sortedKeys(f.body.Attributes) {
		hint := didYouMean(name, names)
		if hint == "" {
			hint = " Put it into a block; values with a name go into locals { … }."
		}
		l.at(f.body.Attributes[name].NameRange, "", "Unknown argument", fmt.Sprintf("At the top of a file stand blocks only, not %q.%s", name, hint))
	}
	for _, b := range f.body.Blocks {
		t, known := top[b.Type]
		switch {
		case !known:
			hint := didYouMean(b.Type, names)
			if hint == "" {
				hint = fmt.Sprintf(" There are %s.", list(names))
			}
			l.at(b.TypeRange, "", "Unknown block", fmt.Sprintf("There is no block named %q at the top of a file.%s", b.Type, hint))
		case s.depth > 0 && !t.inModules:
			l.at(b.TypeRange, blockTitle(&block{Block: b}), "Block in a module", fmt.Sprintf("A %s block concerns the whole cluster, so it cannot stand in a module. Move it to the followed folder.", b.Type))
		}
	}
}

// topBlock is a kind of block that stands at the top of a file.
type topBlock struct {
	labels    []string
	doc       string
	inModules bool
	table     described // nil: the block's body has no fixed form
}

func (l *loader) decodeCluster(b *block) {
	l.clusters = append(l.clusters, b)
	c := clusterTable.fresh()
	c.Name, c.Pos = b.label(0), position(b.TypeRange)
	l.checkName(b, "cluster", spec.CheckLabel)
	clusterTable.decode(&l.decoder, b, &c)
	if len(l.clusters) == 1 {
		l.cluster = &c
		return
	}
	first := l.clusters[0]
	l.at(b.TypeRange, b.env.context, "Duplicate cluster", fmt.Sprintf("There is exactly one cluster block, and %s stands at %s already. Remove one.", blockTitle(first), where(position(first.TypeRange))))
}

// declare records a named block, or reports that the name is taken.
func declare[K ~string, T any](l *loader, all map[K]*declared[T], noun string, name K, value *T, b *block) bool {
	return declareAt(l, all, noun, name, value, b, b.place())
}

func declareAt[K ~string, T any](l *loader, all map[K]*declared[T], noun string, name K, value *T, b *block, place hcl.Range) bool {
	if first := all[name]; first != nil {
		l.at(place, b.env.context, "Duplicate "+noun, fmt.Sprintf("The %s %q is declared already, at %s. Rename or remove one of them.", noun, string(name), where(position(first.block.TypeRange))))
		return false
	}
	all[name] = &declared[T]{value, b}
	return true
}

func (l *loader) decodeRole(b *block) {
	r := roleTable.fresh()
	r.Name, r.Pos = spec.RoleName(b.label(0)), position(b.TypeRange)
	l.checkName(b, "role", spec.CheckName)
	roleTable.decode(&l.decoder, b, &r)
	declare(l, l.roles, "role", r.Name, &r, b)
}

func (l *loader) decodePool(b *block) {
	p := poolTable.fresh()
	p.Name, p.Pos = spec.PoolName(b.label(0)), position(b.TypeRange)
	if l.checkName(b, "pool", spec.CheckLabel) && p.Name == spec.AllPools {
		l.at(b.place(), b.env.context, "Name taken", fmt.Sprintf("%q stands for every pool, so none can be called so. Rename it.", p.Name))
	}
	poolTable.decode(&l.decoder, b, &p)
	declare(l, l.pools, "pool", p.Name, &p, b)
}

func (l *loader) decodePlugin(b *block) {
	p := pluginTable.fresh()
	p.Name, p.Pos = b.label(0), position(b.TypeRange)
	l.checkName(b, "plugin", spec.CheckLabel)
	pluginTable.decode(&l.decoder, b, &p)
	declare(l, l.plugins, "plugin", p.Name, &p, b)
}

func (l *loader) decodeMoved(b *block) {
	m := movedTable.fresh()
	m.Pos = position(b.TypeRange)
	movedTable.decode(&l.decoder, b, &m)
	l.moved = append(l.moved, &declared[spec.Moved]{&m, b})
}

// decodeApp decodes an app, or all that its for_each makes.
func (l *loader) decodeApp(s *scope, b *block) {
	base := s.prefix + b.label(0)
	l.eachInstance(s, b, base, func(b *block, name string) {
		a := appTable.fresh()
		a.Name, a.Pos = spec.AppName(name), position(b.TypeRange)
		b.env.context = fmt.Sprintf("app %q", shorten(name, spec.MaxNameLength))
		if err := spec.CheckName(name); err != nil {
			l.at(b.place(), b.env.context, "Invalid name", fmt.Sprintf("This is no name for an app: %v.", err))
			return
		}
		if len(l.apps) >= spec.MaxApps {
			l.at(b.place(), "", "Too many apps", fmt.Sprintf("The commit makes more than %d apps. Make fewer.", spec.MaxApps))
			l.meter.spent, l.meter.told = true, true
			return
		}
		if !l.meter.charge(1500, 10) {
			l.overdrawn(b.place(), b.env)
			return
		}
		appTable.decode(&l.decoder, b, &a)
		if declare(l, l.apps, "app", a.Name, &a, b) {
			l.countAllocations(b, &a)
		}
	})
}

// countAllocations adds to the sum that a commit may ask for.
func (l *loader) countAllocations(b *block, a *spec.App) {
	before := l.allocs
	l.allocs += a.Count
	if before <= spec.MaxAllocations && l.allocs > spec.MaxAllocations {
		l.at(b.placeOf("count"), b.env.context, "Too many allocations", fmt.Sprintf("With this app the commit asks for %d allocations; at most %d are allowed over all apps.", l.allocs, spec.MaxAllocations))
	}
}

// finish sorts what was decoded into the cluster.
func (l *loader) finish() {
	c := l.cluster
	for _, n := range sortedKeys(l.roles) {
		c.Roles = append(c.Roles, *l.roles[n].value)
	}
	for _, n := range sortedKeys(l.reservations) {
		c.Reservations = append(c.Reservations, *l.reservations[n].value)
	}
	for _, n := range sortedKeys(l.pools) {
		c.Pools = append(c.Pools, *l.pools[n].value)
	}
	for _, n := range sortedKeys(l.windows) {
		c.Windows = append(c.Windows, *l.windows[n].value)
	}
	for _, n := range sortedKeys(l.allowances) {
		c.Allowances = append(c.Allowances, *l.allowances[n].value)
	}
	for _, n := range sortedKeys(l.classes) {
		c.NodeClasses = append(c.NodeClasses, *l.classes[n].value)
	}
	for _, n := range sortedKeys(l.plugins) {
		c.Plugins = append(c.Plugins, *l.plugins[n].value)
	}
	for _, n := range sortedKeys(l.apps) {
		c.Apps = append(c.Apps, l.apps[n].value)
	}
	for _, n := range sortedKeys(l.frames) {
		c.Frameworks = append(c.Frameworks, *l.frames[n].value)
	}
	slices.SortStableFunc(c.Frameworks, func(a, b spec.Framework) int {
		if n := strings.Compare(a.Driver, b.Driver); n != 0 {
			return n
		}
		return strings.Compare(string(a.Name), string(b.Name))
	})
	for _, m := range l.moved {
		c.Moved = append(c.Moved, *m.value)
	}
}
