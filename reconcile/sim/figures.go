package sim

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// Figures say how a run went for those whose apps it ran. They are measured at the tasks themselves, not by what a
// master knew of them. Services count, apps of other kinds do not: batch work is meant to end.
type Figures struct {
	For          spec.Duration `json:"for"`          // virtual time
	Availability int64         `json:"availability"` // share of the wanted slots that were healthy, over all the time, in millionths
	Worst        spec.AppName  `json:"worst,omitempty"`
	WorstShare   int64         `json:"worst_share"` // of the app with the lowest availability, in millionths
	Wanted       int64         `json:"wanted"`      // slots on average, in thousandths
	Started      int           `json:"started"`     // allocations
	Churn        int64         `json:"churn"`       // allocations started for each wanted slot, in thousandths
	Causes       []Cause       `json:"causes,omitempty"`
	Outages      int           `json:"outages"`     // times that a wanted slot ceased to be healthy
	HealMedian   spec.Duration `json:"heal_median"` // until it was healthy again
	Heal99       spec.Duration `json:"heal_99"`     // in 99 of 100 cases at most
	HealMax      spec.Duration `json:"heal_max"`
	Plans        int           `json:"plans"` // made
	Stranded     []Stranded    `json:"stranded,omitempty"`
}

// Cause is why allocations were started, and how many.
type Cause struct {
	Why     string `json:"why"`
	Started int    `json:"started"`
}

// String prints the figures in a few lines.
func (f *Figures) String() string {
	s := fmt.Sprintf("availability %s over %s", share(f.Availability), short(f.For))
	if f.Worst != "" {
		s += fmt.Sprintf(", worst %s of %s", share(f.WorstShare), f.Worst)
	}
	s += fmt.Sprintf("\nchurn %d.%03d allocations started for each of %d.%d slots", f.Churn/1000, f.Churn%1000, f.Wanted/1000, f.Wanted%1000/100)
	for _, c := range f.Causes {
		s += fmt.Sprintf("\n  %d because %s", c.Started, c.Why)
	}
	return s + fmt.Sprintf("\noutages: %d, healed in %s (median), %s (99 of 100), %s (longest)\n%d plans",
		f.Outages, short(f.HealMedian), short(f.Heal99), short(f.HealMax), f.Plans)
}

func share(millionths int64) string {
	return fmt.Sprintf("%d.%04d%%", millionths/10000, millionths%10000)
}

// meter measures while a run goes on.
type meter struct {
	w        *world
	apps     map[spec.AppName]*gauge
	healthy  map[spec.AllocationID]spec.Slot // allocations that are
	started  int
	causes   map[string]int
	stranded []Stranded
	heals    []spec.Duration
}

// gauge measures one app. Areas are slots times milliseconds.
type gauge struct {
	wanted      int
	slots       []slotGauge // by index, as many as were ever wanted
	healthy     int         // of the wanted ones
	since       spec.Time   // up to which the areas are counted
	wantedArea  int64
	healthyArea int64
}

type slotGauge struct {
	healthy int       // allocations
	lost    spec.Time // when it ceased to be healthy; 0: it is, or never was
}

func (g *gauge) count(now spec.Time) {
	ms := int64(now.Sub(g.since) / spec.Millisecond)
	g.wantedArea += ms * int64(g.wanted)
	g.healthyArea += ms * int64(g.healthy)
	g.since = g.since.Add(spec.Duration(ms) * spec.Millisecond)
}

// entry takes what is decided.
func (m *meter) entry(e *control.Entry) {
	if e.Decided != nil {
		m.started += len(e.Decided.Start)
		for i := range e.Decided.Start {
			m.causes[m.cause(e.Decided.Start[i].Why)]++
		}
		for _, r := range e.Decided.Renamed {
			m.rename(r.From, r.To)
		}
	}
	if e.Scaled != nil && m.apps[e.Scaled.App] != nil {
		m.want(m.apps[e.Scaled.App], e.Scaled.Count)
	}
	if e.Followed == nil {
		return
	}
	wanted := map[spec.AppName]int{}
	for _, app := range e.Followed.Revision.Cluster.Apps {
		if app.Kind == spec.KindService {
			wanted[app.Name] = app.Count
			if now := m.w.master.core.App(app.Name); now != nil {
				wanted[app.Name] = now.Count // what it was scaled to
			}
			if m.apps[app.Name] == nil {
				m.apps[app.Name] = &gauge{since: m.w.now}
			}
		}
	}
	for name, g := range m.apps { // any order: each by itself
		m.want(g, wanted[name])
	}
}

