// Package executor is what the agent and stowage-executor say to each other, and the server behind it.
//
// One executor process per node owns all containers of that node. It creates, starts, signals and waits for them, captures
// their output and keeps their exit codes. It outlives the agent; the containers outlive both.
//
// # States
//
//	       Prepare                Release
//	(none) ───────► created ───────────────► running ─────► exited ─────► (none)
//	   │               │ dies while parked      ▲             ▲   Delete
//	   │               └────────────────────────┼─────────────┘
//	   └────────────────────────────────────────┘
//	                    Start
//
// States only move forward. Delete is allowed in every state: it kills what is left, and removes cgroups, mounts and records.
//
// A created container is parked: all of it is made but that its command is executed. A Start with the very spec that it was made of releases it, in a
// small part of the time that making it takes; see park.go. It ends with the executor, and what has never run is told apart by having no start.
//
// # Signals
//
// A signal goes to the first process of a container. That one is process 1 of its pid namespace, and for process 1 the kernel leaves
// out default actions: sleep, or a shell without a trap, would ignore SIGTERM in a container although it ends by it anywhere else, and
// every stop would take the whole grace. So the server carries out the default action itself. If a signal's default action is to
// terminate and the first process neither catches, ignores nor blocks it, the container is killed whole, and its exit is told as
// the end by that signal. A process that catches, ignores or blocks a signal gets it as it is, and decides. Stopping from a
// terminal (SIGTSTP, SIGTTIN, SIGTTOU) stays without effect on a first process that does not catch it.
//
// The other duty of process 1, to reap orphans, stays with the task. A task that leaves them as zombies holds nothing but entries of
// its own pids limit, and they end with the container; an init of ours would be one more process in each container, for the few that need it.
// An image or command that starts with an init (tini, dumb-init) works as it is.
//
// # On disk
//
// All state is below one directory, which one executor holds under flock:
//
//	lock                          held while an executor runs
//	containers/ID/spec.json       what was asked for
//	containers/ID/record.json     Container: pid, start time of the pid, state, exit
//	containers/ID/stdout, stderr  FIFOs, which the task itself holds open for reading and writing
//
// Records are replaced by rename. They say which boot they belong to, so that a pid of an earlier boot is never taken for a
// live one. An exit stays on disk until Delete.
//
// # Output
//
// A task writes into FIFOs that it has itself open for reading, so the death of the executor never gives it SIGPIPE; it blocks
// once 64 KiB are waiting (1 MiB, if it has written much), and goes on when the next executor drains them. The executor writes to the log directory of the
// spec: TASK.stdout.0 and TASK.stderr.0 are being written, .1 is the one before, and so on; lines are raw, and a file ends with
// a whole line wherever a line fits into it. What cannot be written (disk full) is dropped and counted in the record.
//
// The kernel moves output from FIFO to file, so that an executor that is killed has none of it. It has, for as long as a write takes, what is cut where a
// file ends. And when the last process of a task ends while there is no executor, what is still in its FIFOs goes with them: to keep it, somebody
// else would have to hold each of them open.
//
// # Wire
//
// A unix socket; one connection for each call, so that a stream is no special case and closing the connection cancels the call.
// A frame is four bytes of length (big-endian), one byte of kind, and the payload: JSON, or the bytes of an exec stream. A call
// names its protocol version; see Version.
package executor
