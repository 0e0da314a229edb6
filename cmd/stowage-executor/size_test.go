package main

import (
	"os"
	"testing"
)

// maxProgram is how large the executor may be, in bytes. Each start of a container executes it, and it is in memory on every node: what it
// does not need, such as TLS, HTTP or a language, it must not import, not by way of others either. See go list -deps.
const maxProgram = 8 << 20

func TestProgramIsSmall(t *testing.T) {
	info, err := os.Stat(build(t))
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() > maxProgram {
		t.Errorf("the executor is %.1f MiB large, more than %d MiB: find what it imports now with go list -deps", float64(info.Size())/(1<<20), maxProgram>>20)
	}
}
