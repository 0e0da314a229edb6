package plugins

import (
	"context"

	"github.com/stowage/stowage/spec"
)

// Identity is what a plugin says of itself.
type Identity struct {
	Kind    spec.PluginKind `json:"kind"`
	Name    string          `json:"name"`    // as its author calls it; the repository may call it otherwise
	Version string          `json:"version"` // as its author counts it
}

// Framework is the port of framework drivers: it knows what one block of HCL means for a system with a life of its own.
type Framework interface {
	// Schema tells what may stand in the driver's block. It never changes while the driver runs.
	Schema(ctx context.Context) (spec.Schema, error)
	// Expand turns the block into apps, as they should be now. It is level-triggered: it is asked again whenever
	// something that the block owns changes, remembers nothing between two questions, and answers the same to the same
	// question; a stage that has to wait is simply left out (or left as it is) until the owned allocations show that
	// its time has come. An error leaves every app of the block as it is, with the error as the reason.
	Expand(ctx context.Context, q *Question) (*Answer, error)
}

// Question is everything that a framework driver sees: its block and what that block owns.
type Question struct {
	Block       spec.Framework          `json:"block"`
	Allocations []spec.AllocationView   `json:"allocations,omitempty"` // of the apps Name/…, by slot, then generation
	Versions    map[spec.Hash]*spec.App `json:"versions,omitempty"`    // of the apps that Allocations follow
	Nodes       []Node                  `json:"nodes,omitempty"`       // those that Allocations are on, by ID
}

// Node is what a framework driver may know of a node: where it is reached.
type Node struct {
	ID      spec.NodeID `json:"id"`
	Address string      `json:"address"` // an IP address or a host name
}

// Address returns where the node is reached, or "" when nothing owned is there.
func (q *Question) Address(id spec.NodeID) string {
	for _, n := range q.Nodes {
		if n.ID == id {
			return n.Address
		}
	}
	return ""
}

// Answer is what a framework driver makes of a question.
type Answer struct {
	Apps        []*spec.App       `json:"apps"`  // fields left empty get their defaults
	Steps       []spec.Step       `json:"steps"` // in order, those done too
	Diagnostics []spec.Diagnostic `json:"diagnostics,omitempty"`
}

// About narrows a cluster's allocations, versions and nodes down to what the block owns, which is all that its driver
// may see. The allocations' order is kept.
func About(block spec.Framework, all []spec.AllocationView, versions map[spec.Hash]*spec.App, nodes []spec.NodeView) *Question {
	q := &Question{Block: block}
	on := map[spec.NodeID]bool{}
	for _, a := range all {
		if !owns(block.Name, a.App) {
			continue
		}
		q.Allocations = append(q.Allocations, a)
		on[a.Node] = true
		if app := versions[a.Version]; app != nil {
			if q.Versions == nil {
				q.Versions = map[spec.Hash]*spec.App{}
			}
			q.Versions[a.Version] = app
		}
	}
	for i := range nodes {
		if on[nodes[i].ID] {
			q.Nodes = append(q.Nodes, Node{nodes[i].ID, nodes[i].Address})
		}
	}
	return q
}
