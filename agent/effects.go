package agent

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/stowage/stowage/agent/executor"
	"github.com/stowage/stowage/agent/image"
	"github.com/stowage/stowage/agent/probe"
	"github.com/stowage/stowage/reconcile/node"
	"github.com/stowage/stowage/spec"
)

// carryOut begins what an effect asks for. Saving is done at once; the rest goes on in the background and answers with an
// event.
func (a *agent) carryOut(ctx context.Context, effect node.Effect) {
	tell := a.tell(ctx)
	switch e := effect.(type) {
	case node.Save:
		a.save(ctx, e)
	case node.Send:
		a.link.report(&e.Report)
	case node.Prepare:
		ctx, done := a.preparations.begin(ctx, e.Allocation.ID)
		a.preparing.run(string(e.Allocation.ID), func() {
			prepared := a.prepare(a.preparing.in(ctx), e)
			done()
			tell(prepared)
		})
	case node.Start:
		a.errands.run(line(e.Run), func() { a.start(a.errands.in(ctx), e, tell) })
	case node.Park:
		a.errands.run(line(e.Run), func() { a.park(a.errands.in(ctx), e) })
	case node.Command:
		a.commands.Go(func() { a.command(ctx, e, tell) }) // not in the line of the run: a kill must not wait for it
	case node.Signal:
		a.errands.run(line(e.Run), func() {
			a.expectGone("signal", e.Run, a.keeper.client.Signal(ctx, e.Run.String(), signalNumber(e.Signal)))
		})
	case node.Kill:
		a.errands.run(line(e.Run), func() { a.expectGone("kill", e.Run, a.keeper.client.Kill(ctx, e.Run.String())) })
	case node.Remove:
		a.errands.run(line(e.Run), func() {
			a.expectGone("remove", e.Run, a.keeper.client.Delete(ctx, e.Run.String()))
			a.full.drop(e.Run.String())
		})
	case node.Probe:
		a.probe(e, tell)
	case node.Unprobe:
		a.prober.Remove(probeID(e.Run, e.Check))
		a.catalogue.unprobed(probeID(e.Run, e.Check))
	case node.Clean:
		a.preparations.end(e.ID) // what it still waits for is of no use
		a.preparing.run(string(e.ID), func() { tell(a.clean(e.ID)) })
	default:
		panic(fmt.Sprintf("agent: no way to carry out %T", effect))
	}
}

// line is where the work of a run stands in line: with that of the other runs of its task, as they share a writable layer.
// The one before has to be removed before the next is started.
func line(run node.Run) string { return string(run.ID) + "/" + string(run.Task) }

// expectGone logs an error unless it says that the container is gone already, or the executor: the core hears of that from
// the next inventory, and asks again.
func (a *agent) expectGone(what string, run node.Run, err error) {
	var refused *executor.Error
	if err != nil && errors.As(err, &refused) && !errors.Is(err, executor.ErrNotFound) {
		a.log.Error("cannot "+what+" a task", "run", run.String(), "error", err)
	}
}

// preparations are under way, each with what ends it.
type preparations struct {
	mu  sync.Mutex
	all map[spec.AllocationID]*context.CancelFunc
}

// begin notes a preparation, in place of one before of the same allocation. done is called when it is over.
func (p *preparations) begin(ctx context.Context, id spec.AllocationID) (prepare context.Context, done func()) {
	prepare, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[spec.AllocationID]*context.CancelFunc{}
	}
	p.all[id] = &cancel
	return prepare, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		cancel()
		if p.all[id] == &cancel { // and not that of the next one
			delete(p.all, id)
		}
	}
}

// end ends the preparation of an allocation, if there is one.
func (p *preparations) end(id spec.AllocationID) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if cancel, ok := p.all[id]; ok {
		(*cancel)()
	}
}

// prepare makes folders and gets images and artifacts ready.
func (a *agent) prepare(ctx context.Context, e node.Prepare) node.Event {
	answer := node.Prepared{ID: e.Allocation.ID}
	err := a.folders.makeFolders(&e.Allocation, e.App)
	if err == nil {
		err = a.folders.noteImages(e.Allocation.ID)
	}
	if err == nil {
		err = a.limitDisk(&e.Allocation, e.App)
	}
	defer a.crowd()
	tellProgress, stop := context.WithCancel(ctx)
	var telling sync.WaitGroup
	telling.Go(func() { a.tellProgress(tellProgress, e) })
	for i := range e.App.Tasks {
		if err == nil {
			var img *image.Image
			if img, err = a.taskImage(ctx, &e.Allocation, &e.App.Tasks[i]); err == nil {
				_, err = a.taskArtifacts(ctx, &e.Allocation, &e.App.Tasks[i], img)
			}
		}
	}
	stop()
	telling.Wait()
	if err != nil {
		answer.Err = err.Error()
	}
	return answer
}

