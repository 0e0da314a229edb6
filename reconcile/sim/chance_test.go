package sim

import (
	"math"
	"slices"
	"testing"

	"github.com/stowage/stowage/spec"
)

// TestFixedPoint compares the logarithms and powers in whole numbers with those of the library.
func TestFixedPoint(t *testing.T) {
	r := random{1}
	for range 10_000 {
		x := q32(r.next()>>(1+r.below(60))) + 1
		if got, want := float64(log2(x))/float64(one), math.Log2(float64(x)/float64(one)); math.Abs(got-want) > 1e-8 {
			t.Fatalf("log2 of %v is %v, want %v", float64(x)/float64(one), got, want)
		}
		y := q32(r.next()>>32)*20 - 10*one
		if got, want := float64(exp2(y))/float64(one), math.Exp2(float64(y)/float64(one)); math.Abs(got-want) > 1e-8*max(1, want) {
			t.Fatalf("exp2 of %v is %v, want %v", float64(y)/float64(one), got, want)
		}
	}
}

// TestShapes wants numbers by chance to have the shares and medians that their distributions have.
func TestShapes(t *testing.T) {
	r := random{2}
	const n = 20_000
	var counts []int
	sum := 0
	for range n {
		x := r.pareto(1, 100_000, 69)
		counts = append(counts, x)
		sum += x
	}
	slices.Sort(counts)
	top := 0
	for _, x := range counts[n-n/100:] {
		top += x
	}
	if counts[n/2] > 3 || top*100/sum < 60 {
		t.Errorf("the median is %d and the largest hundredth has %d%% of all", counts[n/2], top*100/sum)
	}
	var times []spec.Duration
	var waits spec.Duration
	for range n {
		times = append(times, r.lognormal(spec.Minute, 121))
		waits += r.wait(spec.Hour) / n
	}
	slices.Sort(times)
	if m := times[n/2]; m < 58*spec.Second || m > 62*spec.Second {
		t.Errorf("the median is %s, want about 1m", m)
	}
	if p := times[n-n/100]; p < 900*spec.Second || p > 1100*spec.Second {
		t.Errorf("the 99th percentile is %s, want about 1003s", p)
	}
	if waits < 58*spec.Minute || waits > 62*spec.Minute {
		t.Errorf("the mean wait is %s, want about 1h", waits)
	}
}
