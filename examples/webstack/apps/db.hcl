# PostgreSQL. Its data lives and dies with the allocation: this shows the server, not how to keep data.

app "stack/db" {
  network {
    port "sql" {}
  }

  update {
    healthy_for = "1s"
    deadline    = "5m"
  }

  task "postgres" {
    rootfs  = "host"
    user    = "postgres"
    command = ["sh", "-c", file("db.sh")]
    env     = { PORT = port.sql }
    cpu     = 0.2
    memory  = "256MiB"

    check "ready" {
      type     = "exec"
      command  = ["sh", "-c", "pg_isready -q -h 127.0.0.1 -p $PORT"]
      interval = "1s"
      timeout  = "10s"
      gate     = true
    }

    stop {
      signal  = "SIGINT" # PostgreSQL: roll back what is open, write a checkpoint, end
      timeout = "1m"
    }
  }
}
