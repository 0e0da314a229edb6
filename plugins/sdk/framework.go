package sdk

import (
	"context"

	"github.com/stowage/stowage/plugins"
	"github.com/stowage/stowage/plugins/wire"
	"github.com/stowage/stowage/spec"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// Framework is what the author of a driver writes; see plugins.Framework.
type Framework = plugins.Framework

// Question is what a driver is asked; see plugins.Question.
type Question = plugins.Question

// Answer is what a driver answers; see plugins.Answer.
type Answer = plugins.Answer

// ServeFramework is the main function of a framework driver. It serves the driver until the host is gone, and does not
// return. The name and version are the author's own.
func ServeFramework(name, version string, driver Framework) {
	serve(plugins.Identity{Kind: spec.PluginFramework, Name: name, Version: version}, func(s *grpc.Server) {
		wire.RegisterFrameworkServer(s, frameworkServer{driver: driver})
	})
}

type frameworkServer struct {
	wire.UnimplementedFrameworkServer
	driver Framework
}

// Schema passes the question on to the driver.
func (s frameworkServer) Schema(ctx context.Context, _ *wire.SchemaRequest) (*wire.SchemaResponse, error) {
	schema, err := s.driver.Schema(ctx)
	if err != nil {
		return nil, failure(err)
	}
	return wire.EncodeSchema(schema)
}

// Expand passes the question on to the driver.
func (s frameworkServer) Expand(ctx context.Context, r *wire.ExpandRequest) (*wire.ExpandResponse, error) {
	q, err := wire.DecodeQuestion(r)
	if err != nil {
		return nil, status.Error(codes.InvalidArgument, err.Error())
	}
	answer, err := s.driver.Expand(ctx, q)
	if err != nil {
		return nil, failure(err)
	}
	return wire.EncodeAnswer(answer)
}
