package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Life is a long time in the life of a cluster: what breaks by itself, and what people do, at the rates that are
// measured of real ones.
type Life struct {
	Nodes    int
	Rack     int // nodes in each
	Workload Workload
	Days     int

	// Crashes are per cent of the nodes in a month that go down by themselves. A cluster of 1,800 machines saw about 1,000
	// machine failures in its first year, which is 5 (Dean, Designs, Lessons and Advice from Building Large Distributed
	// Systems, LADIS 2009). One of ten comes back with an empty disk.
	Crashes int
	// Partitions are per cent of the nodes in a month whose link is cut for minutes.
	Partitions int
	Racks      int // that lose their power in a year: about 20 in that cluster
	Drains     int // of one node for maintenance, a day: half an hour each, with a reboot
	// Updates is how often in a year every node gets another kernel: rack by rack, evenly over the year, each drained for
	// half an hour and rebooted.
	Updates int
	Commits int // that change one app, a day
	Bad     int // of a hundred commits, those whose version never gets healthy
	Loops   int // slots that crash over and over for an hour, a month
	Leaders int // changes of the leader, a month
}

// Year is that of 10,000 nodes with 50,000 allocations of 500 apps.
var Year = Life{
	Nodes: 10_000, Rack: 40, Workload: Workload{Apps: 500, Allocations: 50_000, Parallel: 10}, Days: 365,
	Crashes: 5, Partitions: 1, Racks: 20, Drains: 3, Updates: 12, Commits: 3, Bad: 5, Loops: 10, Leaders: 2,
}

// How long things take. Repair times are lognormal, from less than an hour to more than a day on average from system to
// system (Schroeder and Gibson, A Large-Scale Study of Failures in High-Performance Computing Systems, DSN 2006).
const (
	repairMedian  = 2 * spec.Hour
	repairSigma   = 120
	outageMedian  = 3 * spec.Minute // of a link
	outageSigma   = 100
	powerMedian   = 1 * spec.Hour // of a rack
	maintenance   = 30 * spec.Minute
	loopFor       = 1 * spec.Hour
	month         = 30 * 24 * spec.Hour
	lifeNodeSpec  = "cpu=8 memory=16GiB disk=1TiB" // two fifths of it are in use
	neverFor      = 2 * spec.Hour                  // until a bad version would get healthy after all
	wipedOfTen    = 1
	firstQuietFor = spec.Hour // before anything breaks
)

// Live plays it.
func Live(l Life, o Options) Result { return l.scenario(o.Seed).play(&o) }

// liver makes the script.
type liver struct {
	Life
	random
	script  *scenario
	cluster *spec.Cluster
	todo    []deed
	loops   map[string]bool // slots that were ever made to crash
	drained map[string]bool // nodes that were ever drained
	updated bool            // racks were drained
	commits int
}

// deed is something that happens at a time.
type deed struct {
	at   spec.Duration
	text string
}

func (l Life) scenario(seed uint64) *scenario {
	v := &liver{Life: l, random: random{seed ^ 0x11fe}, script: &scenario{revisions: map[string]*spec.Revision{}}, cluster: l.Workload.Cluster(), loops: map[string]bool{}, drained: map[string]bool{}}
	withChecks(v.cluster.Apps)
	for first := 1; first <= l.Nodes; first += l.Rack {
		v.script.say("nodes n[%05d-%05d] %s rack=r%03d", first, min(l.Nodes, first+l.Rack-1), lifeNodeSpec, first/l.Rack)
	}
	v.script.say("commit %s", v.commit())
	v.script.say("settle")
	v.breaks()
	v.people()
	end, now := spec.Duration(l.Days)*24*spec.Hour, spec.Duration(0)
	v.todo = slices.DeleteFunc(v.todo, func(d deed) bool { return d.at >= end })
	v.at(end, "")
	slices.SortStableFunc(v.todo, func(a, b deed) int { return cmp.Compare(a.at, b.at) })
	for _, d := range v.todo {
		if d.at > now {
			v.script.say("advance %s", d.at-now)
			now = d.at
		}
		if d.text != "" {
			v.script.say("%s", d.text)
		}
	}
	v.repair()
	return v.script
}

func (v *liver) at(t spec.Duration, format string, args ...any) {
	v.todo = append(v.todo, deed{t, fmt.Sprintf(format, args...)})
}

// often calls f at times that are so far apart on average; never when that is 0.
func (v *liver) often(mean spec.Duration, f func(t spec.Duration)) {
	if mean <= 0 {
		return
	}
	end := spec.Duration(v.Days) * 24 * spec.Hour
	for t := firstQuietFor + v.wait(mean); t < end; t += spec.Second + v.wait(mean) {
		f(t)
	}
}

