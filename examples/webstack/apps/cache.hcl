# Redis, without a disk behind it.

app "stack/cache" {
  network {
    port "redis" {}
  }

  update {
    healthy_for = "1s"
    deadline    = "5m"
  }

  task "redis" {
    rootfs  = "host"
    command = ["sh", "-c", "exec redis-server --port $PORT --bind 127.0.0.1 --save '' --dir /tmp"]
    env     = { PORT = port.redis }
    cpu     = 0.1
    memory  = "64MiB"

    check "pong" {
      type     = "exec"
      command  = ["sh", "-c", "redis-cli -p $PORT ping | grep -q PONG"]
      interval = "1s"
      timeout  = "10s"
      gate     = true
    }
  }
}
