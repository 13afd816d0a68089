# Instances of EC2, with a key pair and a security group of their own. Credentials are the
# environment's: AWS_ACCESS_KEY_ID, AWS_PROFILE and all that the AWS provider knows besides.

terraform {
  required_version = ">= 1.5"
  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = ">= 5.50, < 7.0"
    }
  }
}

variable "environment" { type = string }
variable "id" { type = string }
variable "public_key" { type = string }
variable "options" {
  type = object({
    region   = string, count = number, instance_type = string, image = string, disk = number,
    name     = string, group = string, subnet = string, address = string,
    ssh_from = list(string), ports = list(number), user = string
  })
  validation {
    condition     = contains(range(1, 101), var.options.count)
    error_message = "count must be a whole number from 1 to 100."
  }
  validation {
    condition     = length(var.options.ssh_from) > 0
    error_message = "ssh_from must name at least one range, or nothing can be set up."
  }
}

locals {
  prefix = var.options.name == "" ? var.environment : var.options.name
  names  = toset([for number in range(1, var.options.count + 1) : "${local.prefix}-${number}"])
  shared = "deployer-${var.environment}-${substr(var.id, 0, 8)}"
  tags   = { "deployer:id" = var.id, "deployer:environment" = var.environment }
  public = var.options.address == "public"
  kinds  = data.aws_ec2_instance_type.chosen.supported_architectures
  image  = var.options.image == "" ? one(data.aws_ami.debian[*].id) : var.options.image
}

provider "aws" {
  region = var.options.region
  default_tags { tags = local.tags }
}

# which processor it has; what doesn't exist is refused before anything is made
data "aws_ec2_instance_type" "chosen" { instance_type = var.options.instance_type }

data "aws_ami" "debian" {
  count       = var.options.image == "" ? 1 : 0
  owners      = ["136693071363"] # Debian: https://wiki.debian.org/Cloud/AmazonEC2Image
  most_recent = true
  filter {
    name   = "name"
    values = ["debian-12-${contains(local.kinds, "arm64") ? "arm64" : "amd64"}-*"]
  }
}

data "aws_subnet" "chosen" {
  count = var.options.subnet == "" ? 0 : 1
  id    = var.options.subnet
}

resource "aws_key_pair" "deployer" {
  key_name   = local.shared
  public_key = var.public_key
}

resource "aws_security_group" "hosts" {
  name        = local.shared
  description = "SSH and open ports of ${var.environment}"
  vpc_id      = one(data.aws_subnet.chosen[*].vpc_id)

  ingress {
    description      = "SSH"
    protocol         = "tcp"
    from_port        = 22
    to_port          = 22
    cidr_blocks      = [for range in var.options.ssh_from : range if !strcontains(range, ":")]
    ipv6_cidr_blocks = [for range in var.options.ssh_from : range if strcontains(range, ":")]
  }

  ingress {
    description = "between the hosts of ${var.environment}"
    protocol    = "-1"
    from_port   = 0
    to_port     = 0
    self        = true
  }

  dynamic "ingress" {
    for_each = toset(var.options.ports)
    content {
      description      = "open to the world"
      protocol         = "tcp"
      from_port        = ingress.value
      to_port          = ingress.value
      cidr_blocks      = ["0.0.0.0/0"]
      ipv6_cidr_blocks = ["::/0"]
    }
  }

  egress {
    protocol         = "-1"
    from_port        = 0
    to_port          = 0
    cidr_blocks      = ["0.0.0.0/0"]
    ipv6_cidr_blocks = ["::/0"]
  }

  tags = { Name = local.shared }
}

# a newer image of Debian's leaves the instances alone; another choice of the user's doesn't
resource "terraform_data" "image" { input = var.options.image }

resource "aws_instance" "host" {
  for_each                    = local.names
  ami                         = local.image
  instance_type               = var.options.instance_type
  key_name                    = aws_key_pair.deployer.key_name
  subnet_id                   = var.options.subnet == "" ? null : var.options.subnet
  vpc_security_group_ids      = [aws_security_group.hosts.id]
  associate_public_ip_address = local.public ? true : null
  tags                        = { Name = each.key }
  volume_tags                 = merge(local.tags, { Name = each.key })

  metadata_options {
    http_endpoint = "enabled"
    http_tokens   = "required"
  }

  dynamic "root_block_device" {
    for_each = var.options.disk == 0 ? [] : [var.options.disk]
    content { volume_size = root_block_device.value }
  }

  lifecycle {
    ignore_changes       = [ami]
    replace_triggered_by = [terraform_data.image]
  }
}

output "hosts" {
  value = [
    for name in local.names : {
      name = name
      address = (local.public && aws_instance.host[name].public_ip != ""
      ? aws_instance.host[name].public_ip : aws_instance.host[name].private_ip)
      user   = var.options.user
      groups = var.options.group == "" ? [] : [var.options.group]
      id     = aws_instance.host[name].id
    }
  ]
}
