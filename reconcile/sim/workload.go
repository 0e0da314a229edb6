package sim

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/stowage/stowage/spec"
)

// Workload is a made-up set of apps of the shape that published traces have.
type Workload struct {
	Apps        int    // services and batch apps
	Allocations int    // of all of them, about
	Batch       int    // per cent of the apps
	Seed        uint64 // of the sizes
	Parallel    int    // max_parallel of each, in per cent of its count; at least one
}

// What is known of real workloads.
const (
	// usageAlpha is the exponent of the Pareto distribution that the use of jobs follows, in hundredths: 0.69 for CPU
	// in May 2019, so that one job of a hundred has nearly everything. Tirmazi et al., Borg: the Next Generation,
	// EuroSys 2020, section 7.
	usageAlpha = 69
	// batchMedian and batchSigma put the 99th percentile of a lognormal distribution at the 1,003 s that batch work took
	// there in Jiang et al., Characteristics of Co-Allocated Online Services and Batch Jobs in Internet Data Centers,
	// IEEE Access 2019.
	batchMedian = spec.Minute
	batchSigma  = 121
	// largestShare bounds the count of one app, in per cent of all allocations. The distribution has no bound; a cluster has.
	largestShare = 10
)

// Limits of what a script may ask for.
const (
	maxWorkApps = 10_000
	maxWork     = 1_000_000 // allocations
)

// Cluster makes the apps.
func (l Workload) Cluster() *spec.Cluster {
	r := random{l.Seed ^ 0x10ad}
	c := &spec.Cluster{Name: "workload", Policy: spec.PolicyRef{Name: spec.DefaultPolicy}}
	c.Sync = spec.Sync{Approval: spec.ApprovalAuto, Prune: true, MaxPrune: spec.Percent{Value: 100}}
	c.Disruption = spec.Disruption{MaxUnavailable: spec.Percent{Value: spec.DefaultMaxUnavailable}}
	counts := l.counts(&r)
	for i, count := range counts {
		name, kind := fmt.Sprintf("service-%04d", i), spec.KindService
		if r.below(100) < l.Batch {
			name, kind = fmt.Sprintf("batch-%04d", i), spec.KindBatch
		}
		app := newApp(spec.AppName(name), kind, count)
		app.Update.MaxParallel = max(1, count*l.Parallel/100)
		task := &app.Tasks[0]
		// Most tasks are small, few are large, and memory goes with cpu but not strictly.
		task.CPU = spec.MilliCPU(min(8000, max(50, r.lognormal(300*spec.Millisecond, 80)/spec.Millisecond/10*10)))
		task.Memory = spec.Bytes(min(16384, max(32, r.lognormal(spec.Duration(task.CPU)*2*spec.Millisecond, 50)/spec.Millisecond))) * spec.MiB
		if r.below(3) == 0 {
			app.Spreads = []spec.Spread{{Attribute: "rack", Weight: 50}}
		}
		c.Apps = append(c.Apps, app)
	}
	slices.SortFunc(c.Apps, func(a, b *spec.App) int { return strings.Compare(string(a.Name), string(b.Name)) })
	return c
}

// counts are heavy-tailed, and about as many as wanted in all.
func (l Workload) counts(r *random) []int {
	counts := make([]int, l.Apps)
	sum, most := 0, max(1, l.Allocations*largestShare/100)
	for i := range counts {
		counts[i] = r.pareto(1, most, usageAlpha)
		sum += counts[i]
	}
	// Scale to what is wanted; the small stay at one.
	for range 8 {
		total := 0
		for i := range counts {
			counts[i] = min(most, max(1, counts[i]*l.Allocations/sum))
			total += counts[i]
		}
		if sum = total; sum >= l.Allocations*98/100 && sum <= l.Allocations*102/100 {
			break
		}
	}
	return counts
}

