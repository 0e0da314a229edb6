# Each night at three, and whenever somebody asks: read the orders of a day, work on them in three ways, load the results.
app "etl/extract" {
  kind     = "batch"
  schedule = { cron = "0 3 * * *", timezone = "Europe/Berlin", catch_up = "1h", deadline = "4h" }
  parameter "source" {
    default     = "shop"
    description = "Whose orders."
    values      = ["shop", "archive"]
  }
  task "extract" {
    rootfs  = "host"
    command = ["sh", "-c", "echo reading $SOURCE as of $AT; sleep 2"]
    env     = { SOURCE = param.source, AT = run.time }
  }
}

# Three apps from one block, each with runs after those of etl/extract.
app "etl/transform" {
  for_each   = toset(["orders", "items", "customers"])
  kind       = "batch"
  depends_on = ["etl/extract"]
  task "transform" {
    rootfs  = "host"
    command = ["sh", "-c", "echo working on ${each.key}; sleep 2"]
  }
}

app "etl/load" {
  kind       = "batch"
  depends_on = ["etl/transform/orders", "etl/transform/items", "etl/transform/customers"]
  task "load" {
    rootfs  = "host"
    command = ["sh", "-c", "echo loading $RUN; sleep 1"]
    env     = { RUN = run.name }
  }
}

# Tells whoever wants to know, also when something went wrong.
app "etl/tell" {
  kind       = "batch"
  depends_on = [{ app = "etl/load", on_failure = "continue" }]
  task "tell" {
    rootfs  = "host"
    command = ["sh", "-c", "echo the run $RUN has ended"]
    env     = { RUN = run.name }
  }
}
