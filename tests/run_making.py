"""Run directories for tests: jobs on the tiny dataset, with or without a checkpoint already trained."""

from pathlib import Path
from typing import Any

from shared.contracts import Budget, Job, Shape
from shared.data.dataset import open_dataset
from shared.files import sha256_bytes
from shared.runs.checkpoint import CheckpointRecord, commit
from shared.runs.directory import RunDirectory
from tests.handed_over import write_arrays
from tests.recipes import HONEST, LIGHT

SHAPE = Shape(
    seq_len=64, depth=1, d_model=32, heads=1, device_batch_size=4, total_batch_size=512, window_pattern="L"
)  # fmt: skip


def make_job(source: bytes = HONEST.encode(), **changes: Any) -> Job:
    values = {
        "run_id": "run-1",
        "engine": "torch",
        "device": "cpu",
        "dtype": "fp32",
        "target": "cpu",
        "hardware_key": "cpu-test",
        "shape": SHAPE,
        "dataset": open_dataset("words").ref,
        "recipe_sha": sha256_bytes(source),
        "budget": Budget(tokens=20 * SHAPE.total_batch_size),
        "rung": "cheap",
        "eval_batch_size": 4,
    }
    return Job(**values | changes)


def make_run(source: bytes = HONEST.encode(), **changes: Any) -> RunDirectory:
    job = make_job(source, **changes)
    directory = RunDirectory.of(job.run_id)
    directory.create(job, source)
    return directory


def make_light_run(source: bytes = LIGHT.encode(), **changes: Any) -> RunDirectory:
    """For what is proven of a recipe's process and not of its framework."""
    return make_run(source, engine="mlx", **changes)


def make_trained_run(source: bytes = HONEST.encode(), **changes: Any) -> RunDirectory:
    """With a final checkpoint of the honest recipe's untrained weights, as the trainer would leave it."""
    from shared.engines import open_engine

    directory = make_run(source, **changes)
    job = directory.job()
    engine = open_engine("torch", "cpu", dtype="fp32")
    namespace: dict[str, Any] = {}
    exec(HONEST, namespace)
    recipe = namespace["build"](job.shape, open_dataset("words").vocab_size, job.seed, engine.handle)
    files = write_arrays(engine, directory.checkpoint_dir / "step-00000020", {"model": recipe.state()["model"]})
    record = CheckpointRecord(
        folder="step-00000020",
        step=20,
        tokens=20 * job.shape.total_batch_size,
        next_row=160,
        train_seconds=1.0,
        loss_ema=1.0,
        final=True,
        recipe_sha=job.recipe_sha,
        shape=job.shape,
        files=files,
    )
    commit(directory.checkpoint_dir, record)
    return directory


def weights_file(directory: RunDirectory) -> Path:
    return directory.checkpoint_dir / "step-00000020" / "model.safetensors"
