package executor

import "os"

// Stdio is what a process reads and writes. A nil file is /dev/null.
type Stdio struct{ In, Out, Err *os.File }

// Runtime makes isolated processes. Package runc implements it with containers; tests of the server with plain processes. The
// processes must be children of the caller, who waits for them; the Runtime does not.
type Runtime interface {
	// Prepare isolates and limits a container and parks it before its command. It runs on the given cores only; nil: on any.
	// stdio is the task's, and stays the caller's to close. With park it may wait for long, and ends with the executor; without, it is
	// released next, if need be by the next executor.
	Prepare(spec *Spec, cores []int, stdio Stdio, park bool) (pid int, err error)
	// SetCores lets a container run on the given cores only, which are at least one, from now on.
	SetCores(spec *Spec, cores []int) error
	// Release lets a prepared container execute its command, and returns once it does. Releasing one that runs already is no
	// error, and cheap. An error with CodeCommand means that the command could not be executed, one with CodeState that the container
	// would be another one were it made now.
	Release(id string) error
	// Exec starts a process inside a running container. With a terminal, the returned file is its other end and stdio is
	// not used.
	Exec(spec *Spec, exec *ExecSpec, stdio Stdio) (pid int, terminal *os.File, err error)
	// Stats reads what a container uses.
	Stats(spec *Spec) (Stats, error)
	// Remove kills what is left of a container, and removes its cgroups, mounts and files. What does not exist is no error.
	Remove(spec *Spec) error
}
