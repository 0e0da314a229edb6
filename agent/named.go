package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
)

// deviceFiles lists the files of the devices that a task has. It is an error if the node no longer has one of them.
func deviceFiles(a *spec.Allocation, n *spec.Node, t *spec.Task) ([]string, error) {
	var files []string
	for _, g := range a.Devices {
		if g.Task != t.Name {
			continue
		}
		i := slices.IndexFunc(n.Devices, func(d spec.Device) bool { return d.Kind == g.Kind && d.ID == g.ID })
		if i < 0 {
			return nil, fmt.Errorf("device %s %s is no longer on this node", g.Kind, g.ID)
		}
		files = append(files, n.Devices[i].Files...)
	}
	slices.Sort(files)
	return slices.Compact(files), nil
}

// taskCores lists the cores that a task has for itself.
func taskCores(a *spec.Allocation, t *spec.Task) []int {
	for _, g := range a.Cores {
		if g.Task == t.Name {
			return g.Cores
		}
	}
	return nil
}

// The variables that tell a task what it has by name.
const (
	deviceVariable = "STOWAGE_DEVICE_" // and the kind: STOWAGE_DEVICE_GPU=GPU-1,GPU-2
	coresVariable  = "STOWAGE_CORES"   // as in 0-3
)

// namedVariables tells a task which devices and cores it has. What an image says of them is not believed.
func namedVariables(values map[string]string, a *spec.Allocation, t *spec.Task) {
	maps.DeleteFunc(values, func(name, _ string) bool { return strings.HasPrefix(name, deviceVariable) || name == coresVariable })
	for _, g := range a.Devices {
		if g.Task != t.Name {
			continue
		}
		name := deviceVariable + strings.ToUpper(strings.ReplaceAll(g.Kind, "-", "_"))
		if values[name] != "" {
			values[name] += ","
		}
		values[name] += g.ID
	}
	if cores := taskCores(a, t); cores != nil {
		values[coresVariable] = spec.CoreList(cores)
	}
}

// reserveCores keeps all other tasks off the cores that some have for themselves, or lets them back.
func (a *agent) reserveCores(ctx context.Context) error {
	a.reserve.Lock()
	defer a.reserve.Unlock()
	return a.keeper.client.Reserve(ctx, a.catalogue.cores())
}

// logReserve logs that the executor refused. One that cannot be reached is told when it is back.
func (a *agent) logReserve(err error) {
	var refused *executor.Error
	if errors.As(err, &refused) {
		a.log.Error("cores cannot be reserved", "error", err)
	}
}
