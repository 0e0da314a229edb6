package main

import (
	"context"
	"fmt"
	"testing"

	"github.com/stowage/stowage/agent/executor"
)

// startOnce measures start to exec, then stop and removal without the clock.
func benchmarkStart(b *testing.B, change func(*executor.Spec)) {
	n := newNode(b)
	spec := n.host("warm", "")
	spec.Command = []string{"sleep", "1000"}
	change(&spec)
	ctx := context.Background()
	for i := 0; b.Loop(); i++ {
		spec.ID = fmt.Sprintf("c%d", i)
		if _, err := n.client.Start(ctx, spec); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		if err := n.client.Delete(ctx, spec.ID); err != nil {
			b.Fatal(err)
		}
		b.StartTimer()
	}
}

// BenchmarkStart is one container after the other: limits, network namespace, masks, read-only host root, seccomp.
func BenchmarkStart(b *testing.B) { benchmarkStart(b, func(*executor.Spec) {}) }

// BenchmarkStartUnconfined leaves out the seccomp filter.
func BenchmarkStartUnconfined(b *testing.B) {
	benchmarkStart(b, func(s *executor.Spec) { s.Unconfined = true })
}

// BenchmarkStartOverlay has a writable root.
func BenchmarkStartOverlay(b *testing.B) {
	dir := b.TempDir()
	benchmarkStart(b, func(s *executor.Spec) { s.Root.Writable = dir + "/upper" })
}
