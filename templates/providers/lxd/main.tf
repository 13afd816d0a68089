# Containers by resources that Terraform has built in: no plugin is downloaded.
# What these resources claim may be wrong by now; `container.py probe` tells the truth.

terraform {
  required_version = ">= 1.5"
}

variable "environment" { type = string }
variable "id" { type = string }
variable "public_key" { type = string }
variable "options" {
  type = object({
    count = number, name = string, image = string, profile = string,
    cpu = string, memory = string, group = string
  })
  validation {
    condition     = contains(range(1, 101), var.options.count)
    error_message = "count must be a whole number from 1 to 100."
  }
}

locals {
  prefix = var.options.name == "" ? var.environment : var.options.name
  names  = toset([for number in range(1, var.options.count + 1) : "${local.prefix}-${number}"])
}

resource "terraform_data" "host" {
  for_each         = local.names
  input            = { name = each.key, id = var.id }
  triggers_replace = [var.options.image, var.options.profile, var.options.cpu, var.options.memory]

  provisioner "local-exec" {
    command = "python3 container.py launch"
    environment = {
      NAME       = each.key
      ID         = var.id
      IMAGE      = var.options.image
      PROFILE    = var.options.profile
      CPU        = var.options.cpu
      MEMORY     = var.options.memory
      PUBLIC_KEY = var.public_key
    }
  }

  provisioner "local-exec" {
    when        = destroy
    command     = "python3 container.py remove"
    environment = { NAME = self.input.name, ID = self.input.id }
  }
}

output "hosts" {
  value = [
    for name in local.names : {
      name   = terraform_data.host[name].input.name
      user   = "root"
      groups = var.options.group == "" ? [] : [var.options.group]
    }
  ]
}
