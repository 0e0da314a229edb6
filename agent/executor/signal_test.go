package executor

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"
)

func TestLeavesToDefault(t *testing.T) {
	status := func(nspid string, blocked, ignored, caught uint64) string {
		return fmt.Sprintf("Name:\tsh\nNSpid:\t%s\nSigQ:\t0/7\nShdPnd:\t%016x\nSigBlk:\t%016x\nSigIgn:\t%016x\nSigCgt:\t%016x\n",
			nspid, uint64(1)<<14, blocked, ignored, caught)
	}
	term, rest := uint64(1)<<14, ^(uint64(1) << 14)
	for _, c := range []struct {
		name, status string
		want         bool
	}{
		{"first, nothing set", status("4711\t1", 0, 0, 0), true},
		{"first, all others set", status("4711\t1", rest, rest, rest), true},
		{"first of a nested namespace", status("4711\t12\t1", 0, 0, 0), true},
		{"blocked", status("4711\t1", term, 0, 0), false},
		{"ignored", status("4711\t1", 0, term, 0), false},
		{"caught", status("4711\t1", 0, 0, term), false},
		{"not first", status("4711\t2", 0, 0, 0), false},
		{"no namespace", status("4711", 0, 0, 0), false},
		{"the node's own first", status("1", 0, 0, 0), false},
		{"cut off", "NSpid:\t4711\t1\nSigBlk:\t0000000000000000\n", false},
		{"broken", "NSpid:\t4711\t1\nSigBlk:\tx\nSigIgn:\t0\nSigCgt:\t0\n", false},
		{"empty", "", false},
	} {
		if got := leavesToDefault([]byte(c.status), unix.SIGTERM); got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	if leavesToDefault([]byte(status("4711\t1", 0, 1<<63, 0)), 64) {
		t.Error("the last signal is ignored, but was left to its default")
	}
}

func TestAskedSignalIsTold(t *testing.T) {
	killed := Exit{Code: 137, Signal: 9}
	if got := asked(killed, unix.SIGTERM); got != (Exit{Code: 143, Signal: 15}) {
		t.Errorf("killed for SIGTERM: %+v", got)
	}
	if got := asked(killed, 0); got != killed {
		t.Errorf("killed for nothing: %+v", got)
	}
	// It ended by itself before the kill came.
	if got := asked(Exit{Code: 3}, unix.SIGTERM); got != (Exit{Code: 3}) {
		t.Errorf("ended by itself: %+v", got)
	}
}
