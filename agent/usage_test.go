package agent

import "testing"

func TestBusyTime(t *testing.T) {
	for text, want := range map[string]uint64{
		"cpu  1 2 3 1000 500 4 5 6 1 1\ncpu0 9 9 9": 21 * tick,
		"cpu  1 2 x": 0,
		"":           0,
	} {
		if got := parseBusy([]byte(text)); got != want {
			t.Errorf("%q: %d, not %d", text, got, want)
		}
	}
	if used, total := memoryInUse(); used <= 0 || total <= used {
		t.Errorf("of %d bytes %d are in use", total, used)
	}
}
