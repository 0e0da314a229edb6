cluster "harbour" {
  sync { approval = "auto" }
}

variable "release" {
  type        = string
  default     = "1"
  description = "What the servers answer with; another one is another version of web and api."
}
