package main

import (
	"slices"
	"strconv"

	"github.com/stowage/stowage/spec"
)

const (
	taskName = "server"
	portName = "redis"
	// dataFolder exists in the node's root, and is writable in the allocation's own layer: files there live as long as
	// the allocation, over restarts of the task.
	dataFolder = "/var/lib"
	// apart is how strongly a replica avoids the primary's node: a wish, so that one node is enough to try it out.
	apart = -50
	// even is how strongly the replicas of one primary keep to different nodes.
	even = 50
	// healthyFor is shorter than the language's default: a server that answers its check has all it needs.
	healthyFor = 2 * spec.Second
)

// primary is the app of the server that takes writes.
func (s settings) primary() *spec.App {
	app := s.server(s.primaryName(), 1, nil)
	app.Network.Ports[0].Static = s.port
	app.Tasks[0].Checks = []spec.Check{s.check("ready", `ping | grep -q PONG`)}
	return app
}

// replica is the app of the servers that follow the one at that address. A replica is healthy when it has all the
// data: a rollout to a new primary goes on to the next replica only then.
func (s settings) replica(leader address) *spec.App {
	app := s.server(s.replicaName(), s.replicas, []string{"--replicaof", leader.host, strconv.Itoa(leader.port)})
	app.Tasks[0].Checks = []spec.Check{s.check("following", `info replication | grep -q master_link_status:up`)}
	// On the way down replicas stop first. On the way up the driver itself has waited.
	app.DependsOn = []spec.Dependency{{App: s.primaryName()}}
	app.Affinities = []spec.Affinity{{App: s.primaryName(), Weight: apart}}
	app.Spreads = []spec.Spread{{Attribute: "node.id", Weight: even}}
	return app
}

func (s settings) server(name spec.AppName, count int, more []string) *spec.App {
	appendonly := "no"
	if s.persist {
		appendonly = "yes"
	}
	command := append([]string{"redis-server",
		"--bind", "${node.address}", "--port", "${port." + portName + "}", "--protected-mode", "no",
		"--maxmemory", strconv.FormatInt(int64(s.memory), 10), "--maxmemory-policy", s.eviction,
		"--dir", dataFolder, "--save", "", "--appendonly", appendonly,
		"--repl-diskless-sync-delay", "0", // Redis would wait five seconds for more replicas before it sends the first its data
	}, more...)
	return &spec.App{
		Name:    name,
		Count:   count,
		Update:  spec.Update{HealthyFor: healthyFor, AutoPromote: true, AutoRevert: true},
		Network: spec.Network{Mode: spec.NetworkHost, Ports: []spec.PortSpec{{Name: portName}}},
		Tasks: []spec.Task{{
			Name:    taskName,
			Rootfs:  spec.RootfsHost,
			Command: command,
			Env:     map[string]string{"REDIS_HOST": "${node.address}", "REDIS_PORT": "${port." + portName + "}"},
			CPU:     s.cpu,
			Memory:  s.memory + s.memory/2 + 16*spec.MiB,
		}},
	}
}

// check asks the task's own server with redis-cli.
func (s settings) check(name, question string) spec.Check {
	return spec.Check{Name: name, Type: spec.CheckExec, Gate: true, Interval: 2 * spec.Second,
		Command: []string{"/bin/sh", "-c", `redis-cli -h "$REDIS_HOST" -p "$REDIS_PORT" ` + question}}
}

// leaderOf reads back which address a replica's app was given.
func leaderOf(app *spec.App) (address, bool) {
	if len(app.Tasks) != 1 {
		return address{}, false
	}
	command := app.Tasks[0].Command
	i := slices.Index(command, "--replicaof")
	if i < 0 || i+2 >= len(command) {
		return address{}, false
	}
	port, err := strconv.Atoi(command[i+2])
	return address{command[i+1], port}, err == nil && command[i+1] != ""
}
