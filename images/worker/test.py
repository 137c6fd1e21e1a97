"""The worker's image: the queue, the recording client, what prepares and calibrates; no framework, no compiler."""

import subprocess

from checks import expect_harmless_user, expect_no_module, expect_no_program, expect_pinned_versions

from shared.stages.table import STAGES

expect_pinned_versions("redis", "rq", "mlflow-skinny", "pyarrow", "tiktoken", "rustbpe", "pydantic", "optuna", "scipy")
expect_no_module("torch", "mlx", "triton", "flask", "pytest")
expect_no_program("gcc", "cc", "git", "curl")
folders = [f"/are/{name}" for name in ("corpora", "datasets", "validation", "platform", "locks", "kernel_lab")]
expect_harmless_user("/are", "/spool", *folders, *(f"/spool/{stage.name}" for stage in STAGES))

for command in (["autoresearch", "--help"], ["python3", "-m", "services.worker", "--help"]):
    subprocess.run(command, check=True, capture_output=True)
done = subprocess.run(["python3", "-m", "services.executor", "/spool", "nothing"], capture_output=True, text=True)
assert done.returncode == 2, done.stderr
