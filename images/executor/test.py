"""An executor's image: one framework and a compiler for what it compiles; nothing that speaks to the hub.

Where FlashAttention 4 is in it, its kernels of every preset are there and found, without a GPU.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path

from checks import expect_harmless_user, expect_no_module, expect_no_program, expect_pinned_versions

from shared.stages.table import STAGES

expect_pinned_versions("torch", "numpy", "safetensors", "pydantic")
expect_no_module("redis", "rq", "mlflow", "pyarrow", "huggingface_hub", "requests", "mlx", "pytest")
expect_no_module("services.worker", "services.console", "services.hub", "services.prepare")
expect_no_program("git", "curl", "wget", "ssh")
folders = [f"/are/{name}" for name in ("datasets", "validation", "cache", "platform", "locks", "kernel_lab")]
stages = [stage for stage in STAGES if stage.image == "executor"]
expect_harmless_user("/are", "/spool", *folders, *(f"/spool/{stage.name}" for stage in stages))

for stage in stages:
    done = subprocess.run(
        [sys.executable, "-m", f"services.{stage.folder}", "/nowhere"], capture_output=True, text=True
    )
    assert done.returncode == 2, done.stderr
subprocess.run(["g++", "--version"], check=True, capture_output=True)
product = "import torch; assert (torch.ones(8, 8) @ torch.ones(8, 8)).sum() == 512"
subprocess.run([sys.executable, "-c", product], check=True)

compiled = [folder.name for folder in Path("/app/kernels/attention/compiled").glob("sm_*")]
assert bool(compiled) == (importlib.util.find_spec("flash_attn") is not None)
for arch in compiled:
    check = [sys.executable, "-m", "kernels.attention.fa4_ahead_of_time", "--arch", arch, "--check"]
    print(subprocess.run(check, check=True, capture_output=True, text=True).stdout.strip())
