package runc

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/opencontainers/runc/libcontainer/utils"
	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/spec"
	"golang.org/x/sys/unix"
)

// releaseTime is how long a container that was left parked may take to notice that it is released.
const releaseTime = 10 * time.Second

// lookAgain is the pause between looks at a container that does not say that it is released.
const lookAgain = 50 * time.Millisecond

// quietLog is the number of logrus for errors: the stages of a start have twenty lines to say about one that goes well.
const quietLog = "2"

// Runtime makes containers. It is safe for concurrent use.
type Runtime struct {
	dir      string // below it: run/ID, state/ID (libcontainer's), skeleton, dev
	parent   string // cgroup of all containers, below the root of every hierarchy
	skeleton string
	folders  []string // program folders to mount
	dev      string   // ready-made /dev; empty without root
	masked   []string
	readonly []string
	maxFiles uint64

	rootless    bool
	cgroup      int               // version; 0: no limits
	controllers []string          // of version 2, that containers can have
	given       string            // cgroup of version 2 below which all happens; "": the root
	roots       map[string]string // of the cgroup hierarchies, by controller
	swapCounted bool
	own         uint64 // capabilities, as a mask
	features    executor.Features
	filters     filters
	meter       meter

	mu     sync.Mutex
	parked map[string]*parked
	kept   map[string]*kept // by writable layer
	seen   [2]time.Time     // when the files of changing were changed
	// prune is held for writing while empty parent cgroups are removed, for reading while new ones appear below them.
	prune   sync.RWMutex
	protect sync.Mutex // held while the memory.low of parent cgroups is added up
}

// parked is a container between Prepare and Release.
type parked struct {
	pid    int
	thread int      // that started it, and ends
	status *os.File // brings why the command could not be executed, or its end
	hold   *os.File // lets one go on that was parked for later; nil: it waits at its FIFO
	spec   *executor.Spec
	who    identity
	// sources are of its mounts, in their order; only of one that is parked for later.
	sources []source
}

