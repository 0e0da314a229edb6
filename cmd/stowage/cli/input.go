package cli

import (
	"fmt"
	"os"
	"strings"

	"github.com/stowage/stowage/master/api"
	"github.com/stowage/stowage/reconcile"
	"github.com/stowage/stowage/spec"
	"github.com/stowage/stowage/spec/hcl"
)

// planOffline plans from a saved input: what is in it, or the files of a folder over the state in it.
func (s *shell) planOffline(f *planning, suppose spec.Supposition) (*spec.Plan, error) {
	saved, err := readInput(f.input)
	if err != nil {
		return nil, err
	}
	in := saved.Input
	if f.Tree != nil {
		cluster, list := hcl.Load(f.Tree, hcl.Options{})
		s.diagnostics(s.Stderr, list)
		if cluster == nil {
			return nil, exitCode(exitError)
		}
		in = saved.Over(cluster, "")
	}
	return s.planInput(saved, in, suppose)
}

// planInput plans here what a master would plan.
func (s *shell) planInput(saved *reconcile.Saved, in reconcile.Input, suppose spec.Supposition) (*spec.Plan, error) {
	if missing := saved.Missing(); len(missing) > 0 {
		fmt.Fprintf(s.Stderr, "The scheduling policy %s is a plugin, and no part of a saved input: apps that use it are held in this plan.\n", strings.Join(missing, ", "))
	}
	in, err := reconcile.Suppose(in, suppose)
	if err != nil {
		return nil, err
	}
	plan, _ := reconcile.Plan(in)
	return &plan, nil
}

func readInput(path string) (*reconcile.Saved, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read input: %w: stowage plan --save FILE writes one", err)
	}
	defer file.Close()
	saved, err := api.ReadInput(file)
	if err != nil {
		return nil, fmt.Errorf("read input: %s: %w", path, err)
	}
	return saved, nil
}

// writeInput writes a saved input for its owner only: it has the whole cluster in it.
func writeInput(path string, saved *reconcile.Saved) error {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("save input: %w", err)
	}
	err = api.WriteInput(file, saved)
	if e := file.Close(); err == nil {
		err = e
	}
	if err != nil {
		return fmt.Errorf("save input: %w", err)
	}
	return nil
}