// taskImage returns the unpacked image of a task, or nil for one on the host's root.
func (a *agent) taskImage(ctx context.Context, allocation *spec.Allocation, t *spec.Task) (*image.Image, error) {
	if t.Image == "" {
		return nil, nil
	}
	ref, err := a.sources.ref(ctx, allocation.Commit, t)
	if err != nil {
		return nil, fmt.Errorf("image of task %s: %w", t.Name, err)
	}
	var img image.Image
	aside(ctx, func() { img, err = a.images.Prepare(ctx, ref) })
	if err != nil {
		return nil, fmt.Errorf("image of task %s: %w", t.Name, err)
	}
	if err := a.folders.noteImages(allocation.ID, img.Digest); err != nil {
		return nil, fmt.Errorf("image of task %s: %w", t.Name, err)
	}
	return &img, nil
}

// start runs a container and tells how that went. When the executor cannot be reached nothing is told: the inventory that
// follows says what there is.
func (a *agent) start(ctx context.Context, e node.Start, tell func(node.Event)) {
	c, err := a.startContainer(ctx, e)
	var refused *executor.Error
	switch {
	case errors.Is(err, errReach):
		return
	case errors.As(err, &refused) || err != nil:
		tell(node.Started{Run: e.Run, Err: err.Error()})
		return
	}
	tell(node.Started{Run: e.Run, Pid: c.Pid, At: moment(c.Started)})
	if c.State == executor.StateExited && c.Exit != nil {
		tell(a.folders.exited(e.Run, &c))
	}
}

var errReach = errors.New("the executor cannot be reached")

// describeRun tells the executor what a run of a task is.
func (a *agent) describeRun(ctx context.Context, run node.Run, allocation *spec.Allocation, app *spec.App) (executor.Spec, error) {
	t := findTask(app, run.Task)
	if t == nil {
		return executor.Spec{}, errNoTask(run.ID, app, run.Task)
	}
	img, err := a.taskImage(ctx, allocation, t)
	if err != nil {
		return executor.Spec{}, err
	}
	laid, err := a.taskArtifacts(ctx, allocation, t, img)
	if err != nil {
		return executor.Spec{}, err
	}
	self := a.self()
	container := a.folders.container(run, allocation, app, t, &self, img)
	a.folders.lay(&container, run.ID, t.Name, laid)
	if weak := container.Weak(container.Capabilities); weak != "" && a.cfg.Facts.NoWeak {
		return executor.Spec{}, fmt.Errorf("%s isolates the task less than by default, and this node refuses that (stowage agent --no-weak-isolation)", weak)
	}
	container.Devices, err = deviceFiles(allocation, &self, t)
	return container, err
}

// park makes the next run of a task ready behind the present one. Where that cannot be, the next start makes it.
func (a *agent) park(ctx context.Context, e node.Park) {
	container, err := a.describeRun(ctx, e.Run, &e.Allocation, e.App)
	if err == nil {
		_, err = a.keeper.client.PrepareNext(ctx, container, e.Present.String())
	}
	if err != nil {
		a.log.Debug("the next run of a task is not made ready", "run", e.Run.String(), "error", err)
	}
}

func (a *agent) startContainer(ctx context.Context, e node.Start) (executor.Container, error) {
	if err := a.freshLayer(ctx, e.Run); err != nil {
		return executor.Container{}, err
	}
	container, err := a.describeRun(ctx, e.Run, &e.Allocation, e.App)
	if err != nil {
		return executor.Container{}, err
	}
	if len(container.Cores) > 0 {
		if err := a.reserveCores(ctx); err != nil {
			return executor.Container{}, unlessRefused(err)
		}
	}
	c, err := a.keeper.client.Start(ctx, container)
	if errors.Is(err, executor.ErrExists) {
		c, err = a.keeper.client.Get(ctx, e.Run.String())
	}
	if errors.Is(err, executor.ErrCommand) {
		err = fmt.Errorf("%s: %w", container.Command[0], err)
	}
	return c, unlessRefused(err)
}

