package runc

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/cgroups"
)

// The stages of a start, in order. Those of the library are told apart by what it asks of its cgroup manager.
const (
	stageRoot    = "root"    // the root file system is put together
	stageCreate  = "create"  // the library checks the configuration and makes its files
	stageCgroups = "cgroups" // the cgroups are made
	stageFork    = "fork"    // the program is executed for the first process
	stageInside  = "inside"  // it joins the cgroups, makes the namespaces, starts its Go runtime, and mounts everything
	stageLimits  = "limits"  // limits and device rules are written
	stageSealed  = "sealed"  // the root is changed, paths are masked, rights dropped: the container is parked
	stageExec    = "exec"    // it is released, takes the filter and executes its command
)

// stages measures one start; nil measures nothing.
type stages struct {
	last time.Time
	line strings.Builder
}

// done ends a stage.
func (s *stages) done(name string) {
	if s == nil {
		return
	}
	now := time.Now()
	fmt.Fprintf(&s.line, " %s=%v", name, now.Sub(s.last))
	s.last = now
}

// meter writes the stages of starts.
type meter struct {
	mu   sync.Mutex
	to   io.Writer // nil: nothing is measured
	open map[string]*stages
}

// Measure has a line written for each start: "stages ID", and NAME=DURATION for each stage. Call it before any container is made.
func (r *Runtime) Measure(w io.Writer) {
	r.meter.to, r.meter.open = w, map[string]*stages{}
}

func (m *meter) begin(id string) *stages {
	if m.to == nil {
		return nil
	}
	s := &stages{last: time.Now()}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.open[id] = s
	return s
}

// resume continues a measurement when a container is released.
func (m *meter) resume(id string) *stages {
	if m.to == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if s := m.open[id]; s != nil {
		s.last = time.Now()
		return s
	}
	return nil
}

// end writes the line of a start that went well.
func (m *meter) end(id string, s *stages) {
	if s == nil {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	fmt.Fprintf(m.to, "stages %s%s\n", id, s.line.String())
	delete(m.open, id)
}

func (m *meter) forget(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.open, id)
}

// measured tells the stages of the library apart.
type measured struct {
	cgroups.Manager
	*stages
}

// Apply implements cgroups.Manager: it is called once the first process exists.
func (m measured) Apply(pid int) error {
	m.done(stageFork)
	return m.Manager.Apply(pid)
}

// Set implements cgroups.Manager: it is called once everything is mounted.
func (m measured) Set(res *cgroups.Resources) error {
	m.done(stageInside)
	defer m.done(stageLimits)
	return m.Manager.Set(res)
}
