package main

import (
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/stowage/stowage/plugins/conformance"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/spec"
)

// The program is built, checked and run as a master would, and passes the suite that the built-in policies pass.
func TestTheBuiltProgramConforms(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy-binpack")
	if out, err := exec.Command("go", "build", "-o", file, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(program)
	h, err := host.New(host.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	}()
	for _, args := range [][]string{nil, {"spread"}} {
		p := spec.Plugin{Name: "pack", Kind: spec.PluginPolicy, Command: file, Args: args, SHA256: hex.EncodeToString(sum[:])}
		for _, c := range conformance.Policy(conformance.PolicySubject{Policy: h.Policy(p)}) {
			if err := c.Check(t.Context()); err != nil {
				t.Errorf("%v: %s: %v", args, c.Name, err)
			}
		}
	}
}
