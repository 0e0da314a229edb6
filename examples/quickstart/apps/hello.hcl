# A batch app: it runs until its tasks exit with 0, and then it is complete.

app "hello" {
  kind = "batch"
  role = "tools"

  task "greet" {
    rootfs  = "host"
    command = ["sh", "-c", "echo \"$GREETING, $(uname -n)\"; sleep 1; echo done"]
    env     = { GREETING = var.greeting }
    cpu     = local.small.cpu
    memory  = local.small.memory
  }
}