// workload heavy-tailed apps=200 allocations=5000 batch=20 seed=3 parallel=10: the next commit has made-up apps.
func (p *player) workload(args []string) error {
	if args[0] != "heavy-tailed" {
		return fmt.Errorf("there is no workload %q: heavy-tailed is one", args[0])
	}
	l := Workload{Apps: 50, Allocations: 500, Parallel: 10}
	err := numbers(args[1:], map[string]func(int){
		"apps": func(n int) { l.Apps = n }, "allocations": func(n int) { l.Allocations = n }, "batch": func(n int) { l.Batch = n },
		"seed": func(n int) { l.Seed = uint64(n) }, "parallel": func(n int) { l.Parallel = n },
	})
	if err != nil {
		return err
	}
	if l.Apps < 1 || l.Apps > maxWorkApps || l.Allocations < l.Apps || l.Allocations > maxWork || l.Batch > 100 {
		return fmt.Errorf("a workload has 1 to %d apps, at least one allocation for each and at most %d, and at most 100 per cent batch", maxWorkApps, maxWork)
	}
	p.made = l.Cluster()
	r := random{l.Seed ^ 0xba7c}
	for _, app := range p.made.Apps {
		if app.Kind == spec.KindBatch {
			p.world.change(app.Name, func(b *appBehaviour) { b.run = r.lognormal(batchMedian, batchSigma) })
		}
	}
	p.commitMade("workload " + strings.Join(args, " "))
	return nil
}

// commitMade commits the apps that were made up.
func (p *player) commitMade(name string) {
	c := *p.made
	c.Apps = slices.Clone(c.Apps)
	if p.known == nil {
		p.known = p.scenario.known()
	}
	p.known.add(&c)
	p.follow(revision(name, &c, nil))
}

// arrivals jobs=100 over=24h seed=1: batch apps come one by one, more by day than by night, and leave once they are done.
func (p *player) arrivals(args []string) error {
	if p.made == nil {
		return errors.New("jobs arrive in a workload: make one first")
	}
	jobs, over, seed := 0, 24*spec.Hour, uint64(0)
	var rest []string
	for _, arg := range args {
		if text, ok := strings.CutPrefix(arg, "over="); ok {
			d, err := spec.ParseDuration(text)
			if err != nil {
				return err
			}
			over = d
		} else {
			rest = append(rest, arg)
		}
	}
	err := numbers(rest, map[string]func(int){"jobs": func(n int) { jobs = n }, "seed": func(n int) { seed = uint64(n) }})
	if err != nil || jobs < 1 || jobs > maxWorkApps || over < spec.Minute {
		return errors.Join(err, fmt.Errorf("1 to %d jobs arrive, over a minute at least", maxWorkApps))
	}
	r := random{seed ^ 0xa441}
	for i := range jobs {
		app := newApp(spec.AppName(fmt.Sprintf("job-%d-%05d", seed, i)), spec.KindBatch, r.pareto(1, 50, usageAlpha))
		run := r.lognormal(batchMedian, batchSigma)
		p.world.after(r.byDay(over), -1, func() { p.arrive(app, run) })
	}
	return nil
}

// byDay is a moment within a while that begins at midnight: three of four fall into the twelve hours around noon, as
// the load of a cluster that people use rises and falls by the day. Jiang et al., Characterizing Co-Located Workloads
// in Alibaba Cloud Datacenters, IEEE Transactions on Cloud Computing 2022.
func (r *random) byDay(over spec.Duration) spec.Duration {
	for {
		d := r.between(0, over-1) / spec.Millisecond * spec.Millisecond
		hour := int(d / spec.Hour % 24)
		if day := hour >= 6 && hour < 18; day || r.below(3) == 0 {
			return d
		}
	}
}

// arrive commits one more job, without those that are done.
func (p *player) arrive(app *spec.App, run spec.Duration) {
	c := *p.made
	c.Apps = slices.DeleteFunc(slices.Clone(c.Apps), func(a *spec.App) bool {
		return strings.HasPrefix(string(a.Name), "job-") && p.world.master.up && p.completed(string(a.Name)) == a.Count
	})
	c.Apps = append(c.Apps, app)
	slices.SortFunc(c.Apps, func(a, b *spec.App) int { return strings.Compare(string(a.Name), string(b.Name)) })
	p.made = &c
	p.world.change(app.Name, func(b *appBehaviour) { b.run = run })
	p.commitMade(string(app.Name) + " arrives")
}

// numbers reads KEY=NUMBER words.
func numbers(args []string, set map[string]func(int)) error {
	for _, arg := range args {
		key, text, _ := strings.Cut(arg, "=")
		f := set[key]
		n, err := strconv.Atoi(text)
		if f == nil || err != nil || n < 0 {
			return fmt.Errorf("%q is not understood: write KEY=NUMBER with one of %s", arg, strings.Join(sortedKeys(set), ", "))
		}
		f(n)
	}
	return nil
}
