package main

import (
	"context"
	"fmt"
	"net"
	"strconv"

	"github.com/stowage/stowage/plugins/sdk"
	"github.com/stowage/stowage/spec"
)

// driver turns a block into a primary and its replicas. It has no memory: which stage it is in, it sees from what the
// block owns, so that it may be killed at any moment and asked as often as anybody likes.
//
//	nothing owned              → primary
//	primary healthy            → primary, replicas that follow its address
//	primary no longer healthy  → primary, replicas as they are
//	primary healthy elsewhere  → primary, replicas that follow the new address: an ordinary rollout
type driver struct{}

// Schema implements sdk.Framework.
func (driver) Schema(context.Context) (spec.Schema, error) { return schema, nil }

// Expand implements sdk.Framework.
func (driver) Expand(_ context.Context, q *sdk.Question) (*sdk.Answer, error) {
	s, complaints := read(q.Block)
	if len(complaints) > 0 {
		return &sdk.Answer{Diagnostics: complaints}, nil
	}
	answer := &sdk.Answer{Apps: []*spec.App{s.primary()}}
	leader, healthy := s.leader(q)
	if !healthy {
		leader = s.followed(q)
	}
	first := spec.Step{Title: "primary " + string(s.primaryName()), Done: healthy}
	if healthy {
		first.Detail = "healthy at " + leader.String()
	}
	answer.Steps = append(answer.Steps, first)
	if s.replicas == 0 {
		return answer, nil
	}
	then := spec.Step{Title: fmt.Sprintf("%s × %d, once the primary is healthy", s.replicaName(), s.replicas)}
	if leader.host != "" {
		answer.Apps = append(answer.Apps, s.replica(leader))
		n := s.following(q, leader)
		then.Done = healthy && n >= s.replicas
		then.Detail = fmt.Sprintf("%d of %d follow %s", min(n, s.replicas), s.replicas, leader)
	}
	answer.Steps = append(answer.Steps, then)
	return answer, nil
}

func (s settings) primaryName() spec.AppName { return s.name + "/primary" }
func (s settings) replicaName() spec.AppName { return s.name + "/replica" }

// address is where a server is reached.
type address struct {
	host string
	port int
}

// String prints the address as host:port.
func (a address) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

// leader returns the address of the newest healthy primary that is meant to stay.
func (s settings) leader(q *sdk.Question) (address, bool) {
	var at address
	var newest spec.Generation
	for _, a := range q.Allocations {
		if a.App != s.primaryName() || !a.Healthy || a.Want != spec.WantRun || a.State.Terminal() || a.Canary || a.Generation < newest {
			continue
		}
		host := q.Address(a.Node)
		for _, p := range a.Ports {
			if p.Name == portName && host != "" {
				at, newest = address{host, p.Number}, a.Generation
			}
		}
	}
	return at, at.host != ""
}

// followed returns the address that the newest replica was given: while no primary is healthy, the replicas are left
// as they are, and go on answering reads.
func (s settings) followed(q *sdk.Question) address {
	var at address
	var newest spec.Generation
	for _, a := range q.Allocations {
		if app := q.Versions[a.Version]; a.App == s.replicaName() && app != nil && a.Generation >= newest {
			if follows, ok := leaderOf(app); ok {
				at, newest = follows, a.Generation
			}
		}
	}
	return at
}

// following counts the healthy replicas of the leader.
func (s settings) following(q *sdk.Question, leader address) (n int) {
	for _, a := range q.Allocations {
		if a.App != s.replicaName() || !a.Healthy || a.Want != spec.WantRun || a.State.Terminal() {
			continue
		}
		if app := q.Versions[a.Version]; app != nil {
			if follows, ok := leaderOf(app); ok && follows == leader {
				n++
			}
		}
	}
	return n
}
