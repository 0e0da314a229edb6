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
	held   []node.Event // while frozen
	cut    bool         // the link to the masters

	disk       map[spec.AllocationID]node.Record
	header     node.Header
	containers map[node.Run]*container

	session  uint64 // of the present link; 0: none
	seen     control.Event
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
	return &machine{w: w, index: len(w.machines), desc: n, disk: map[spec.AllocationID]node.Record{}, containers: map[node.Run]*container{}}
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
	m.boot++
	m.killAgent()
	clear(m.containers)
	m.usage = usage{}
}

func (m *machine) killAgent() {
	m.agent++
	m.core = nil
	m.frozen, m.held = false, nil
	m.breakLink()
}

func (m *machine) startAgent() {
	m.agent++
	m.core = node.New(node.Config{Node: m.desc})
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
		out = append(out, node.Container{Run: r, Running: k.running, Pid: k.pid, Started: k.started, Exit: k.exit, Ended: k.ended})
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
	if m.frozen {
		m.held = append(m.held, events...)
		return
	}
	before := m.core.Generation()
	for _, e := range m.core.Step(m.w.now, events...) {
		m.do(e)
	}
	if m.core != nil && m.core.Generation() < before {
		m.w.violated("the generation of %s went back from %d to %d", m.desc.ID, before, m.core.Generation())
	}
}

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
		m.later(m.w.jitter(prepareFor), func() { m.step(node.Prepared{ID: id}) })
	case node.Start:
		m.later(m.w.jitter(startFor), func() { m.start(e) })
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
		m.wake = e.At
		agent := m.agent
		m.w.at(e.At, m.index, func() {
			if m.agent == agent && m.wake == e.At {
				m.wake = 0
				m.step(node.Tick{})
			}
		})
	}
}

func (m *machine) save(e node.Save) {
	if e.Header != nil {
		m.header = *e.Header
	}
	for _, r := range e.Put {
		m.disk[r.Decided.ID] = r
	}
	for _, id := range e.Drop {
		delete(m.disk, id)
	}
}

// start begins a container; a second time for the same run it only answers.
func (m *machine) start(e node.Start) {
	k := m.containers[e.Run]
	if k == nil {
		m.w.pid++
		k = &container{run: e.Run, app: e.App, alloc: e.Allocation, pid: m.w.pid, running: true, started: m.w.now, probes: map[string]bool{}}
		m.containers[e.Run] = k
		m.w.started(m, k)
		m.live(k)
	}
	m.step(node.Started{Run: e.Run, Pid: k.pid, At: k.started})
}

// live plans what the task will do by itself.
func (m *machine) live(k *container) {
	b := m.w.behaviour(k.alloc.Slot)
	app := m.w.appBehaviour(k.alloc.App)
	switch {
	case b.exits:
		m.exitIn(k, 50*spec.Millisecond, spec.Exit{Code: b.code})
	case k.app.Kind == spec.KindBatch && !app.never && mainTask(k.app, k.run.Task):
		m.exitIn(k, app.start+app.run, spec.Exit{})
	case !app.never:
		m.laterBoot(app.start, func() { m.answer(k) })
	}
}

func mainTask(app *spec.App, name spec.TaskName) bool {
	for i := range app.Tasks {
		if app.Tasks[i].Name == name {
			return app.Tasks[i].Lifecycle != spec.LifecycleSidecar
		}
	}
	return false
}

// answer tells what the checks of a task would find now.
func (m *machine) answer(k *container) {
	if !k.running || m.containers[k.run] != k {
		return
	}
	app := m.w.appBehaviour(k.alloc.App)
	well := !app.never && m.w.now >= k.started.Add(app.start) && !m.w.behaviour(k.alloc.Slot).unhealthy
	names := sortedKeys(k.probes)
	m.later(m.w.jitter(spec.Millisecond), func() {
		for _, name := range names {
			m.step(node.Checked{Run: k.run, Check: name, Passing: well})
		}
	})
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
	m.step(node.Exited{Run: k.run, Exit: exit, At: k.ended})
}

// send puts a report on the link.
func (m *machine) send(r spec.Report) {
	if m.session == 0 {
		return
	}
	session := m.session
	m.toMaster = max(m.toMaster, m.w.now.Add(m.w.latency()))
	m.w.at(m.toMaster, m.index, func() {
		if m.session == session {
			m.w.traceReport(m, &r)
			m.w.master.step(control.NodeReported{Node: m.desc.ID, Session: session, Report: r})
		}
	})
}

// receive puts an assignment on the link.
func (m *machine) receive(session uint64, a spec.Assignment) {
	if m.session != session {
		return
	}
	m.toAgent = max(m.toAgent, m.w.now.Add(m.w.latency()))
	m.w.at(m.toAgent, m.index, func() {
		if m.session == session {
			m.step(node.Assigned{Assignment: a})
		}
	})
}

// connectSoon tries to reach the master. While it cannot be reached, nothing but its coming back makes a difference.
func (m *machine) connectSoon() { m.connectIn(m.w.random.between(reconnectMin, reconnectMax)) }

func (m *machine) connectIn(d spec.Duration) {
	m.later(d, func() {
		if m.session != 0 || m.core == nil {
			return
		}
		if m.cut || m.frozen || !m.w.master.up {
			return // heal, thaw and a new leader try again
		}
		m.w.sessions++
		m.session, m.since = m.w.sessions, m.w.now
		m.toMaster, m.toAgent = 0, 0
		m.seen = control.NodeSeen{Node: m.desc.ID, Session: m.session}
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
	m.session = 0
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
