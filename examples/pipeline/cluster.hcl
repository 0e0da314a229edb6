cluster "pipeline" {
  sync { approval = "auto" }
}
