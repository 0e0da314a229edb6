package sim

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// epoch is when a scenario begins that says nothing else.
var epoch = spec.TimeOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC))

// world is everything that is simulated.
type world struct {
	began     spec.Time
	now       spec.Time
	queue     queue
	seed      uint64
	random    random
	machines  []*machine // in the order of their making
	named     map[spec.NodeID]*machine
	master    *master
	sessions  uint64
	pid       int
	handled   int        // events
	silent    []*machine // that no master hears of, by index
	beating   bool       // heartbeats are under way
	told      spec.Time  // when the master was last told that all others are well
	plans     int        // that were made
	decisions int        // that changed something in a large world
	violates  string
	unsound   *reconcile.Saved // the input of a plan that did not pass the checks

	slots  map[spec.Slot]*behaviour
	apps   map[spec.AppName]*appBehaviour
	active map[spec.Slot][]*activity
	ranks  map[spec.AllocationID]int
	homes  map[spec.AllocationID]int
	starts map[spec.Slot]int
	newest spec.Generation // of all allocations ever placed

	meter   meter
	trace   hash.Hash
	line    []byte
	changed spec.Time // when the journal grew last
	options *Options
}

// behaviour is what somebody said of whatever runs in a slot.
type behaviour struct {
	exits     bool
	code      int
	lives     spec.Duration // before it exits
	unhealthy bool
}

// appBehaviour is how an app's tasks behave.
type appBehaviour struct {
	start    spec.Duration // to become healthy
	run      spec.Duration // of batch
	never    bool          // becomes healthy
	stubborn bool          // does not end when asked
	pull     spec.Duration // to get its image
	pullErr  string        // why it does not get it
	execErr  string        // why its program does not start
}

// How tasks behave of which nothing is said.
const (
	defaultStart = 1 * spec.Second
	defaultRun   = 10 * spec.Second
)

func newWorld(o *Options, began spec.Time) *world {
	w := &world{
		began: began, now: began, seed: o.Seed, random: random{o.Seed}, named: map[spec.NodeID]*machine{},
		slots: map[spec.Slot]*behaviour{}, apps: map[spec.AppName]*appBehaviour{},
		active: map[spec.Slot][]*activity{}, ranks: map[spec.AllocationID]int{}, homes: map[spec.AllocationID]int{},
		starts: map[spec.Slot]int{}, trace: sha256.New(), options: o,
	}
	w.meter = meter{w: w, causes: map[string]int{}, apps: map[spec.AppName]*gauge{}, healthy: map[spec.AllocationID]spec.Slot{}}
	w.master = newMaster(w)
	return w
}

func (w *world) behaviour(s spec.Slot) behaviour {
	for _, s := range []spec.Slot{s, {App: template(s.App), Index: s.Index}} {
		if b := w.slots[s]; b != nil {
			return *b
		}
	}
	return behaviour{}
}

// template returns the app whose run an app is, by its name; what is said of that holds for its runs. Another app's name
// is returned as it is.
func template(name spec.AppName) spec.AppName {
	const key = len("20060102-")
	i := strings.LastIndexByte(string(name), '/')
	if i < 0 || len(name) < i+1+key || name[i+key] != '-' || strings.Trim(string(name[i+1:i+key]), "0123456789") != "" {
		return name
	}
	return name[:i]
}

func (w *world) appBehaviour(name spec.AppName) appBehaviour {
	for _, n := range []spec.AppName{name, template(name)} {
		if b := w.apps[n]; b != nil {
			return *b
		}
	}
	return appBehaviour{start: defaultStart, run: defaultRun}
}

// change lets f say something of an app's tasks.
func (w *world) change(name spec.AppName, f func(*appBehaviour)) {
	b := w.appBehaviour(name)
	f(&b)
	w.apps[name] = &b
}

// at has something happen at a time; group is the machine it is about, or -1.
func (w *world) at(t spec.Time, group int, do func()) {
	w.queue.push(item{at: max(t, w.now), group: group, do: do})
}

func (w *world) after(d spec.Duration, group int, do func()) { w.at(w.now.Add(d), group, do) }

// atIdle is at for what happens for ever.
func (w *world) atIdle(t spec.Time, do func()) {
	w.queue.push(item{at: max(t, w.now), idle: true, group: -1, do: do})
}

// jitter spreads a delay by a half to both sides.
func (w *world) jitter(d spec.Duration) spec.Duration { return w.random.between(d/2, d+d/2) }

func (w *world) latency() spec.Duration { return w.random.between(latencyMin, latencyMax) }

// hear notes whether a machine can be heard of, after anything that may have changed it.
func (w *world) hear(m *machine) {
	heard := m.session != 0 && !m.frozen && !m.cut && !m.mute
	if heard == m.heard {
		return
	}
	if m.heard {
		w.tellAlive() // it was heard of up to now
	}
	m.heard = heard
	i, _ := slices.BinarySearchFunc(w.silent, m.index, func(m *machine, i int) int { return cmp.Compare(m.index, i) })
	if heard {
		w.silent = slices.Delete(w.silent, i, i+1)
	} else {
		w.silent = slices.Insert(w.silent, i, m)
	}
	w.beatOn()
}