// unlessRefused says that the executor could not be reached, unless it was and refused.
func unlessRefused(err error) error {
	var refused *executor.Error
	if err != nil && !errors.As(err, &refused) {
		return fmt.Errorf("%w: %w", errReach, err)
	}
	return err
}

func findTask(app *spec.App, name spec.TaskName) *spec.Task {
	for i := range app.Tasks {
		if app.Tasks[i].Name == name {
			return &app.Tasks[i]
		}
	}
	return nil
}

func probeID(run node.Run, check string) string { return run.String() + "/" + check }

// probe begins a check, or replaces it. It starts from the last verdict: a restart of the agent is no news about its tasks.
func (a *agent) probe(e node.Probe, tell func(node.Event)) {
	self := a.self()
	lookup := reference(&e.Allocation, &self)
	c := probe.Check{ID: probeID(e.Run, e.Check.Name), Check: e.Check, Passing: a.catalogue.passing(e.Run, e.Check.Name)}
	c.Path, c.Command = spec.Expand(c.Path, lookup), expandAll(c.Command, lookup)
	if len(c.Headers) > 0 {
		c.Headers = make(map[string]string, len(e.Check.Headers))
		for name, value := range e.Check.Headers { // any order: copied key by key
			c.Headers[name] = spec.Expand(value, lookup)
		}
	}
	for _, p := range e.Allocation.Ports {
		if p.Name == e.Check.Port {
			c.Address = net.JoinHostPort(self.Address, strconv.Itoa(p.Number))
		}
	}
	c.Exec = func(ctx context.Context, command []string) (int, string, error) {
		var out head
		x, err := a.keeper.client.Exec(ctx, e.Run.String(), executor.ExecSpec{Command: command}, executor.Streams{Stdout: &out, Stderr: &out})
		return x.Code, out.String(), err
	}
	a.prober.Remove(c.ID)
	a.catalogue.probed(c.ID, e.Run)
	if err := a.prober.Add(c); err != nil {
		a.errands.run(line(e.Run), func() { tell(node.Checked{Run: e.Run, Check: e.Check.Name, Output: err.Error(), Row: 1}) })
	}
}

// checked passes a verdict on to the core. It waits while that is busy: a verdict is told once.
func (a *agent) checked(ctx context.Context, r probe.Result) {
	if run, ok := a.catalogue.run(r.ID); ok {
		a.tell(ctx)(node.Checked{Run: run, Check: r.Check, Passing: r.Passing, Output: r.Output, Row: r.Row})
	}
}

// command runs the command of a stop inside its task. When the executor cannot be reached nothing is told: the inventory that follows
// has the core ask again.
func (a *agent) command(ctx context.Context, e node.Command, tell func(node.Event)) {
	self := a.self()
	bounded, cancel := context.WithTimeout(ctx, time.Duration(e.Timeout))
	defer cancel()
	var out head
	x, err := a.keeper.client.Exec(bounded, e.Run.String(), executor.ExecSpec{Command: expandAll(e.Command, reference(&e.Allocation, &self))}, executor.Streams{Stdout: &out, Stderr: &out})
	answer := node.Commanded{Run: e.Run}
	var refused *executor.Error
	switch {
	case bounded.Err() != nil:
		return // the core has counted the time too
	case errors.As(err, &refused):
		answer.Err = err.Error()
	case err != nil:
		return
	case !x.Success():
		answer.Err = strings.TrimSuffix(exit(&x).String()+": "+strings.TrimSpace(out.String()), ": ")
	}
	tell(answer)
}

// clean removes what prepare made.
func (a *agent) clean(id spec.AllocationID) node.Event {
	answer := node.Cleaned{ID: id}
	var removed []func()
	for _, folder := range a.folders.tasks(id) {
		removed = append(removed, a.disk.Forget(folder))
	}
	if err := os.RemoveAll(a.folders.allocation(id)); err != nil {
		answer.Err = err.Error()
		return answer
	}
	for _, f := range removed {
		f()
	}
	return answer
}

// head keeps the beginning of what is written to it.
type head struct {
	mu   sync.Mutex
	text []byte
}

// maxHead is how much of a check's output is kept, in bytes.
const maxHead = 200

// Write keeps what still has room and takes the rest too.
func (h *head) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if room := maxHead - len(h.text); room > 0 {
		h.text = append(h.text, p[:min(room, len(p))]...)
	}
	return len(p), nil
}

// String returns what was kept.
func (h *head) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return string(h.text)
}
