"""Training steps of the shipped recipe on random tokens, to be recorded: what profile and capture look at.

python -m services.kernel_lab.steps PRESET DEVICE STEPS             runs them, for a profiler that starts a program
python -m services.kernel_lab.steps PRESET metal STEPS X.gputrace   MLX's, which records itself: MTL_CAPTURE_ENABLED=1
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Literal

import numpy as np

from shared.contracts import Budget, DatasetRef, Job, Shape
from shared.engines import open_engine_of
from shared.experiment.platform_default import read_default
from shared.experiment.presets import DEFAULT_PRESET, SMALLEST_PRESET, find_preset
from shared.experiment.recipe import load_recipe
from shared.files import sha256_file
from shared.machine.device import Device, DeviceKind
from shared.machine.hardware import detect
from shared.runs.shipped import default_recipe

VOCAB_SIZE = 8192
WARM_UP_STEPS = 2
"""compilation and first launches"""
UNKNOWN = "0" * 64


def default_shape(device: str) -> tuple[str, Shape]:
    """This machine's calibrated shape, else the preset that is taken without one."""
    hardware = detect(device)
    if (default := read_default(hardware.hardware_key, "torch")) is not None:
        return default.family, default.shape
    name = SMALLEST_PRESET if Device.parse(device).is_cpu else DEFAULT_PRESET
    return name, find_preset(name).shape


def shape_of(preset: str | None, device: str) -> tuple[str, Shape]:
    return default_shape(device) if preset is None else (preset, find_preset(preset).shape)


def open_step(shape: Shape, device: str) -> tuple[Callable[[], None], Callable[[], None]]:
    """(one optimizer step, waiting for the device), warmed up."""
    job = _job(shape, device)
    engine = open_engine_of(job)
    engine.seed(42)
    recipe = load_recipe(default_recipe(job.engine)).build(shape, VOCAB_SIZE, 42, engine.handle)
    random = np.random.default_rng(0)

    def step() -> None:
        tokens = random.integers(0, VOCAB_SIZE, (shape.rows_per_step, shape.seq_len + 1), dtype=np.uint16)
        recipe.step(engine.from_host(tokens), 0.5)

    for _ in range(WARM_UP_STEPS):
        step()
    engine.synchronize()
    return step, engine.synchronize


def _job(shape: Shape, device: str) -> Job:
    engine: Literal["torch", "mlx"] = "mlx" if device == DeviceKind.METAL else "torch"
    hardware, recipe = detect(device), default_recipe(engine)
    return Job(
        run_id="profile",
        engine=engine,
        device=device,
        target=hardware.target,
        hardware_key=hardware.hardware_key,
        shape=shape,
        dataset=DatasetRef(name="random", fingerprint=UNKNOWN),
        recipe_sha=sha256_file(recipe),
        budget=Budget(seconds=1),
    )


def main() -> int:
    name, device, steps, *trace = sys.argv[1:]
    step, synchronize = open_step(find_preset(name).shape, device)
    with recorded_by_metal(trace[0]) if trace else nullcontext():
        for _ in range(int(steps)):
            step()
        synchronize()
    return 0


@contextmanager
def recorded_by_metal(trace: str) -> Iterator[None]:
    """https://ml-explore.github.io/mlx/build/html/dev/metal_debugger.html; `trace` must not exist before."""
    import mlx.core as mx

    mx.metal.start_capture(trace)
    yield
    mx.metal.stop_capture()


if __name__ == "__main__":
    sys.exit(main())
