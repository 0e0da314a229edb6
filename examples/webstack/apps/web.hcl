# nginx as Debian ships it, two beside each other. A new version starts first and takes requests when it is healthy; then the old one is told as
# leaving, goes on answering for those who have not heard yet, finishes what it has begun, and ends.

app "stack/web" {
  count = 2

  update {
    max_parallel = 1
    healthy_for  = "1s"
    deadline     = "5m"
  }

  network {
    port "http" {}
  }

  task "nginx" {
    rootfs  = "host"
    command = ["sh", "-c", "echo \"$CONFIG\" >/tmp/nginx.conf && exec nginx -e stderr -c /tmp/nginx.conf"]

    env = {
      CONFIG = "${file("nginx.conf")} server { listen ${port.http}; location / { return 200 'release ${var.release} from slot ${slot}\\n'; } } }"
    }

    cpu    = 0.1
    memory = "64MiB"

    check "answers" {
      type     = "http"
      port     = "http"
      interval = "1s"
      gate     = true
    }

    stop {
      delay   = "10s"     # whoever follows the healthy ports has this long to notice
      signal  = "SIGQUIT" # nginx: no new connections, finish the old ones
      timeout = "30s"
    }
  }
}
