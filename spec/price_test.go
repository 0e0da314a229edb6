package spec_test

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

func TestPrices(t *testing.T) {
	for text, want := range map[string]string{"0.42": "0.42", "12": "12", "1.5": "1.50", "0.0104": "0.0104", "0.000001": "0.000001", "1000000": "1000000", "0": "0", "3.120": "3.12"} {
		if p, err := spec.ParsePrice(text); err != nil || p.String() != want {
			t.Errorf("%s: %s, %v", text, p, err)
		}
	}
	for _, text := range []string{"", "x", "-1", "1.", ".5", "0.0000001", "1000000.1.2", "1e3", "5000000", "+1", "1.-5"} {
		if p, err := spec.ParsePrice(text); err == nil {
			t.Errorf("%q is the price %s", text, p)
		}
	}
	for p, want := range map[spec.Price]string{0: "0", 1_234_567: "1.23", 99_999: "0.10", 12_345: "0.012", 123: "0.00012", 1_995_000: "2", 1_250_000_000: "1250"} {
		if got := p.Rough(); got != want {
			t.Errorf("%d: %s, want %s", p, got, want)
		}
	}
}
