# One block, two apps: cache/primary, and when that is healthy, cache/replica.
framework "redis" "cache" {
  replicas = 2
  memory   = "64MiB"
}
