package master

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/host"
	"github.com/stowage/stowage/reconcile/control"
	"github.com/stowage/stowage/spec"
)

// keeper asks plugins on behalf of one term, outside of its loop, and sees to it that those run that are used and no
// others.
type keeper struct {
	term *term
	wake chan struct{}
	wg   sync.WaitGroup // of questions; waited for when the loop has ended

	mu       sync.Mutex
	blocks   map[question]*asking
	wanted   []spec.Plugin // policies, as the core names them
	drivers  []spec.Plugin // of the followed and the waiting revision
	follows  *control.Followed
	waits    *control.Pending
	told     map[string]string // by policy: what the core was told last
	reviewed bool              // the host has been told of these lists
}

// question names what is asked about: a block as one commit has it.
type question struct {
	commit spec.Commit
	block  spec.AppName
}

// asking is one block: the newest question, and how the last one was answered.
type asking struct {
	plugin spec.Plugin
	last   *plugins.Question
	next   *plugins.Question // not yet asked
	busy   bool
	held   bool
}

func newKeeper(t *term) *keeper {
	return &keeper{term: t, wake: make(chan struct{}, 1), blocks: map[question]*asking{}, told: map[string]string{}}
}

func (k *keeper) nudge() {
	select {
	case k.wake <- struct{}{}:
	default:
	}
}

// expand asks a driver. It runs on the loop's goroutine and returns at once.
func (k *keeper) expand(core *control.Core, e control.Expand) {
	q := plugins.About(e.Block, e.Owned, core.State().Versions, core.Nodes())
	k.mu.Lock()
	defer k.mu.Unlock()
	at := question{e.Commit, e.Block.Name}
	a := k.blocks[at]
	if a == nil {
		a = &asking{}
		k.blocks[at] = a
	}
	a.plugin, a.next = e.Plugin, q
	k.begin(at, a)
}

// begin has a block's question asked unless one is under way. The lock is held.
func (k *keeper) begin(at question, a *asking) {
	if !a.busy {
		a.busy = true
		k.wg.Go(func() { k.ask(at, a) })
	}
}

// ask asks until the newest question is answered.
func (k *keeper) ask(at question, a *asking) {
	ctx, cancel := k.term.context()
	defer cancel()
	for {
		k.mu.Lock()
		q, p := a.next, a.plugin
		if q == nil || ctx.Err() != nil {
			a.busy = false
			k.mu.Unlock()
			return
		}
		a.next, a.last = nil, q
		k.mu.Unlock()
		x := k.term.master.host.Expand(ctx, p, q)
		k.mu.Lock()
		a.held = x.Held != ""
		k.mu.Unlock()
		if k.term.post(ctx, message{event: control.Expanded{Commit: at.commit, Expansion: x}}) != nil {
			cancel()
		}
	}
}

// context is one that ends with the term.
func (t *term) context() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		select {
		case <-t.over:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// policies takes the core's word on which policy plugins are used.
func (k *keeper) policies(_ *control.Core, wanted []spec.Plugin) {
	k.mu.Lock()
	k.wanted, k.reviewed = wanted, false
	k.mu.Unlock()
	k.nudge()
}

// used notes which revisions count after a record, for the framework drivers that they name.
func (k *keeper) used(core *control.Core) {
	s := core.State()
	if s.Following == k.follows && s.Pending == k.waits {
		return
	}
	k.follows, k.waits = s.Following, s.Pending
	var drivers []spec.Plugin
	if s.Following != nil {
		drivers = append(drivers, s.Following.Revision.Cluster.Plugins...)
	}
	if s.Pending != nil {
		drivers = append(drivers, s.Pending.Revision.Cluster.Plugins...)
	}
	drivers = slices.DeleteFunc(drivers, func(p spec.Plugin) bool { return p.Kind != spec.PluginFramework })
	k.mu.Lock()
	k.drivers, k.reviewed = drivers, false
	for at := range k.blocks {
		followed := s.Following != nil && s.Following.Revision.Commit == at.commit
		waits := s.Pending != nil && s.Pending.Revision.Commit == at.commit
		if !followed && !waits && !k.blocks[at].busy {
			delete(k.blocks, at)
		}
	}
	k.mu.Unlock()
	k.nudge()
}

// run keeps the host's plugins as they are wanted, and tells the core how policies are, until ctx ends.
func (k *keeper) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.wake:
			k.review()
		case <-k.term.master.host.Changed():
			k.again()
		}
		k.tell(ctx)
		k.term.master.touch()
	}
}

// review starts what is wanted and stops the rest.
func (k *keeper) review() {
	k.mu.Lock()
	wanted := slices.Concat(k.wanted, k.drivers)
	for _, a := range k.blocks {
		wanted = append(wanted, a.plugin)
	}
	done := k.reviewed
	k.reviewed = true
	k.mu.Unlock()
	if !done {
		k.term.master.host.Retain(wanted)
	}
}

// again asks about blocks whose driver has come or gone: those that are held may go on, and those of a driver that does
// not run are held from now on, with the reason.
func (k *keeper) again() {
	states := k.term.master.host.List()
	k.mu.Lock()
	defer k.mu.Unlock()
	for at, a := range k.blocks {
		down := slices.ContainsFunc(states, func(s host.State) bool {
			return s.Name == a.plugin.Name && s.Kind == a.plugin.Kind && s.Phase == host.Waiting
		})
		if (a.held || down) && a.last != nil {
			if a.next == nil {
				a.next = a.last
			}
			k.begin(at, a)
		}
	}
}

// tell tells the core how the policies are that it wants, where that changed.
func (k *keeper) tell(ctx context.Context) {
	m := k.term.master
	states := m.host.List()
	k.mu.Lock()
	wanted := k.wanted
	k.mu.Unlock()
	for _, p := range wanted {
		var ev control.Event = control.PolicyDown{Name: p.Name, Reason: "it has not started yet"}
		word := "starting"
		i := slices.IndexFunc(states, func(s host.State) bool {
			return s.Name == p.Name && s.Kind == p.Kind && (s.SHA256 == "" || s.SHA256 == p.SHA256 || s.Override != "")
		})
		switch {
		case i < 0:
		case states[i].Phase == host.Running:
			word = "up " + m.host.Version(p)
			ev = control.PolicyUp{Name: p.Name, Version: m.host.Version(p), Policy: m.host.Policy(p)}
		case states[i].LastError != "" || states[i].Phase == host.Waiting:
			word = "down " + states[i].LastError
			ev = control.PolicyDown{Name: p.Name, Reason: cmp.Or(states[i].LastError, "it does not run")}
		default:
			continue // it starts; the core waits for an answer
		}
		if k.told[p.Name] == word {
			continue
		}
		k.told[p.Name] = word
		if k.term.post(ctx, message{event: ev}) != nil {
			return
		}
	}
}