// cause is why an allocation was started: without the name of another that some reasons end with, and one for all that a
// rebalancing moves.
func (m *meter) cause(why string) string {
	if r := m.w.master.core.State().Rebalance; r != nil && slices.ContainsFunc(r.Moves, func(v reconcile.Move) bool { return v.Why == why }) {
		return rollout.ReasonMoved
	}
	why, _, _ = strings.Cut(why, " for ")
	return why
}

// rename gives the allocations of one app to another.
func (m *meter) rename(from, to spec.AppName) {
	for _, id := range sortedKeys(m.healthy) {
		if slot := m.healthy[id]; slot.App == from {
			m.change(slot, -1)
			slot.App = to
			m.healthy[id] = slot
			m.change(slot, 1)
		}
	}
}

// want changes how many slots an app should have.
func (m *meter) want(g *gauge, n int) {
	if n == g.wanted {
		return
	}
	g.count(m.w.now)
	g.wanted, g.healthy = n, 0
	for len(g.slots) < n {
		g.slots = append(g.slots, slotGauge{})
	}
	for i := range g.slots {
		switch s := &g.slots[i]; {
		case i >= n:
			s.lost = 0
		case s.healthy > 0:
			g.healthy++
		}
	}
}

// status takes what an allocation is now.
func (m *meter) status(a *spec.Allocation, healthy bool) {
	if _, was := m.healthy[a.ID]; was == healthy {
		return
	}
	if healthy {
		m.healthy[a.ID] = a.Slot
		m.change(a.Slot, 1)
	} else {
		m.end(a.ID)
	}
}

// end takes an allocation that is no more.
func (m *meter) end(id spec.AllocationID) {
	if slot, was := m.healthy[id]; was {
		delete(m.healthy, id)
		m.change(slot, -1)
	}
}

func (m *meter) change(slot spec.Slot, by int) {
	g := m.apps[slot.App]
	if g == nil {
		return
	}
	for len(g.slots) <= slot.Index {
		g.slots = append(g.slots, slotGauge{})
	}
	s := &g.slots[slot.Index]
	s.healthy += by
	if slot.Index >= g.wanted {
		return
	}
	switch {
	case by > 0 && s.healthy == 1:
		g.count(m.w.now)
		g.healthy++
		if s.lost != 0 {
			m.heals = append(m.heals, m.w.now.Sub(s.lost))
			s.lost = 0
		}
	case by < 0 && s.healthy == 0:
		g.count(m.w.now)
		g.healthy--
		s.lost = m.w.now
	}
}

// figures are those up to now.
func (m *meter) figures() Figures {
	f := Figures{For: inMillis(m.w.now.Sub(m.w.began)), Started: m.started, Outages: len(m.heals), Plans: m.w.plans, Stranded: m.stranded, Availability: 1e6, WorstShare: 1e6}
	var wanted, healthy int64
	for _, name := range sortedKeys(m.apps) {
		g := m.apps[name]
		g.count(m.w.now)
		for i := range g.slots[:g.wanted] {
			if g.slots[i].lost != 0 {
				f.Outages++
			}
		}
		wanted, healthy = wanted+g.wantedArea, healthy+g.healthyArea
		if part := of(g.healthyArea, g.wantedArea); part < f.WorstShare {
			f.Worst, f.WorstShare = name, part
		}
	}
	f.Availability = of(healthy, wanted)
	for _, why := range sortedKeys(m.causes) {
		f.Causes = append(f.Causes, Cause{why, m.causes[why]})
	}
	slices.SortStableFunc(f.Causes, func(a, b Cause) int { return cmp.Compare(b.Started, a.Started) })
	if ms := int64(f.For / spec.Millisecond); ms > 0 {
		f.Wanted = wanted / ms * 1000
		if wanted < 1<<50 {
			f.Wanted = wanted * 1000 / ms
		}
	}
	if f.Wanted > 0 {
		f.Churn = int64(m.started) * 1_000_000 / f.Wanted
	}
	if n := len(m.heals); n > 0 {
		heals := slices.Clone(m.heals)
		slices.SortFunc(heals, cmp.Compare[spec.Duration])
		f.HealMedian, f.Heal99, f.HealMax = inMillis(heals[n/2]), inMillis(heals[n*99/100]), inMillis(heals[n-1])
	}
	return f
}

// inMillis leaves out what is below a millisecond: that is the jitter of the simulation.
func inMillis(d spec.Duration) spec.Duration { return d / spec.Millisecond * spec.Millisecond }

// of is a share in millionths; of nothing it is all.
func of(part, whole int64) int64 {
	switch {
	case whole == 0:
		return 1e6
	case part > 1<<42:
		return part / (whole / 1e6)
	}
	return part * 1e6 / whole
}
