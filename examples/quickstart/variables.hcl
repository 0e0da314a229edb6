# A variable is a value with a name, used as var.NAME. Its value comes from here and nowhere else,
# so that a commit always means the same.

variable "web_count" {
  description = "How many web servers run. Change it, commit, and watch."
  type        = number
  default     = 3

  validation {
    condition     = var.web_count >= 1
    error_message = "At least one web server, or nobody answers."
  }
}

variable "greeting" {
  type    = string
  default = "Ahoy"
}

# Locals are computed. They may refer to variables and to one another.
locals {
  title = "${var.greeting} from the quickstart"
  small = { cpu = 0.05, memory = "32MiB" }
}
