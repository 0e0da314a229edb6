package reconcile

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/stowage/stowage/reconcile/rollout"
	"github.com/stowage/stowage/spec"
)

// AppHashes are the hashes of one version of an app.
type AppHashes struct {
	Version spec.Hash `json:"version"`
	Runtime spec.Hash `json:"runtime"`
}

// HashApp computes the hashes of an app. It costs some tens of microseconds: who plans the same commit many times
// keeps them in Input.Hashes.
func HashApp(a *spec.App) AppHashes { return AppHashes{a.Hash(), a.RuntimeHash()} }

// HashApps computes the hashes of all apps, for Input.Hashes.
func HashApps(apps []*spec.App) map[spec.AppName]AppHashes {
	all := make(map[spec.AppName]AppHashes, len(apps))
	for _, a := range apps {
		all[a.Name] = HashApp(a)
	}
	return all
}

// hashes are those of an app of Desired.
func (in *Input) hashes(a *spec.App) AppHashes {
	h, ok := in.Hashes[a.Name]
	if !ok {
		h = HashApp(a)
		if original, ok := in.Originals[h.Version]; ok {
			h.Version = original
		}
	}
	return h
}

// HashOf is the hash of an app of Desired, as plans and allocations have it.
func (in *Input) HashOf(a *spec.App) spec.Hash { return in.hashes(a).Version }

// agentHash covers what an agent can tell apart: programs, files and limits, and also checks, stopping, logs and
// restarts, which it changes without a restart. What only the planner reads (count, constraints, update, …) is left
// out, and so is the name.
func (v *version) agentHash() spec.Hash {
	if v.seen != "" {
		return v.seen
	}
	a := v.app
	c := spec.App{Network: a.Network, Restart: a.Restart, Tasks: append([]spec.Task(nil), a.Tasks...)}
	if a.Kind == spec.KindBatch {
		c.Kind = spec.KindBatch
	}
	c.Network.Ports = append([]spec.PortSpec(nil), a.Network.Ports...)
	for i := range c.Network.Ports {
		c.Network.Ports[i].Pos = spec.Pos{}
	}
	for i := range c.Tasks {
		c.Tasks[i].Pos = spec.Pos{}
	}
	b, err := json.Marshal(&c)
	if err != nil {
		panic("reconcile: an app of plain fields does not encode: " + err.Error())
	}
	sum := sha256.Sum256(b)
	v.seen = spec.Hash(hex.EncodeToString(sum[:8]))
	return v.seen
}

func (v *version) runtimeHash() spec.Hash {
	if v.runtime == "" {
		v.runtime = v.app.RuntimeHash()
	}
	return v.runtime
}

// fit says how far one version is from another.
func (v *version) fit(to *version) rollout.Fit {
	switch {
	case v == to:
		return rollout.Current
	case v == nil || to == nil || v.runtimeHash() != to.runtimeHash():
		return rollout.Outdated
	case v.agentHash() == to.agentHash():
		return rollout.Current
	}
	return rollout.InPlace
}

// same reports whether agents could not tell the two versions apart.
func (v *version) same(o *version) bool { return v != nil && o != nil && v.fit(o) == rollout.Current }
