package sim

import (
	"cmp"
	"slices"

	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// Delays of a machine. Ranges are drawn from.
const (
	prepareFor   = 20 * spec.Millisecond
	startFor     = 10 * spec.Millisecond
	obeySignal   = 100 * spec.Millisecond // how long a task takes to end when asked
	killFor      = 5 * spec.Millisecond
	errandFor    = 50 * spec.Millisecond // how long a prestart, poststart or poststop task takes
	agentFor     = 500 * spec.Millisecond
	reconnectMin = 200 * spec.Millisecond
	reconnectMax = 2 * spec.Second
	latencyMin   = 100 * spec.Duration(1000)
	latencyMax   = 3 * spec.Millisecond
	heartbeat    = 3 * spec.Second
)

// machine is a node: its agent's core, its disk, its executor's containers.
type machine struct {
	w      *world
	index  int
	desc   spec.Node
	on     bool // powered
	core   *node.Core
	agent  int // counts agents: what belongs to an earlier one is void
	boot   int // counts boots
	frozen bool
	held   []node.Event // while frozen or stuck
	cut    bool         // the link to the masters
	mute   bool         // nothing it says arrives until the link is healed
	deaf   bool         // nothing that is said to it arrives until the link is healed
	late   []func()     // what waits for that
	lag    spec.Duration
	twice  bool          // what arrives arrives twice
	skew   spec.Duration // of the machine's clock
	shows  spec.Clock    // what its agent makes of that
	full   bool          // its disk
	stuck  []node.Effect // from the first save that found no room

	disk       map[spec.AllocationID]node.Record
	header     node.Header
	containers map[node.Run]*container

	session  uint64    // of the present link; 0: none
	heard    bool      // the master hears of it
	since    spec.Time // of the present link
	toMaster spec.Time
	toAgent  spec.Time // what was sent last arrives then: links keep the order
	wake     spec.Time
	usage    usage
}

type container struct {
	run     node.Run
	app     *spec.App
	alloc   spec.Allocation
	pid     int
	running bool
	started spec.Time
	exit    *spec.Exit
	ended   spec.Time
	probes  map[string]bool
	asked   bool // the core wants it to end
}

func newMachine(w *world, n spec.Node) *machine {
	m := &machine{w: w, index: len(w.machines), desc: n, disk: map[spec.AllocationID]node.Record{}, containers: map[node.Run]*container{}}
	w.machines = append(w.machines, m)
	w.named[n.ID] = m
	w.silent = append(w.silent, m)
	w.beatOn()
	return m
}

// powerOn starts the machine and its agent.
func (m *machine) powerOn() {
	m.on = true
	m.boot++
	m.startAgent()
}

// powerOff ends everything that runs. The disk stays. Nobody tells the master.
func (m *machine) powerOff() {
	m.on = false
	m.session = 0
	m.w.hear(m)
	m.boot++
	m.killAgent()
	for _, id := range sortedKeys(m.usage.running) {
		m.w.meter.end(id)
	}
	clear(m.containers)
	m.usage = usage{}
}

// wipe empties the disk of a machine that is off. What it is told to run again, because no master has heard how far it
// was, begins anew.
func (m *machine) wipe() {
	for id := range m.disk { // any order: each by itself
		delete(m.w.ranks, id)
	}
	clear(m.disk)
	m.header = node.Header{}
}

func (m *machine) killAgent() {
	m.agent++
	m.core = nil
	m.frozen, m.held, m.stuck = false, nil, nil
	m.w.hear(m)
	m.breakLink()
}

func (m *machine) startAgent() {
	m.agent++
	m.core = node.New(node.Config{Node: m.desc})
	m.shows = spec.Clock{}
	m.wake = 0
	memory := node.Memory{Header: m.header}
	for _, id := range sortedKeys(m.disk) {
		memory.Records = append(memory.Records, m.disk[id])
	}
	m.step(node.Restored{Memory: memory})
	m.step(node.Inventory{Containers: m.inventory()})
	m.connectIn(m.w.latency())
}

func (m *machine) inventory() []node.Container {
	var out []node.Container
	for _, r := range m.runs() {
		k := m.containers[r]
		out = append(out, node.Container{Run: r, Running: k.running, Pid: k.pid, Started: m.clock(k.started), Exit: k.exit, Ended: m.clock(k.ended)})
	}
	return out
}

// runs lists the containers in a fixed order.
func (m *machine) runs() []node.Run {
	out := make([]node.Run, 0, len(m.containers))
	for r := range m.containers { // any order: sorted below
		out = append(out, r)
	}
	slices.SortFunc(out, compareRuns)
	return out
}

// step gives events to the core, and carries out what it answers.
func (m *machine) step(events ...node.Event) {
	if m.core == nil {
		return
	}
	if m.frozen || len(m.stuck) > 0 {
		m.held = append(m.held, events...)
		return
	}
	before := m.core.Generation()
	m.carryOut(m.core.Step(m.now(), events...))
	if m.core != nil && m.core.Generation() < before {
		m.w.violated("%s: that of %s went back from %d to %d", invariantGeneration, m.desc.ID, before, m.core.Generation())
	}
}

// hearTwice gives the core an event, and gives it again where links repeat themselves.
func (m *machine) hearTwice(e node.Event) {
	m.step(e)
	if m.twice {
		m.step(e)
	}
}

// carryOut does what the core wants. On a full disk nothing is done from the first save on: it is tried again until
// there is room.
func (m *machine) carryOut(effects []node.Effect) {
	for i, e := range effects {
		if save, ok := e.(node.Save); ok && m.full && (save.Header != nil || len(save.Put) > 0) {
			m.stuck = effects[i:]
			return
		}
		m.do(e)
	}
}

// unstick goes on after there is room again.
func (m *machine) unstick() {
	m.full, m.since = false, m.w.now
	if m.frozen {
		return
	}
	effects, held := m.stuck, m.held
	m.stuck = nil
	if len(effects) > 0 {
		m.held = nil
		m.carryOut(effects)
		m.step(held...)
	}
}

// now is the time by which the agent goes.
func (m *machine) now() spec.Time { return m.shows.Show(m.w.now.Add(m.skew), m.w.now.Sub(epoch)) }

// clock is what the agent takes a moment for.
func (m *machine) clock(t spec.Time) spec.Time {
	if t == 0 {
		return 0
	}
	return t.Add(m.now().Sub(m.w.now))
}

// wakeAt has the core asked again at a time by the agent's clock.
func (m *machine) wakeAt(t spec.Time) {
	m.wake = t
	agent := m.agent
	m.w.queue.push(item{at: m.w.now.Add(max(0, t.Sub(m.now()))), idle: true, group: m.index, do: func() {
		switch {
		case m.agent != agent || m.wake != t:
		case m.now() < t:
			m.wakeAt(t) // the clock was set meanwhile
		default:
			m.wake = 0
			m.step(node.Tick{})
		}
	}})
}

// awaits reports whether the agent is to be woken for something: a wake that it asked for may have become needless, as when a
// task ends before it has run too long.
func (m *machine) awaits() bool { return m.core != nil && m.wake != 0 && m.core.Next() != 0 }

// later schedules what belongs to the present agent.
func (m *machine) later(d spec.Duration, f func()) {
	agent := m.agent
	m.w.after(d, m.index, func() {
		if m.agent == agent {
			f()
		}
	})
}

// laterBoot schedules what belongs to the machine while it is powered.
func (m *machine) laterBoot(d spec.Duration, f func()) {
	boot := m.boot
	m.w.after(d, m.index, func() {
		if m.boot == boot {
			f()
		}
	})
}

func (m *machine) do(e node.Effect) {
	switch e := e.(type) {
	case node.Save:
		m.save(e)
	case node.Prepare:
		id := e.Allocation.ID
		b := m.w.appBehaviour(e.Allocation.App)
		m.later(m.w.jitter(max(prepareFor, b.pull)), func() { m.step(node.Prepared{ID: id, Err: b.pullErr}) })
	case node.Start:
		m.later(m.w.jitter(startFor), func() { m.start(e) })
	case node.Command:
		m.w.checkStop(m, e.Run, "the command of its stop")
		m.later(m.w.jitter(startFor), func() { m.hearTwice(node.Commanded{Run: e.Run}) })
	case node.Signal:
		m.w.checkStop(m, e.Run, "a signal")
		m.ask(e.Run, m.w.jitter(obeySignal), spec.Exit{Code: 143, Signal: "SIGTERM"})
	case node.Kill:
		m.w.checkStop(m, e.Run, "a kill")
		m.ask(e.Run, m.w.jitter(killFor), spec.Exit{Code: 137, Signal: "SIGKILL"})
	case node.Remove:
		if k := m.containers[e.Run]; k != nil && !k.running {
			delete(m.containers, e.Run)
		}
	case node.Probe:
		if k := m.containers[e.Run]; k != nil {
			k.probes[e.Check.Name] = true
			m.answer(k)
		}
	case node.Unprobe:
		if k := m.containers[e.Run]; k != nil {
			delete(k.probes, e.Check)
		}
	case node.Clean:
		m.later(m.w.jitter(startFor), func() { m.step(node.Cleaned{ID: e.ID}) })
	case node.Send:
		m.send(e.Report)
	case node.Wake:
		m.wakeAt(e.At)
	}
}

func (m *machine) save(e node.Save) {
	if e.Header != nil {
		m.header = *e.Header
	}
	for _, r := range e.Put {
		m.disk[r.Decided.ID] = r
		m.w.meter.status(&r.Decided, r.Status.State == spec.StateRunning && r.Status.Healthy)
	}
	for _, id := range e.Drop {
		delete(m.disk, id)
		m.w.meter.end(id)
		m.w.checkForget(m, id)
	}
}

// start begins a container; a second time for the same run it only answers.
func (m *machine) start(e node.Start) {
	k := m.containers[e.Run]
	if b := m.w.appBehaviour(e.Allocation.App); k == nil && b.execErr != "" {
		m.step(node.Started{Run: e.Run, Err: b.execErr})
		return
	}
	if k == nil {
		m.w.pid++
		k = &container{run: e.Run, app: e.App, alloc: e.Allocation, pid: m.w.pid, running: true, started: m.w.now, probes: map[string]bool{}}
		m.containers[e.Run] = k
		m.w.started(m, k)
		m.live(k)
	}
	m.step(node.Started{Run: e.Run, Pid: k.pid, At: m.clock(k.started)})
}

// live plans what the task will do by itself.
func (m *machine) live(k *container) {
	b := m.w.behaviour(k.alloc.Slot)
	app := m.w.appBehaviour(k.alloc.App)
	switch {
	case errand(k.app, k.run.Task):
		m.exitIn(k, errandFor, spec.Exit{})
	case b.exits:
		m.exitIn(k, max(50*spec.Millisecond, b.lives), spec.Exit{Code: b.code})
	case k.app.Kind == spec.KindBatch && !app.never && mainTask(k.app, k.run.Task):
		m.exitIn(k, app.start+app.run, spec.Exit{})
	case !app.never:
		m.laterBoot(app.start, func() { m.answer(k) })
	}
}

func mainTask(app *spec.App, name spec.TaskName) bool {
	for i := range app.Tasks {
		if app.Tasks[i].Name == name {
			return app.Tasks[i].Lifecycle.Main()
		}
	}
	return false
}

// errand reports whether the task goes with the others and ends by itself.
func errand(app *spec.App, name spec.TaskName) bool {
	for i := range app.Tasks {
		if t := &app.Tasks[i]; t.Name == name {
			return !t.Lifecycle.Main() && t.Lifecycle != spec.LifecycleSidecar
		}
	}
	return false
}

// answer tells what the checks of a task would find now.
func (m *machine) answer(k *container) {
	if !k.running || m.containers[k.run] != k {
		return
	}
	well := m.answersWell(k)
	names := sortedKeys(k.probes)
	m.later(m.w.jitter(spec.Millisecond), func() {
		for _, name := range names {
			m.hearTwice(node.Checked{Run: k.run, Check: name, Passing: well})
		}
	})
	if !well {
		m.despair(k)
	}
}

// answersWell reports whether the checks of a task would pass now.
func (m *machine) answersWell(k *container) bool {
	app := m.w.appBehaviour(k.alloc.App)
	return !app.never && m.w.now >= k.started.Add(app.start) && !m.w.behaviour(k.alloc.Slot).unhealthy
}

// despair has the checks that restart a task tell, after as long as they take to fail often enough, how often they have, if it is still not well.
func (m *machine) despair(k *container) {
	for i := range k.app.Tasks {
		if k.app.Tasks[i].Name != k.run.Task {
			continue
		}
		for _, c := range k.app.Tasks[i].Checks {
			if !c.Restart {
				continue
			}
			m.laterBoot(spec.Duration(c.Failures)*c.Interval, func() {
				if k.running && m.containers[k.run] == k && k.probes[c.Name] && !m.answersWell(k) {
					m.hearTwice(node.Checked{Run: k.run, Check: c.Name, Row: c.Failures})
				}
			})
		}
	}
}

// ask ends a container after a delay, as the core wishes.
func (m *machine) ask(r node.Run, d spec.Duration, exit spec.Exit) {
	if k := m.containers[r]; k != nil && k.running {
		k.asked = true
		if m.w.appBehaviour(k.alloc.App).stubborn && exit.Code == 143 {
			return
		}
		m.exitIn(k, d, exit)
	}
}

func (m *machine) exitIn(k *container, d spec.Duration, exit spec.Exit) {
	m.laterBoot(d, func() {
		if k.running && m.containers[k.run] == k {
			m.exit(k, exit)
		}
	})
}

func (m *machine) exit(k *container, exit spec.Exit) {
	k.running, k.exit, k.ended = false, &exit, m.w.now
	m.w.stopped(m, k)
	m.hearTwice(node.Exited{Run: k.run, Exit: exit, At: m.clock(k.ended)})
}

// send puts a report on the link.
func (m *machine) send(r spec.Report) {
	session := m.session
	if session == 0 {
		return
	}
	deliver := func() {
		if m.session == session {
			m.w.traceReport(m, &r)
			for range m.times() {
				m.w.master.step(control.NodeReported{Node: m.desc.ID, Session: session, Report: r})
			}
		}
	}
	m.toMaster = max(m.toMaster, m.w.now.Add(m.lag+m.w.latency()))
	m.w.at(m.toMaster, m.index, func() { m.unless(m.mute, deliver) })
}

// receive puts an assignment on the link.
func (m *machine) receive(session uint64, a spec.Assignment) {
	if m.session != session {
		return
	}
	deliver := func() {
		if m.session == session {
			for range m.times() {
				m.step(node.Assigned{Assignment: a})
			}
		}
	}
	m.toAgent = max(m.toAgent, m.w.now.Add(m.lag+m.w.latency()))
	m.w.at(m.toAgent, m.index, func() { m.unless(m.deaf, deliver) })
}

func (m *machine) times() int {
	if m.twice {
		return 2
	}
	return 1
}

// unless delivers a message, late where its direction of the link is blocked: it is sent again and again until it
// arrives or the link breaks.
func (m *machine) unless(blocked bool, deliver func()) {
	if blocked {
		m.late = append(m.late, deliver)
		return
	}
	deliver()
}

// clearLink takes every fault from the link, and lets what waited arrive.
func (m *machine) clearLink() {
	late := m.late
	if !m.well() {
		m.since = m.w.now
	}
	m.cut, m.mute, m.deaf, m.lag, m.twice, m.late = false, false, false, 0, false, nil
	m.w.hear(m)
	for _, deliver := range late {
		deliver()
	}
	m.connectSoon()
}

// connectSoon tries to reach the master. While it cannot be reached, nothing but its coming back makes a difference.
func (m *machine) connectSoon() { m.connectIn(m.w.random.between(reconnectMin, reconnectMax)) }

func (m *machine) connectIn(d spec.Duration) {
	m.later(d, func() {
		if m.session != 0 || m.core == nil {
			return
		}
		if m.cut || m.mute || m.deaf || m.frozen || !m.w.master.up {
			return // heal, thaw and a new leader try again
		}
		m.w.sessions++
		m.session, m.since = m.w.sessions, m.w.now
		m.toMaster, m.toAgent = 0, 0
		m.w.hear(m)
		m.w.master.step(control.NodeConnected{Node: m.desc.ID, Session: m.session})
		m.step(node.Connected{})
	})
}

// breakLink ends the session with all that is under way on it.
func (m *machine) breakLink() {
	if m.session == 0 {
		return
	}
	session := m.session
	m.session, m.late = 0, nil
	m.w.hear(m)
	if m.w.master.up && !m.cut {
		m.w.master.step(control.NodeDisconnected{Node: m.desc.ID, Session: session})
	}
	if m.core != nil {
		m.step(node.Disconnected{})
		m.connectSoon()
	}
}

func compareRuns(a, b node.Run) int {
	return cmp.Or(cmp.Compare(a.ID, b.ID), cmp.Compare(a.Task, b.Task), cmp.Compare(a.Attempt, b.Attempt))
}