// beatOn has heartbeats carried from now on.
func (w *world) beatOn() {
	if !w.beating {
		w.beating = true
		w.atIdle(w.now.Add(heartbeat), w.beat)
	}
}

// beat carries the heartbeats of all agents, together: there are too many to be events of their own. Once the master
// knows who is out of reach, they would change nothing, and there are none until that changes: so time leaps from one
// thing that happens to the next.
func (w *world) beat() {
	w.tellAlive()
	if w.beating = !w.master.up || w.master.frozen || !w.noticed(); w.beating {
		w.atIdle(w.now.Add(heartbeat), w.beat)
	}
}

// tellAlive says which machines were heard of until now: all but the silent ones.
func (w *world) tellAlive() {
	if w.told != w.now && w.master.up {
		w.master.step(w.alive())
	}
}

func (w *world) alive() control.Event {
	w.told = w.now
	ids := make([]spec.NodeID, len(w.silent))
	for i, m := range w.silent {
		ids[i] = m.desc.ID
	}
	return control.NodesSeen{Silent: ids}
}

// next lets the next thing happen. It reports false when that is later than until, and leaves time there.
func (w *world) next(until spec.Time) bool {
	if len(w.queue.items) == 0 || w.queue.items[0].at > until {
		w.now = max(w.now, until)
		return false
	}
	it := w.queue.pop()
	w.now = it.at
	w.handled++
	if !it.idle || it.group >= 0 {
		w.line = strconv.AppendInt(w.line[:0], int64(w.now-epoch), 36)
		w.line = append(w.line, ' ')
		w.line = strconv.AppendInt(w.line, int64(it.group), 36)
		w.line = append(w.line, '\n')
		w.trace.Write(w.line)
	}
	it.do()
	return true
}

// run lets everything happen up to a time.
func (w *world) run(until spec.Time) {
	for w.violates == "" && w.next(until) {
	}
}

// Limits of settle.
const (
	settleLimit = 24 * spec.Hour
	quietFor    = 1 * spec.Hour // of a plan that waits for times that never change anything
)

// settle runs until nothing changes any more.
func (w *world) settle() error {
	limit := w.now.Add(settleLimit)
	begun := w.now
	for w.violates == "" {
		quiet := w.master.up && w.queue.busy == 0
		if quiet && (w.master.core.Idle() && w.noticed() || w.now > max(w.changed, begun).Add(quietFor)) && !slices.ContainsFunc(w.machines, (*machine).awaits) {
			w.checkSettled()
			return nil
		}
		if !w.next(limit) {
			return fmt.Errorf("nothing has settled after %s: %s", settleLimit, w.awaits())
		}
	}
	return nil
}

// awaits says what keeps the world from being settled.
func (w *world) awaits() string {
	switch {
	case !w.master.up:
		return "no master leads"
	case w.master.core.Awaits() != "":
		return "the master awaits " + w.master.core.Awaits()
	case slices.ContainsFunc(w.machines, (*machine).awaits):
		return "agents await what is due"
	case !w.noticed():
		return "the master does not know who is out of reach"
	}
	return "something always happens"
}

// noticed reports whether the master knows which machines are out of reach.
func (w *world) noticed() bool {
	for _, m := range w.silent {
		if n, ok := w.master.core.Node(m.desc.ID); ok && n.State != spec.NodeDown {
			return false
		}
	}
	return true
}

// join runs until new machines are known to the master, so that a commit right after finds them.
func (w *world) join(names []string) {
	limit := w.now.Add(spec.Second)
	for w.master.up && w.violates == "" {
		missing := false
		for _, name := range names {
			missing = missing || w.master.core.State().Nodes[spec.NodeID(name)] == nil
		}
		if !missing || !w.next(limit) {
			return
		}
	}
}

// hash is that of everything that happened so far.
func (w *world) hash() string { return hex.EncodeToString(w.trace.Sum(nil)[:16]) }

// clock is the virtual time that has passed; moment tells one so.
func (w *world) clock() string { return w.moment(w.now) }

func (w *world) moment(t spec.Time) string { return inMillis(t.Sub(w.began)).String() }

func (w *world) traceReport(m *machine, r *spec.Report) {
	for i := range r.Allocations {
		ra := &r.Allocations[i]
		w.line = append(w.line[:0], ra.ID...)
		w.line = append(w.line, ra.Status.State...)
		w.line = strconv.AppendBool(w.line, ra.Status.Healthy)
		w.line = strconv.AppendInt(w.line, int64(ra.Status.Restarts), 10)
		w.trace.Write(w.line)
		w.checkForward(m, ra)
	}
}

func sortedKeys[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m { // any order: sorted below
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
