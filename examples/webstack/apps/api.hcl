# A server in Python that waits for the database and the cache, and one in Go from an image that the script build makes.

app "stack/api" {
  depends_on = ["stack/cache", "stack/db"]

  network {
    port "http" {}
  }

  update {
    healthy_for = "1s"
    deadline    = "5m"
  }

  task "python" {
    rootfs  = "host"
    command = ["/usr/bin/python3", "-c", file("api.py")]
    env     = { PORT = port.http, RELEASE = var.release }
    cpu     = 0.1
    memory  = "64MiB"

    check "answers" {
      type     = "http"
      port     = "http"
      interval = "1s"
      timeout  = "10s"
      gate     = true
    }

    stop {
      delay   = "5s"
      timeout = "10s"
    }
  }
}

app "stack/clock" {
  network {
    port "http" {}
  }

  update {
    healthy_for = "1s"
    deadline    = "5m"
  }

  task "go" {
    image  = "oci:images/clock:latest"
    env    = { PORT = port.http }
    cpu    = 0.1
    memory = "32MiB"

    check "answers" {
      type     = "http"
      port     = "http"
      interval = "1s"
      timeout  = "10s"
      gate     = true
    }
  }
}