// New prepares a node for containers, with its files below dir and their cgroups below parent. Only one Runtime uses a dir.
func New(dir, parent, version string) (*Runtime, error) {
	if !filepath.IsLocal(parent) {
		return nil, fmt.Errorf("cgroup parent %q: use a relative path without dots", parent)
	}
	if err := checkStatic(); err != nil {
		return nil, err
	}
	r := &Runtime{
		dir: dir, parent: parent, skeleton: filepath.Join(dir, "skeleton"), rootless: os.Geteuid() != 0,
		masked: onNode(spec.DefaultMasked), readonly: onNode(spec.DefaultReadOnly), parked: map[string]*parked{}, kept: map[string]*kept{},
	}
	for _, d := range []string{dir, filepath.Join(dir, "run"), filepath.Join(dir, "state")} {
		if err := os.MkdirAll(d, 0o711); err != nil {
			return nil, fmt.Errorf("make runtime folder: %w", err)
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return nil, fmt.Errorf("read limit of open files: %w", err)
	}
	r.maxFiles = limit.Max
	if err := r.furnish(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	r.detect(version)
	if err := r.hierarchies(); err != nil {
		return nil, errors.Join(err, r.Close())
	}
	return r, nil
}

// furnish makes what all containers share.
func (r *Runtime) furnish() error {
	if !r.rootless {
		if err := mountMemory(r.skeleton); err != nil {
			return err
		}
		r.dev = filepath.Join(r.dir, "dev")
		if err := makeDev(r.dev); err != nil {
			return err
		}
	}
	var err error
	r.folders, err = makeSkeleton(r.skeleton)
	return err
}

// Features says what containers can have on this node.
func (r *Runtime) Features() executor.Features { return r.features }

// Close removes what New made: the shared file systems, and the parent cgroup if no container is left in it.
func (r *Runtime) Close() error {
	if !r.rootless {
		for _, dir := range []string{r.skeleton, r.dev} {
			if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil && err != unix.EINVAL && err != unix.ENOENT {
				return fmt.Errorf("unmount %s: %w", dir, err)
			}
		}
	}
	r.removeParents(filepath.Join("/", r.parent))
	return nil
}

func (r *Runtime) runDir(id string) string { return filepath.Join(r.dir, "run", id) }
func (r *Runtime) stateDir() string        { return filepath.Join(r.dir, "state") }

// Prepare implements executor.Runtime.
func (r *Runtime) Prepare(spec *executor.Spec, cores []int, stdio executor.Stdio, park bool) (int, error) {
	if err := r.supports(spec); err != nil {
		return 0, err
	}
	r.prune.RLock()
	defer r.prune.RUnlock()
	if err := r.refresh(); err != nil {
		return 0, err
	}
	stages := r.meter.begin(spec.ID)
	rt, err := r.makeRoot(spec, r.runDir(spec.ID))
	if err != nil {
		return 0, err
	}
	stages.done(stageRoot)
	pid, err := r.create(spec, rt, cores, stdio, park, stages)
	return pid, errors.Join(err, rt.release())
}

// create builds the container and parks it.
func (r *Runtime) create(spec *executor.Spec, rt root, cores []int, stdio executor.Stdio, park bool, stages *stages) (int, error) {
	who, err := identify(spec.User, spec.Groups, rt.path)
	if err != nil {
		return 0, err
	}
	if spec.UserNamespace && !r.rootless {
		if err := reachable(rt.path); err != nil {
			return 0, err
		}
	}
	extra, err := hostDevices(spec)
	if err != nil {
		return 0, err
	}
	resources := r.limits(spec)
	if err := throttles(resources, spec); err != nil {
		return 0, err
	}
	var sources []source
	if park { // before they are mounted: what is replaced meanwhile differs at the release
		if sources, err = sourcesOf(spec); err != nil {
			return 0, err
		}
	}
	config := r.config(spec, rt, cores, extra, resources)
	if err := own(config, rt, who, stdio); err != nil {
		return 0, err
	}
	container, err := libcontainer.Create(r.stateDir(), spec.ID, config)
	if err != nil {
		return 0, fmt.Errorf("create container: %w", err)
	}
	stages.done(stageCreate)
	list, err := r.joinOwn(container, stages)
	if err != nil {
		return 0, err
	}
	defer list.Close()
	p := &parked{spec: spec, who: who, sources: sources}
	var held *os.File
	if park {
		if held, p.hold, err = os.Pipe(); err != nil {
			return 0, fmt.Errorf("make pipe to release by: %w", err)
		}
		defer held.Close()
	}
	process, status, err := r.process(spec, who, spec.Command, environment(spec.Env), stdio, list, held)
	if err != nil {
		return 0, errors.Join(err, p.close())
	}
	p.status = status
	process.Init = true
	process.Cwd = orRoot(spec.Dir)
	p.pid, p.thread, err = startInit(func() (int, error) {
		if err := container.Start(process); err != nil {
			return 0, fmt.Errorf("start container: %w", err)
		}
		return process.Pid()
	})
	process.ExtraFiles[1].Close()
	if err == nil && park {
		err = r.parkOn(p)
	}
	if err != nil {
		return 0, errors.Join(err, p.close())
	}
	stages.done(stageSealed)
	r.protectParents(spec)
	r.mu.Lock()
	r.parked[spec.ID] = p
	r.mu.Unlock()
	return p.pid, nil
}

// own lets the user of a task reopen its output by name, as /dev/stdout, and gives a mapped root its root folder.
func own(config *configs.Config, rt root, who identity, stdio executor.Stdio) error {
	uid, err := config.HostUID(who.uid)
	if err != nil {
		return executor.Errorf(executor.CodeInvalid, "user %d is not mapped: %v", who.uid, err)
	}
	gid, err := config.HostGID(who.gid)
	if err != nil {
		return executor.Errorf(executor.CodeInvalid, "group %d is not mapped: %v", who.gid, err)
	}
	for _, f := range []*os.File{stdio.Out, stdio.Err} {
		if f != nil && (uid != 0 || gid != 0) && !config.RootlessEUID {
			if err := f.Chown(uid, gid); err != nil {
				return fmt.Errorf("give output to the task: %w", err)
			}
		}
	}
	if rt.mounted && rt.writable && len(config.UIDMappings) > 0 {
		if err := os.Chown(rt.path, int(config.UIDMappings[0].HostID), int(config.GIDMappings[0].HostID)); err != nil {
			return fmt.Errorf("give root to the container: %w", err)
		}
	}
	return nil
}

// reachable says whether the users of a user namespace, who are nobody on the node, can get to a root.
func reachable(path string) error {
	for dir := filepath.Dir(path); ; dir = filepath.Dir(dir) {
		info, err := os.Stat(dir)
		if err != nil {
			return fmt.Errorf("look at root: %w", err)
		}
		if info.Mode().Perm()&0o001 == 0 {
			return executor.Errorf(executor.CodeUnsupported, "a container with a user namespace cannot pass the folder %s: chmod o+x it, or let the agent have its data elsewhere (stowage agent --data)", dir)
		}
		if dir == "/" {
			return nil
		}
	}
}

func orRoot(dir string) string {
	if dir == "" {
		return "/"
	}
	return dir
}

// process describes a process that joins the cgroups of a list, and whose command is executed by run.c, once held brings a byte if there is
// one. ExtraFiles are its descriptors 3 to 6; the second is the caller's to close.
func (r *Runtime) process(spec *executor.Spec, who identity, command, env []string, stdio executor.Stdio, list, held *os.File) (*libcontainer.Process, *os.File, error) {
	filter, err := r.filters.get(spec)
	if err != nil {
		return nil, nil, err
	}
	status, report, err := os.Pipe()
	if err != nil {
		return nil, nil, fmt.Errorf("make status pipe: %w", err)
	}
	p := &libcontainer.Process{
		Args:             append([]string{"/proc/self/exe", "stowage-run"}, command...),
		Env:              env,
		UID:              who.uid,
		GID:              who.gid,
		AdditionalGroups: who.groups,
		ExtraFiles:       []*os.File{filter, report, list},
		LogLevel:         quietLog,
	}
	if held != nil {
		p.Args[1] += "-parked"
		p.ExtraFiles = append(p.ExtraFiles, held)
	}
	if r.rootless {
		p.AdditionalGroups = nil
	}
	if spec.NewPrivileges && !spec.Unconfined {
		filterFirst(p, who, spec)
	}
	// A nil *os.File in an interface is not nil.
	if stdio.In != nil {
		p.Stdin = stdio.In
	}
	if stdio.Out != nil {
		p.Stdout = stdio.Out
	}
	if stdio.Err != nil {
		p.Stderr = stdio.Err
	}
	return p, status, nil
}

// Release implements executor.Runtime.
func (r *Runtime) Release(id string) error {
	r.mu.Lock()
	p := r.parked[id]
	delete(r.parked, id)
	r.mu.Unlock()
	if p != nil {
		defer p.close()
		stages := r.meter.resume(id)
		if err := r.letGo(p); err != nil {
			return err
		}
		if err := readStatus(p.status); err != nil {
			return err
		}
		stages.done(stageExec)
		r.meter.end(id, stages)
		return nil
	}
	// An earlier executor parked it, or was about to release it when it died.
	if _, err := os.Lstat(r.fifo(id)); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	container, err := libcontainer.Load(r.stateDir(), id)
	if err != nil {
		return fmt.Errorf("load container: %w", err)
	}
	state, err := container.State()
	if err != nil {
		return fmt.Errorf("read container: %w", err)
	}
	return r.unpark(id, state.InitProcessPid)
}

// fifo is where a parked container waits: it goes on when somebody opens the other end, writes a byte, and executes its command.
func (r *Runtime) fifo(id string) string { return filepath.Join(r.stateDir(), id, "exec.fifo") }

// unpark lets a container go on. After a crash the FIFO may be there although nobody waits at it any more, and a container may die at
// any time, so it is not waited for without a look at the process.
func (r *Runtime) unpark(id string, pid int) error {
	// The process first: opening the FIFO lets it go on, and a short command may have ended, and been waited for, at once.
	process, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return fmt.Errorf("release container: find its process: %w", err)
	}
	defer unix.Close(process)
	reader, err := unix.Open(r.fifo(id), unix.O_RDONLY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("release container: open its fifo: %w", err)
	}
	defer unix.Close(reader)
	for deadline := time.Now().Add(releaseTime); ; {
		poll := []unix.PollFd{{Fd: int32(reader), Events: unix.POLLIN}, {Fd: int32(process), Events: unix.POLLIN}}
		if _, err := unix.Poll(poll, int(lookAgain.Milliseconds())); err != nil && err != unix.EINTR {
			return fmt.Errorf("release container: %w", err)
		}
		switch {
		case poll[0].Revents&unix.POLLIN != 0 || !isParked(pid) && poll[1].Revents == 0:
			if err := os.Remove(r.fifo(id)); err != nil && !errors.Is(err, os.ErrNotExist) {
				return fmt.Errorf("release container: %w", err)
			}
			return nil
		case poll[1].Revents != 0:
			return errors.New("release container: it has died")
		case time.Now().After(deadline):
			return fmt.Errorf("release container: it is still parked after %v", releaseTime)
		}
	}
}

// isParked reports whether a process is still libcontainer's, waiting to be released.
func isParked(pid int) bool {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil || !bytes.HasSuffix(data, []byte("\x00init\x00")) {
		return false
	}
	exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
	return err == nil && strings.HasPrefix(exe, "/memfd:stowage-executor")
}

// readStatus waits until a command is executed, or says why not; see run.c.
func readStatus(status *os.File) error {
	data, err := io.ReadAll(status)
	if err != nil {
		return fmt.Errorf("read status of command: %w", err)
	}
	if len(data) < 2 {
		return nil
	}
	reason := unix.Errno(data[1])
	switch {
	case data[0] == 1:
		return fmt.Errorf("install seccomp filter: %w", reason)
	case data[0] == 3:
		return fmt.Errorf("become the user of the task: %w", reason)
	case reason == unix.ENOENT:
		return executor.Errorf(executor.CodeCommand, executor.NotFound+": it is not in the container, or its interpreter is not")
	}
	return executor.Errorf(executor.CodeCommand, executor.NotExecutable+": %v", reason)
}

// Exec implements executor.Runtime.
func (r *Runtime) Exec(spec *executor.Spec, e *executor.ExecSpec, stdio executor.Stdio) (int, *os.File, error) {
	container, err := libcontainer.Load(r.stateDir(), spec.ID)
	if err != nil {
		return 0, nil, fmt.Errorf("load container: %w", err)
	}
	name := e.User
	if name == "" {
		name = spec.User
	}
	state, err := container.State()
	if err != nil {
		return 0, nil, fmt.Errorf("read container: %w", err)
	}
	rootDir := fmt.Sprintf("/proc/%d/root", state.InitProcessPid)
	who, err := identify(name, spec.Groups, rootDir)
	if err != nil {
		return 0, nil, err
	}
	list, err := r.joinMore(container)
	if err != nil {
		return 0, nil, err
	}
	defer list.Close()
	process, status, err := r.process(spec, who, e.Command, environment(spec.Env, e.Env), stdio, list, nil)
	if err != nil {
		return 0, nil, err
	}
	defer status.Close()
	process.Cwd = orRoot(spec.Dir)
	if e.Dir != "" {
		process.Cwd = e.Dir
	}
	var terminal *os.File
	pid, err := startMore(func() (int, error) {
		if terminal, err = startAttached(container, process, e); err != nil {
			return 0, err
		}
		return process.Pid()
	})
	process.ExtraFiles[1].Close()
	if err != nil {
		return 0, nil, err
	}
	if err := readStatus(status); err != nil {
		if terminal != nil {
			terminal.Close()
		}
		_, _ = process.Wait()
		return 0, nil, err
	}
	return pid, terminal, nil
}

// startAttached starts a process, and returns its terminal if it asks for one.
func startAttached(container *libcontainer.Container, process *libcontainer.Process, e *executor.ExecSpec) (*os.File, error) {
	if !e.Terminal {
		if err := container.Start(process); err != nil {
			return nil, fmt.Errorf("start process: %w", err)
		}
		return nil, nil
	}
	parent, child, err := utils.NewSockPair("console")
	if err != nil {
		return nil, fmt.Errorf("make terminal socket: %w", err)
	}
	defer parent.Close()
	defer child.Close()
	process.ConsoleSocket = child
	process.ConsoleWidth, process.ConsoleHeight = e.Size.Width, e.Size.Height
	if err := container.Start(process); err != nil {
		return nil, fmt.Errorf("start process: %w", err)
	}
	terminal, err := receiveTerminal(parent)
	if err != nil {
		_ = process.Signal(unix.SIGKILL)
		_, _ = process.Wait()
		return nil, fmt.Errorf("receive terminal: %w", err)
	}
	return terminal, nil
}

// receiveTerminal takes the terminal that a process sends.
func receiveTerminal(socket *os.File) (*os.File, error) {
	got, err := utils.RecvFile(socket) //lint:ignore SA1019 the library offers its replacement to itself only
	if err != nil {
		return nil, err
	}
	defer got.Close()
	fd, err := unix.FcntlInt(got.Fd(), unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		return nil, err
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		unix.Close(fd)
		return nil, err
	}
	return os.NewFile(uintptr(fd), "terminal"), nil
}

// Remove implements executor.Runtime.
func (r *Runtime) Remove(spec *executor.Spec) error {
	r.mu.Lock()
	if p := r.parked[spec.ID]; p != nil {
		_ = p.close()
	}
	delete(r.parked, spec.ID)
	r.mu.Unlock()
	r.meter.forget(spec.ID)
	if err := r.removeCgroup(r.cgroupPath(spec)); err != nil {
		return err
	}
	r.protectParents(spec)
	last := r.forgetRoot(spec)
	dirs := []string{filepath.Join(r.stateDir(), spec.ID)}
	if _, err := os.Lstat(r.runDir(spec.ID)); err == nil {
		// Nothing is mounted there unless a start was cut off.
		_ = unix.Unmount(filepath.Join(r.runDir(spec.ID), "root"), unix.MNT_DETACH)
		dirs = append(dirs, r.runDir(spec.ID))
	}
	if spec.Root.Writable != "" && !r.rootless && last {
		dirs = append(dirs, workDir(spec.Root.Writable))
	}
	for _, dir := range dirs {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove container files: %w", err)
		}
	}
	return nil
}
