// Package agent is the node daemon: a shell around the pure core of reconcile/node. It turns what happens in the world
// (assignments, exits, check results, the clock) into events, hands them to the core one at a time, and carries out the
// effects that come back.
//
//	link.go       the stream to the master: join, connect, report, reconnect
//	loop.go       the one goroutine that owns the core
//	effects.go    what each effect means on this machine
//	container.go  a task as the executor wants it
//	executor.go   keeps a stowage-executor running and follows its exits
//	identity.go   joins a cluster and renews the certificate
//	memory.go     what survives a restart of the agent, one file per allocation
//	windows.go    logs and exec for people, through the link
//
// The agent can be killed at any moment: containers belong to the executor, and what was decided is on disk before it is
// done. A master that cannot be reached changes nothing.
package agent
