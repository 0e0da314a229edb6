#!/bin/sh
# Writes the Go code of plugin.proto into the folder $1 (default: here). Needs protoc; the two Go generators are built
# at the versions that the module uses, into a folder that is removed again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
out=${1:-$here}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
cd "$here"
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go
GOBIN=$tools go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2
PATH=$tools:$PATH protoc --proto_path="$here" --go_out="$out" --go_opt=paths=source_relative \
	--go-grpc_out="$out" --go-grpc_opt=paths=source_relative plugin.proto
