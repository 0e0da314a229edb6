cluster "harbour" {
  sync {
    approval = "auto"
  }
}

# The driver is a program of its own: examples/redis/build puts it here and writes its checksum.
plugin "redis" {
  kind    = "framework"
  command = "plugins/stowage-redis"
  sha256  = "0000000000000000000000000000000000000000000000000000000000000000"
}
