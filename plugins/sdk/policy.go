package sdk

import (
	"context"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/wire"
	"github.com/stowage/stowage/reconcile/place"
	"github.com/stowage/stowage/spec"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Policy is a scheduling policy that takes over whole batches; see place.Policy.
type Policy = place.Policy

// Batch is what a policy is asked; see place.Batch.
type Batch = place.Batch

// Pick is one placement of a policy's answer; see place.Pick.
type Pick = place.Pick

// Node is what a scoring function sees of a node; see place.Node.
type Node = place.Node

// Scoring is a policy reduced to a scoring function: limits, wishes and the runner-up are seen to. See place.Scoring.
type Scoring = place.Scoring

// ServePolicy is the main function of a scheduling policy, a Scoring or a Policy of one's own. It serves the policy
// until the host is gone, and does not return. The name and version are the author's own.
func ServePolicy(name, version string, policy Policy) {
	serve(plugins.Identity{Kind: spec.PluginPolicy, Name: name, Version: version}, func(s *grpc.Server) {
		wire.RegisterPolicyServer(s, policyServer{policy: policy})
	})
}

type policyServer struct {
	wire.UnimplementedPolicyServer
	policy Policy
}

// Place passes the batch on to the policy.
func (s policyServer) Place(_ context.Context, r *wire.PlaceRequest) (*wire.PlaceResponse, error) {
	batch, err := wire.DecodeBatch(r)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	picks, err := s.policy.Place(batch)
	if err != nil {
		return nil, failure(err)
	}
	return wire.EncodePicks(picks), nil
}
