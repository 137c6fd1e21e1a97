"""What the trainer does for torch it does for MLX: asynchronous checkpoints, resume to the same bits, curve points."""

import signal
import subprocess
import sys
import time

import pytest

pytest.importorskip("mlx.core", reason="mlx is not installed: pip install -e '.[mlx]'")

from shared.contracts import Budget, CheckpointPolicy, Status
from shared.runs import checkpoint
from shared.runs.shipped import default_recipe
from shared.settings import CHECKOUT
from tests.run_making import SHAPE, make_run

STEPS = 16


def make_mlx_run(run_id: str, mode: str):
    return make_run(
        default_recipe("mlx").read_bytes(),
        run_id=run_id,
        engine="mlx",
        budget=Budget(tokens=STEPS * SHAPE.total_batch_size),
        checkpoints=CheckpointPolicy(mode=mode, every_s=0.1),
        curve_points=1,
    )


def start_trainer(run) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "services.trainer", str(run.path)], cwd=CHECKOUT)


def wait_until(condition, timeout_s: float = 120.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def num_steps(run) -> int:
    return len(run.metrics_file.read_bytes().splitlines()) if run.metrics_file.exists() else 0


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_killed_mlx_run_resumes_to_the_same_bits(workplace, mode):
    whole, broken = make_mlx_run("whole", mode), make_mlx_run("broken", mode)
    assert start_trainer(whole).wait(120) == 0
    process = start_trainer(broken)
    wait_until(lambda: num_steps(broken) >= STEPS // 3 and (broken.checkpoint_dir / "latest.json").exists())
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert start_trainer(broken).wait(120) == 0
    record = broken.training()
    assert record.status is Status.OK
    assert 0 < record.resumed_from_step < STEPS
    assert checkpoint.latest(broken.checkpoint_dir).files == checkpoint.latest(whole.checkpoint_dir).files
    assert [step.loss for step in broken.steps()] == [step.loss for step in whole.steps()]
    assert len(checkpoint.curve_folders(whole.checkpoint_dir)) == 1
