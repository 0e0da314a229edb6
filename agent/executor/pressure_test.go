package executor

import "testing"

func TestPressure(t *testing.T) {
	for text, want := range map[string]float64{
		"some avg10=2.35 avg60=1.00 avg300=0.10 total=5\nfull avg10=9.00 avg60=0.00 avg300=0.00 total=0\n": 2.35,
		"full avg10=9.00 avg60=0.00 avg300=0.00 total=0\n":                                                 0,
		"some avg10=x": 0, "": 0,
	} {
		if got := parsePressure(text); got != want {
			t.Errorf("%q: %v", text, got)
		}
	}
	if p := ReadPressure("/nowhere", ""); p.CPU != 0 || p.Memory != 0 || p.IO != 0 {
		t.Errorf("%+v", p)
	}
}
