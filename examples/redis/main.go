// Stowage-redis is a framework driver: it knows what a block like
//
//	framework "redis" "cache" { replicas = 2 }
//
// means for Redis, a primary and its replicas. README.md tells how such a driver is written, built and named in a
// repository.
package main

import "github.com/stowage/stowage/plugins/sdk"

func main() { sdk.ServeFramework("redis", "1.0", driver{}) }
