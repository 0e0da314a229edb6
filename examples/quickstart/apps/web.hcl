# A service: it runs until told to stop, and is restarted when it exits.

app "shop/web" {
  count = var.web_count
  role  = "shop"

  # Prefer to spread over the nodes, so that one machine's end is not the shop's.
  spread {
    attribute = "node.id"
  }

  # One after another, each healthy for a second before the next. A rollout that does not get
  # healthy within the deadline goes back by itself.
  update {
    max_parallel = 1
    healthy_for  = "1s"
    deadline     = "1m"
  }

  # A port without a number is given a free one on its node; port.http stands for it below.
  network {
    port "http" {}
  }

  task "server" {
    # "host" means: the node's own programs, read-only. Nothing has to be downloaded.
    rootfs  = "host"
    command = ["perl", "-e", file("web.pl")]

    env = {
      PORT  = port.http # known on the node only; so are node.id, node.address, app, slot and allocation
      TITLE = local.title
      WHERE = "slot ${slot} on ${node.id}"
    }

    cpu    = local.small.cpu
    memory = local.small.memory

    check "answers" {
      type     = "http"
      port     = "http"
      path     = "/healthz"
      interval = "1s"
      gate     = true # healthy only while this passes
    }

    stop {
      timeout = "5s" # after this, the whole process group is killed
    }
  }
}
