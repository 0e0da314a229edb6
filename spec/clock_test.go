package spec_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

func TestClockDriftsToAMachineWhoseClockIsSet(t *testing.T) {
	const began = spec.Time(1_800_000_000 * spec.Second)
	for _, set := range []spec.Duration{0, spec.Second, -spec.Second, spec.Hour, -spec.Hour, 3 * spec.Hour, -3 * spec.Hour} {
		var c spec.Clock
		last := c.Show(began, spec.Minute)
		if last != began {
			t.Fatalf("it begins at %v", last)
		}
		for second := spec.Second; second <= 2*spec.Hour+2*spec.Second; second += spec.Second {
			machine := began.Add(set + second)
			now := c.Show(machine, spec.Minute+second)
			passed := now.Sub(last)
			switch leaps := set > spec.MaxDrift || set < -spec.MaxDrift; {
			case leaps && now != machine, second > 2*spec.Hour && now != machine:
				t.Fatalf("set by %v: after %v it shows %v, the machine %v", set, second, now.Std(), machine.Std())
			case !leaps && (passed < spec.Second/2 || passed > 3*spec.Second/2):
				t.Fatalf("set by %v: %v pass in the second after %v", set, passed, second)
			}
			last = now
		}
	}
}
