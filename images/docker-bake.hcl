// docker buildx bake -f images/docker-bake.hcl <image>     (make build-<image>; make up-<target> builds what it needs)

variable "PYTHON_BASE" { default = "python:3.11-slim-bookworm" }
variable "DEBIAN_BASE" { default = "debian:bookworm-slim" }
variable "TAG" { default = "dev" }
// PyTorch's own index of CPU builds makes executor-cpu a fraction of the size on x86_64 (or put the wheel into images/wheels)
variable "TORCH_INDEX" { default = "" }
// NVIDIA's, or a mirror of it: below it amd64 and arm64. Debian's own packages are too old for Blackwell
variable "NSIGHT_REPOSITORY" { default = "https://developer.download.nvidia.com/devtools/repos/ubuntu2204" }
variable "NSIGHT_PACKAGES" { default = "nsight-systems-cli nsight-compute" }

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
  target     = "executor"
  args       = { PYTHON_BASE = PYTHON_BASE }
}

target "executor-cpu" {
  inherits = ["_executor"]
  args     = { PIP_OPTIONS = TORCH_INDEX == "" ? "--find-links /wheels" : "--extra-index-url ${TORCH_INDEX}" }
  tags     = ["autoresearch/executor-cpu:${TAG}"]
}

// FlashAttention 4 has no backward for these: FlexAttention, or FlashAttention 2 where somebody adds its wheel
target "executor-cuda-sm80" {
  inherits = ["_executor"]
  tags     = ["autoresearch/executor-cuda-sm80:${TAG}"]
}

target "executor-cuda-sm89" {
  inherits = ["_executor"]
  tags     = ["autoresearch/executor-cuda-sm89:${TAG}"]
}

target "executor-cuda-sm90" {
  inherits = ["_executor"]
  args     = { EXTRAS = "torch,timing,fa4", ARCHITECTURES = "sm_90" }
  tags     = ["autoresearch/executor-cuda-sm90:${TAG}"]
}

target "executor-cuda-sm100" {
  inherits = ["_executor"]
  args     = { EXTRAS = "torch,timing,fa4", ARCHITECTURES = "sm_100" }
  tags     = ["autoresearch/executor-cuda-sm100:${TAG}"]
}

// GeForce RTX 50 on amd64, GB10 (sm_121) on arm64: built on the machine that runs it
target "executor-cuda-sm120-fa4" {
  inherits = ["_executor"]
  args     = { EXTRAS = "torch,timing,fa4", ARCHITECTURES = "sm_120 sm_121" }
  tags     = ["autoresearch/executor-cuda-sm120-fa4:${TAG}"]
}

// for the kernel lab alone, where somebody asks for it: make up-<target> NSIGHT=1
target "_nsight" {
  target = "nsight"
  args   = { NSIGHT_REPOSITORY = NSIGHT_REPOSITORY, NSIGHT_PACKAGES = NSIGHT_PACKAGES }
}

target "executor-cuda-sm80-nsight" {
  inherits = ["executor-cuda-sm80", "_nsight"]
  tags     = ["autoresearch/executor-cuda-sm80-nsight:${TAG}"]
}

target "executor-cuda-sm89-nsight" {
  inherits = ["executor-cuda-sm89", "_nsight"]
  tags     = ["autoresearch/executor-cuda-sm89-nsight:${TAG}"]
}

target "executor-cuda-sm90-nsight" {
  inherits = ["executor-cuda-sm90", "_nsight"]
  tags     = ["autoresearch/executor-cuda-sm90-nsight:${TAG}"]
}

target "executor-cuda-sm100-nsight" {
  inherits = ["executor-cuda-sm100", "_nsight"]
  tags     = ["autoresearch/executor-cuda-sm100-nsight:${TAG}"]
}

target "executor-cuda-sm120-fa4-nsight" {
  inherits = ["executor-cuda-sm120-fa4", "_nsight"]
  tags     = ["autoresearch/executor-cuda-sm120-fa4-nsight:${TAG}"]
}
