// Package runc isolates tasks with libcontainer. It is the only importer of libcontainer, and links C: programs other than
// stowage-executor must not import it.
//
// # How a container starts
//
// libcontainer executes the program that links it again, with the argument init, and builds the container from inside. A program
// that imports this package therefore calls Init first thing in main, and Seal next, which moves it into a sealed memory file:
// no task can then reach, and change, the program through /proc, and libcontainer need not copy it for each start.
//
// The last step differs from other users of libcontainer: the command is not executed by its init, but by a few lines of C (run.c)
// that the same program executes before the Go runtime starts. They install the seccomp filter, which was compiled once and not
// for each start, look the command up, and report to the executor why it could not be executed. They run even before the C library,
// whose start takes longer than all that they do.
//
// # The executor's own view
//
// Seal also gives the executor a mount namespace of its own. Root file systems are put together there and thrown away as soon
// as the container holds its copy, so the node's mount table stays as it was, and nothing is left if the executor dies.
//
// # Where the time goes
//
// The greatest part of a start used to be one wait: to move a process between cgroups the kernel takes a lock that waits for an RCU grace
// period, 5 to 20 ms. So nobody moves it: the first process goes into its cgroups by itself, or is born there, which needs no
// lock (join.c). With that a start is work and hardly any waiting. measure.go tells its stages apart, and BenchmarkStages of
// cmd/stowage-executor shows them beside crun and runc. Of some 10 ms half passes inside, where libcontainer's init joins namespaces, starts a
// Go runtime, reads its configuration and mounts, with each path looked up in a way that no link can lead astray.
//
// Starts and their leftovers: stage.go. Into the cgroups: join.go. The roots: root.go. Limits: limits.go, for cgroup v1 and v2. What is denied: seccomp.go.
package runc
