package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
)

// try is the program of testdata/try, which attempts one thing.
var try struct {
	once sync.Once
	err  error
}

// tryProgram builds it, beside the executor.
func tryProgram(t testing.TB) string {
	t.Helper()
	path := filepath.Join(filepath.Dir(build(t)), "try")
	try.once.Do(func() {
		cmd := exec.Command("go", "build", "-o", path, "./testdata/try")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			try.err = fmt.Errorf("build testdata/try: %w\n%s", err, out)
		}
	})
	if try.err != nil {
		t.Fatal(try.err)
	}
	return path
}

// tryLayer is the layer of an image that holds the program alone, as a setuid one.
func (n *node) tryLayer() string {
	n.t.Helper()
	layer := filepath.Join(n.dir, "layer")
	program, err := os.ReadFile(tryProgram(n.t))
	if err != nil {
		n.t.Fatal(err)
	}
	place := filepath.Join(layer, "try")
	if err := errors.Join(os.MkdirAll(layer, 0o755), os.WriteFile(place, program, 0o755), os.Chmod(place, 0o755|os.ModeSetuid)); err != nil {
		n.t.Fatal(err)
	}
	return layer
}
