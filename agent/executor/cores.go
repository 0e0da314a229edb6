package executor

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"golang.org/x/sys/unix"
)

// cores is who runs where: containers whose spec names cores run on those, all others on what nobody has reserved.
type cores struct {
	change   sync.Mutex // one change at a time
	all      []int      // that the executor itself may use
	reserved []int      // guarded by Server.mu
}

// others lists the cores for containers that have none of their own; nil while nothing is reserved: then they may run anywhere.
func (c *cores) others() []int {
	if len(c.reserved) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(c.all), func(n int) bool { return slices.Contains(c.reserved, n) })
}

// coresFile keeps what is reserved for the next executor.
const coresFile = "cores.json"

// openCores finds out what the executor may use, and what the one before had reserved.
func (s *Server) openCores() error {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return fmt.Errorf("ask for the cpu affinity: %w", err)
	}
	for n := range len(set) * 64 {
		if set.IsSet(n) {
			s.cores.all = append(s.cores.all, n)
		}
	}
	data, err := os.ReadFile(filepath.Join(s.store.dir, coresFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("read reserved cores: %w", err)
	}
	if json.Unmarshal(data, &s.cores.reserved) != nil {
		// Power was lost while it was written, and with it everybody who ran on those cores. The agent tells them again.
		s.cores.reserved = nil
	}
	return nil
}

// reserve changes which cores belong to containers whose spec names them, and moves all others off them, or lets them back.
func (s *Server) reserve(list []int) error {
	list = slices.Compact(slices.Sorted(slices.Values(list)))
	s.cores.change.Lock()
	defer s.cores.change.Unlock()
	s.mu.Lock()
	same := slices.Equal(list, s.cores.reserved)
	s.mu.Unlock()
	if same {
		return nil
	}
	if !s.features.Cores {
		return Errorf(CodeUnsupported, "cores cannot be reserved: the cgroup controller cpuset is not available")
	}
	data, err := json.Marshal(list)
	if err != nil {
		return fmt.Errorf("encode reserved cores: %w", err)
	}
	name := filepath.Join(s.store.dir, coresFile)
	if err := os.WriteFile(name+".new", data, 0o600); err != nil {
		return fmt.Errorf("write reserved cores: %w", err)
	}
	if err := os.Rename(name+".new", name); err != nil {
		return fmt.Errorf("write reserved cores: %w", err)
	}
	s.mu.Lock()
	s.cores.reserved = list
	others := s.cores.others()
	if others == nil {
		others = s.cores.all
	}
	var ids []string
	for id, t := range s.tasks {
		if t.container.State == StateCreated || t.container.State == StateRunning {
			ids = append(ids, id)
		}
	}
	s.mu.Unlock()
	slices.Sort(ids)
	var errs []error
	for _, id := range ids {
		if spec, err := s.store.spec(id); err == nil && len(spec.Cores) == 0 {
			errs = append(errs, s.moveTo(spec, others))
		}
	}
	return errors.Join(errs...)
}

// moveTo changes the cores of a container that runs. One that ends meanwhile needs none.
func (s *Server) moveTo(spec *Spec, list []int) error {
	if len(list) == 0 {
		return Errorf(CodeState, "container %q has no core to run on: all are reserved", spec.ID)
	}
	err := s.runtime.SetCores(spec, list)
	if t, gone := s.find(spec.ID); gone != nil || s.state(t) == StateExited {
		return nil
	}
	return err
}

// coresFor returns the cores that a new container gets; nil: any.
func (s *Server) coresFor(spec *Spec) ([]int, error) {
	if len(spec.Cores) > 0 {
		if !s.features.Cores {
			return nil, Errorf(CodeUnsupported, "container %q: this node cannot give cores to one task alone: the cgroup controller cpuset is not available", spec.ID)
		}
		return spec.Cores, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	others := s.cores.others()
	if others != nil && len(others) == 0 {
		return nil, Errorf(CodeState, "container %q has no core to run on: all are reserved", spec.ID)
	}
	return others, nil
}

// settle brings a new container up to date with what was reserved while it was made.
func (s *Server) settle(spec *Spec, given []int) error {
	if len(spec.Cores) > 0 {
		return nil
	}
	s.mu.Lock()
	now := s.cores.others()
	if now == nil && given != nil {
		now = s.cores.all
	}
	s.mu.Unlock()
	if slices.Equal(now, given) {
		return nil
	}
	return s.moveTo(spec, now)
}