// rate is the mean time between things of which so many happen in a while.
func rate(n int, in spec.Duration) spec.Duration {
	if n == 0 {
		return 0
	}
	return in / spec.Duration(n)
}

func (v *liver) node() string { return fmt.Sprintf("n%05d", 1+v.below(v.Nodes)) }

// breaks is what breaks by itself.
func (v *liver) breaks() {
	v.often(rate(v.Nodes*v.Crashes/100, month), func(t spec.Duration) {
		n, wipe := v.node(), ""
		if v.below(10) < wipedOfTen {
			wipe = " wipe"
		}
		v.at(t, "crash %s%s", n, wipe)
		v.at(t+v.lognormal(repairMedian, repairSigma), "return %s", n)
	})
	v.often(rate(v.Nodes*v.Partitions/100, month), func(t spec.Duration) {
		n := v.node()
		v.at(t, "partition %s", n)
		v.at(t+v.lognormal(outageMedian, outageSigma), "heal %s", n)
	})
	v.often(rate(v.Racks, 365*24*spec.Hour), func(t spec.Duration) {
		first := 1 + v.below((v.Nodes+v.Rack-1)/v.Rack)*v.Rack
		rack := fmt.Sprintf("n[%05d-%05d]", first, min(v.Nodes, first+v.Rack-1))
		v.at(t, "crash %s", rack)
		v.at(t+v.lognormal(powerMedian, outageSigma), "return %s", rack)
	})
	v.often(rate(v.Loops, month), func(t spec.Duration) {
		app := v.cluster.Apps[v.below(len(v.cluster.Apps))]
		slot := spec.Slot{App: app.Name, Index: v.below(app.Count)}.String()
		v.loops[slot] = true
		v.at(t, "exit %s 1", slot)
		v.at(t+loopFor, "healthy %s", slot)
	})
	v.often(rate(v.Leaders, month), func(t spec.Duration) { v.at(t, "leader-change") })
}

// people is what people do.
func (v *liver) people() {
	v.often(rate(v.Drains, 24*spec.Hour), func(t spec.Duration) {
		n := v.node()
		v.drained[n] = true
		v.at(t, "drain? %s", n)
		v.at(t+maintenance, "crash %s", n)
		v.at(t+maintenance+2*spec.Minute, "return %s", n)
		v.at(t+maintenance+5*spec.Minute, "undrain? %s", n)
	})
	v.updates()
	v.often(rate(v.Commits, 24*spec.Hour), func(t spec.Duration) {
		i := v.below(len(v.cluster.Apps))
		app := *v.cluster.Apps[i]
		app.Tasks = slices.Clone(app.Tasks)
		app.Tasks[0].Command = []string{"true", fmt.Sprint(v.commits)}
		c := *v.cluster
		c.Apps = slices.Clone(c.Apps)
		c.Apps[i] = &app
		v.cluster = &c
		if v.below(100) < v.Bad {
			v.at(t, "start %s never", app.Name)
			v.at(t+neverFor, "start %s 1s", app.Name)
		}
		v.at(t, "commit %s", v.commit())
	})
}

// updates gives every rack another kernel again and again.
func (v *liver) updates() {
	racks := (v.Nodes + v.Rack - 1) / v.Rack
	each := rate(racks*v.Updates, 365*24*spec.Hour)
	if each == 0 {
		return
	}
	end := spec.Duration(v.Days) * 24 * spec.Hour
	for t, k := firstQuietFor, 0; t < end; t, k = t+each, k+1 {
		first := 1 + k%racks*v.Rack
		rack := fmt.Sprintf("n[%05d-%05d]", first, min(v.Nodes, first+v.Rack-1))
		v.at(t, "drain? rack=r%03d", k%racks)
		v.at(t+maintenance, "crash %s", rack)
		v.at(t+maintenance+2*spec.Minute, "return %s", rack)
		v.at(t+maintenance+5*spec.Minute, "undrain? rack=r%03d", k%racks)
	}
	v.updated = true
}

func (v *liver) commit() string {
	v.commits++
	name := fmt.Sprintf("c%05d", v.commits)
	c := *v.cluster
	v.script.revisions[name] = revision(name, &c, nil)
	return name
}

// repair ends every fault, and wants everything to come to rest.
func (v *liver) repair() {
	all := fmt.Sprintf("n[%05d-%05d]", 1, v.Nodes)
	v.script.say("heal %s", all)
	v.script.say("return %s", all)
	for _, slot := range sortedKeys(v.loops) {
		v.script.say("healthy %s", slot)
	}
	for _, n := range sortedKeys(v.drained) {
		v.script.say("undrain? %s", n)
	}
	for rack := 0; v.updated && rack*v.Rack < v.Nodes; rack++ {
		v.script.say("undrain? rack=r%03d", rack)
	}
	v.script.say("settle")
	v.script.say("expect at-rest")
}
