"""An estimate: has a sandboxed process count one optimizer step of each recipe, and computes times from the counts.

This process never imports a recipe, nor a framework.
"""

from collections.abc import Iterable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from services.kernel_lab.estimate.messages import ANSWERS, Count
from services.kernel_lab.estimate.roofline import estimate_side, model_of
from shared.experiment.recipe import check_source
from shared.files import write_atomic
from shared.kernel_lab.estimate import Estimate, EstimateRequest, Side, StepCount
from shared.machine.gpus import find_device
from shared.runs.recipe_file import read_source
from shared.sandbox.launch import Ended, RecipeProcess, new_scratch
from shared.settings import settings

NEEDED = {"cuda": ("torch", "triton"), "metal": ("mlx",)}
MISSING = {
    "torch": "PyTorch is not installed here: pip install -c constraints.txt -e '.[torch]'",
    "triton": "an estimate needs Triton, which writes the kernels: pip install -c constraints.txt -e '.[lab]'",
    "mlx": "an estimate for a Mac needs MLX: pip install -c constraints.txt -e '.[mlx]'",
}


def estimate(request: EstimateRequest) -> Estimate:
    """Writes and returns it. ValueError, in one line, for what is missing here or what a recipe did wrong."""
    gpu = find_device(request.target)
    needed = NEEDED["metal" if gpu.architecture == "metal" else "cuda"]
    check_installed(needed)
    model = model_of(gpu)
    sides = tuple(estimate_side(side, count(side, request), request.shape, model) for side in request.sides)
    result = Estimate(
        target=gpu.target,
        architecture=gpu.architecture,
        hardware_key=gpu.hardware_key,
        peak_tflops=gpu.peak_flops / 1e12,
        bandwidth_gbs=gpu.bandwidth / 1e9,
        shape=request.shape,
        vocab_size=request.vocab_size,
        model=model.words,
        framework=", ".join(f"{package} {version(package)}" for package in needed),
        sides=sides,
    )
    write_atomic(request.answer, result.model_dump_json().encode())
    return result


def check_installed(packages: Iterable[str]) -> None:
    for package in packages:
        if find_spec(package) is None:
            raise ValueError(MISSING[package])


def count(side: Side, request: EstimateRequest) -> StepCount:
    """In a process of its own, in the sandbox that the trainer uses."""
    with TemporaryDirectory(prefix="estimate-") as folder:
        recipe = Path(folder) / "recipe.py"
        source = read_source(side.recipe)
        check_source(source, side.recipe.name)
        recipe.write_bytes(source)
        process = RecipeProcess(
            "services.kernel_lab.estimate.recipe_process",
            new_scratch(Path(folder)),
            answers=ANSWERS,
            readable=(recipe,),
        )
        try:
            with process:
                return process.ask(_message(side, recipe, request), StepCount, settings().startup_timeout_s, LATE)
        except Ended as end:
            raise ValueError(f"{side.name}: {end}") from None


LATE = "had not counted its step by the end of ARE_STARTUP_TIMEOUT_S"


def _message(side: Side, recipe: Path, request: EstimateRequest) -> Count:
    return Count(
        recipe=str(recipe),
        shape=request.shape,
        vocab_size=request.vocab_size,
        target=request.target,
        kernels=side.kernels,
        compile=request.compile,
        compile_kernels=request.compile_kernels,
    )
