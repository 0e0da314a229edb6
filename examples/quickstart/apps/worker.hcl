# Another service. It waits for the web servers, and prefers to run near them.

app "shop/worker" {
  count      = 2
  role       = "shop"
  depends_on = ["shop/web"] # starts once they are healthy

  affinity {
    app    = "shop/web"
    weight = 40
  }

  update {
    healthy_for = "1s"
  }

  # What happens on the node when it exits: three times within ten minutes it is started again.
  restart {
    attempts = 3
    interval = "10m"
    delay    = "500ms"
  }

  task "loop" {
    rootfs  = "host"
    command = ["sh", "-c", file("worker.sh")]
    env     = { NAME = allocation }
    cpu     = local.small.cpu
    memory  = local.small.memory

    # Without a port a check can run a program inside the task.
    check "fresh" {
      type     = "exec"
      command  = ["sh", "-c", "test -e /tmp/beat"]
      interval = "1s"
      gate     = true
    }
  }
}
