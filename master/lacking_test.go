package master

import (
	"testing"

	"github.com/stowage/stowage/spec"
)

// A slot that works where it must leave has a place: status says what it lacks, and not that it has none.
func TestWhatSlotsLack(t *testing.T) {
	for want, b := range map[string]spec.Blocked{
		"1 slot has no place":                                    {Slots: []int{1}},
		"2 slots must move and cannot yet":                       {Slots: []int{1, 2}, Leaving: 2},
		"1 slot works and cannot be replaced yet":                {Slots: []int{1}, Kept: 1},
		"2 slots have no place, 1 slot must move and cannot yet": {Slots: []int{1, 2, 3}, Leaving: 1},
	} {
		if got := lacking(&b); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
