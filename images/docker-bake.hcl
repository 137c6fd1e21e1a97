// docker buildx bake -f images/docker-bake.hcl <image>     (make build-<image>; make up-<target> builds what it needs)

variable "PYTHON_BASE" { default = "python:3.11-slim-bookworm" }
variable "DEBIAN_BASE" { default = "debian:bookworm-slim" }
variable "TAG" { default = "dev" }
// PyTorch's own index of CPU builds makes executor-cpu a tenth of the size on x86_64; empty takes the package index
variable "TORCH_INDEX" { default = "" }

group "hub" { targets = ["redis", "postgres", "mlflow"] }

target "redis" {
  dockerfile = "images/redis/Dockerfile"
  args       = { DEBIAN_BASE = DEBIAN_BASE }
  tags       = ["autoresearch/redis:${TAG}"]
}

target "postgres" {
  dockerfile = "images/postgres/Dockerfile"
  args       = { DEBIAN_BASE = DEBIAN_BASE }
  tags       = ["autoresearch/postgres:${TAG}"]
}

target "mlflow" {
  dockerfile = "images/mlflow/Dockerfile"
  args       = { PYTHON_BASE = PYTHON_BASE }
  tags       = ["autoresearch/mlflow:${TAG}"]
}

target "worker" {
  dockerfile = "images/worker/Dockerfile"
  args       = { PYTHON_BASE = PYTHON_BASE }
  tags       = ["autoresearch/worker:${TAG}"]
}

target "_executor" {
  dockerfile = "images/executor/Dockerfile"
  args       = { PYTHON_BASE = PYTHON_BASE }
}

target "executor-cpu" {
  inherits = ["_executor"]
  args     = { TORCH_INDEX = TORCH_INDEX }
  tags     = ["autoresearch/executor-cpu:${TAG}"]
}
