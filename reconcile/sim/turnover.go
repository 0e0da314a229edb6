package sim

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/stowage/stowage/spec"
)

// Turnover is a cluster on which services come and go, of heavy-tailed counts, sizes and lifetimes, so that it is always
// about as full: after each moment at which some have left, others come until so much is asked for again.
type Turnover struct {
	Nodes     int
	Days      int
	Full      int // per cent of the scarcer of cpu and memory that is asked for
	Moments   int // a day, at which services come and go
	Rebalance int // moves that an operator asks for each night; 0: none
}

// Month is 30 days of 100 nodes that are four fifths full.
var Month = Turnover{Nodes: 100, Days: 30, Full: 80, Moments: 24}

// What comes. Lifetimes of virtual machines are as uneven as counts: few live for days, and those have nearly all of the
// time (Cortez et al., Resource Central, SOSP 2017, section 3).
const (
	turnoverNode  = "cpu=16 memory=32GiB disk=1TiB"
	lifeMedian    = 12 * spec.Hour
	lifeSigma     = 180
	cpuMedian     = 1000 * spec.Millisecond // a thousandth of a core is a millisecond here
	cpuSigma      = 100
	memorySigma   = 70
	memoryPerCPU  = 2 // MiB for each thousandth of a core
	turnoverCount = 30
)

// Turn plays it.
func Turn(t Turnover, o Options) Result { return t.scenario(o.Seed).play(&o) }

// turner makes the script.
type turner struct {
	Turnover
	random
	script  *scenario
	cluster *spec.Cluster
	ends    map[spec.AppName]spec.Duration
	asked   spec.Resources
	made    int
}

func (t Turnover) scenario(seed uint64) *scenario {
	v := &turner{Turnover: t, random: random{seed ^ 0x7a2e}, script: &scenario{revisions: map[string]*spec.Revision{}}, ends: map[spec.AppName]spec.Duration{}}
	v.cluster = Workload{Apps: 1, Allocations: 1}.Cluster()
	v.cluster.Apps = nil
	v.script.say("nodes n[%03d-%03d] %s", 1, t.Nodes, turnoverNode)
	v.fill(0)
	v.script.say("commit %s", v.commit(0))
	v.script.say("settle")
	v.script.say("measure 6h")
	end, now := spec.Duration(t.Days)*24*spec.Hour, spec.Duration(0)
	night := 3 * spec.Hour
	for at := v.wait(24 * spec.Hour / spec.Duration(t.Moments)); at < end; at += v.wait(24*spec.Hour/spec.Duration(t.Moments)) + spec.Second {
		for ; t.Rebalance > 0 && night < at; night += 24 * spec.Hour {
			v.script.say("advance %s", night-now)
			v.script.say("rebalance? max=%d parallel=8", t.Rebalance)
			now = night
		}
		v.script.say("advance %s", at-now)
		now = at
		if v.leave(at)+v.fill(at) > 0 {
			v.script.say("commit %s", v.commit(at))
		}
	}
	v.script.say("advance %s", end-now)
	return v.script
}

// leave takes the services away whose time is over, and says how many those are.
func (v *turner) leave(now spec.Duration) int {
	before := len(v.cluster.Apps)
	v.cluster.Apps = slices.DeleteFunc(slices.Clone(v.cluster.Apps), func(a *spec.App) bool {
		if v.ends[a.Name] > now {
			return false
		}
		v.asked = v.asked.Minus(times(a.Needs(), a.Count))
		return true
	})
	return before - len(v.cluster.Apps)
}

// fill has services come until the cluster is as full as it should be, and says how many did.
func (v *turner) fill(now spec.Duration) int {
	came := 0
	cores, memory := spec.MilliCPU(16_000*v.Nodes*v.Full/100), spec.Bytes(32*v.Nodes*v.Full/100)*spec.GiB
	for v.asked.CPU < cores && v.asked.Memory < memory {
		v.made++
		a := newApp(spec.AppName(fmt.Sprintf("service-%05d", v.made)), spec.KindService, v.pareto(1, turnoverCount, usageAlpha))
		cpu := min(8000, max(100, v.lognormal(cpuMedian, cpuSigma)/spec.Millisecond/10*10))
		a.Tasks[0].CPU = spec.MilliCPU(cpu)
		a.Tasks[0].Memory = spec.Bytes(min(16<<10, max(64, v.lognormal(cpu*memoryPerCPU*spec.Millisecond, memorySigma)/spec.Millisecond))) * spec.MiB
		a.Update.MaxParallel = max(1, a.Count/4)
		v.ends[a.Name] = now + v.lognormal(lifeMedian, lifeSigma)
		v.asked = v.asked.Plus(times(a.Needs(), a.Count))
		v.cluster.Apps = append(v.cluster.Apps, a)
		came++
	}
	slices.SortFunc(v.cluster.Apps, func(a, b *spec.App) int { return cmp.Compare(a.Name, b.Name) })
	return came
}

func (v *turner) commit(at spec.Duration) string {
	name := fmt.Sprintf("at-%s", at)
	c := *v.cluster
	v.script.revisions[name] = revision(name, &c, nil)
	return name
}
