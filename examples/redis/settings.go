package main

import (
	"fmt"

	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/spec"
)

// The defaults and limits of the block's arguments.
const (
	defaultReplicas = 1
	maxReplicas     = 100
	defaultMemory   = 64 * spec.MiB
	minMemory       = 8 * spec.MiB
	maxMemory       = 1 * spec.TiB
	defaultCPU      = 0.1
	defaultEviction = "allkeys-lru"
)

var evictions = []string{"allkeys-lfu", "allkeys-lru", "allkeys-random", "noeviction", "volatile-lfu", "volatile-lru", "volatile-random", "volatile-ttl"}

// schema is what may stand in the block. Stowage checks a block against it before the driver sees it.
var schema = spec.Schema{
	Description: "A Redis primary and its replicas. The replicas start when the primary is healthy, and follow it when it moves.",
	Arguments: []spec.Argument{
		{Name: "cpu", Type: spec.TypeNumber, Default: defaultCPU, Min: limit(0.001), Max: limit(64),
			Description: "Processor cores of each server."},
		{Name: "eviction", Type: spec.TypeString, Default: defaultEviction, OneOf: evictions,
			Description: "What Redis does when its memory is full; noeviction refuses writes."},
		{Name: "memory", Type: spec.TypeSize, Default: float64(defaultMemory), Min: limit(float64(minMemory)), Max: limit(float64(maxMemory)),
			Description: "Memory for data on each server. The server may use half as much again for its own work."},
		{Name: "persist", Type: spec.TypeBool, Default: false,
			Description: "Whether each write is logged to the server's disk, so that a restart on the same node keeps the data."},
		{Name: "port", Type: spec.TypeNumber, Min: limit(1), Max: limit(65535),
			Description: "A fixed port for the primary; without it, any free one. Replicas always take any free one."},
		{Name: "replicas", Type: spec.TypeNumber, Default: float64(defaultReplicas), Min: limit(0), Max: limit(maxReplicas),
			Description: "Servers that follow the primary, beside it."},
	},
}

func limit(n float64) *float64 { return &n }

// settings is the block, read.
type settings struct {
	name     spec.AppName
	replicas int
	port     int // 0: any
	memory   spec.Bytes
	cpu      spec.MilliCPU
	eviction string
	persist  bool
}

// read takes the arguments out of the block. Types and ranges are checked already; what a schema cannot say is
// checked here, with complaints that point at the argument.
func read(block spec.Framework) (settings, []spec.Diagnostic) {
	s := settings{
		name:     block.Name,
		replicas: int(argument(block, "replicas", float64(defaultReplicas))),
		port:     int(argument(block, "port", 0.0)),
		memory:   spec.Bytes(argument(block, "memory", float64(defaultMemory))),
		cpu:      spec.MilliCPU(argument(block, "cpu", defaultCPU)*1000 + 0.5),
		eviction: argument(block, "eviction", defaultEviction),
		persist:  argument(block, "persist", false),
	}
	var complaints []spec.Diagnostic
	if s.port >= spec.DynamicPortFirst && s.port <= spec.DynamicPortLast {
		complaints = append(complaints, sdk.Complain(block, "port", "Port in the dynamic range",
			fmt.Sprintf("The ports from %d to %d are given to those who ask for any port, so %d could be taken when the primary moves. Choose a port outside this range, or leave it out.",
				spec.DynamicPortFirst, spec.DynamicPortLast, s.port)))
	}
	if n := argument(block, "replicas", float64(defaultReplicas)); n != float64(s.replicas) || n < 0 || n > maxReplicas {
		complaints = append(complaints, sdk.Complain(block, "replicas", "Not a whole number",
			fmt.Sprintf("There cannot be %v replicas. Write a whole number from 0 to %d.", n, maxReplicas)))
	}
	return s, complaints
}

// argument returns what was written, or the default where nothing was.
func argument[T any](block spec.Framework, name string, otherwise T) T {
	if v, ok := block.Config[name].(T); ok {
		return v
	}
	return otherwise
}
