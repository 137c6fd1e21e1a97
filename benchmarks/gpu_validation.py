"""Everything that needs CUDA, in one go, as Markdown tables for docs/validation/<machine>.md: `make test-gpu`.

    python -m benchmarks.gpu_validation [--device cuda:0] [--seconds 60] [--skip-tests]

Works offline (stdlib corpus). Each section is measured here and now; one that fails says why and the rest goes on.
"""

import argparse
import platform
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterable, Mapping
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from time import perf_counter

import numpy as np
import torch

from benchmarks import gpu_kernels
from kernels.attention import torch_reference
from services.trainer.recipes import gpt_torch
from shared.contracts import Shape
from shared.data.dataset import datasets_directory
from shared.engines import Engine, open_engine
from shared.experiment.presets import PRESETS
from shared.experiment.request import TrainRequest, build_job
from shared.experiment.run import run
from shared.machine.hardware import detect
from shared.machine.targets import TARGETS, peak_flops
from shared.runs.checkpoint import read_arrays
from shared.settings import CHECKOUT
from shared.stages.executors import NativeExecutor
from tests.handed_over import write_arrays

MEASURED_STEPS = 20
HEAD_DIM = 128
VOCAB_SIZE = 8192


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cuda:0")
    parser.add_argument("--seconds", type=float, default=60.0, help="budget of the experiment at the end")
    parser.add_argument("--skip-tests", action="store_true", help="leave the tests marked gpu out")
    arguments = parser.parse_args()
    sections: list[tuple[str, Callable[[], None]]] = [
        ("Machine", lambda: machine(arguments.device)),
        ("Attention backends against float32", lambda: attention(arguments.device)),
        ("Presets", lambda: presets(arguments.device)),
        ("Estimate beside measurement", lambda: estimates(arguments.device)),
        ("Checkpoint and resume", lambda: resume(arguments.device)),
        ("One experiment", lambda: experiment(arguments.device, arguments.seconds)),
        ("Triton kernels, and the best two in the trainer", lambda: kernels(arguments.device)),
        ("Trace of m5-balanced", lambda: trace(arguments.device)),
    ]
    if not arguments.skip_tests:
        sections.insert(1, ("Tests marked gpu", tests))
    return sum([section(title, work) for title, work in sections])


def section(title: str, work: Callable[[], None]) -> bool:
    """Prints one section; True when it failed."""
    print(f"\n## {title}\n", flush=True)
    try:
        work()
    except Exception as error:
        traceback.print_exc()
        print(f"failed: {type(error).__name__}: {error}")
        return True
    return False


def table(header: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    header = list(header)
    print("| " + " | ".join(header) + " |\n|" + "---|" * len(header))
    for row in rows:
        print(
            "| " + " | ".join(f"{cell:.3g}" if isinstance(cell, float) else str(cell) for cell in row) + " |",
            flush=True,
        )


def machine(device: str) -> None:
    hardware = detect(device)
    versions = [
        (name, package_version(name)) for name in ("torch", "triton", "flash-attn", "flash-attn-4", "safetensors")
    ]
    facts = [
        ("hardware key", hardware.hardware_key),
        ("architecture", hardware.architecture),
        ("driver", hardware.driver_version),
        ("CUDA of torch", torch.version.cuda),
        ("Python", platform.python_version()),
        ("peak bf16", peak_flops(hardware)[1]),
        ("measured matmul", f"{open_engine('torch', device).matmul_flops() / 1e12:.3g} TFLOP/s"),
    ]
    table(("what", "value"), [*facts, *versions])


def package_version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def tests() -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider"]
    subprocess.run(command, cwd=CHECKOUT, check=True)


def attention(device: str) -> None:
    """Forward and backward of every backend, T 2048, two windows; the error is the worst of output, dq, dk, dv."""
    handle = open_engine("torch", device).handle
    names = dict.fromkeys(name for target in TARGETS for name in target.attention)
    rows = []
    for window in (2048, 1024):
        inputs = attention_inputs(handle)
        truth = forward_backward(torch_reference.attention, [x.float() for x in inputs], window)
        plain = worst(truth, forward_backward(torch_reference.attention, inputs, window))
        for name in names:
            rows.append((name, window, *attention_row(name, handle, inputs, truth, plain, window)))
    table(("backend", "window", "error", "plain bf16 error", "forward + backward ms"), rows)


def attention_inputs(handle) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (4, 2048, 4, HEAD_DIM)
    return [torch.randn(shape, generator=generator).to(handle.torch, torch.bfloat16) for _ in range(4)]


def attention_row(name: str, handle, inputs, truth, plain: float, window: int) -> tuple:
    try:
        backend = import_module(f"kernels.attention.{name}").load(handle.torch)
        error = worst(truth, forward_backward(backend, inputs, window))
        return error, plain, milliseconds(lambda: forward_backward(backend, inputs, window))
    except Exception as reason:
        return f"{type(reason).__name__}: {str(reason).splitlines()[0][:80] if str(reason) else ''}", plain, "-"


def forward_backward(backend, inputs: list[torch.Tensor], window: int) -> list[torch.Tensor]:
    q, k, v = (x.detach().clone().requires_grad_() for x in inputs[:3])
    y = backend(q, k, v, window)
    return [y.detach(), *torch.autograd.grad(y, (q, k, v), inputs[3])]


def worst(truth: list[torch.Tensor], found: list[torch.Tensor]) -> float:
    return max((y - x.float()).abs().max().item() for x, y in zip(found, truth, strict=True))


def milliseconds(work: Callable[[], object], repeats: int = 20) -> float:
    """Median over repeats, after three that warm up."""
    times = []
    for _ in range(repeats + 3):
        torch.cuda.synchronize()
        started = perf_counter()
        work()
        torch.cuda.synchronize()
        times.append(1e3 * (perf_counter() - started))
    return float(np.median(times[3:]))


def presets(device: str) -> None:
    """Training steps on random rows, compiled; with the preset's batch, and with a larger one."""
    rows = []
    for preset in PRESETS.values():
        for shape in (preset.shape, wider(preset.shape)):
            rows.append(
                (preset.name, f"{shape.device_batch_size}/{shape.total_batch_size}", *preset_row(device, shape))
            )
    table(("preset", "batch", "tok/s", "MFU %", "peak MiB", "compile s", "attention"), rows)


def wider(shape: Shape) -> Shape:
    """At least 65,536 tokens in a pass."""
    device_batch_size = max(shape.device_batch_size, 65536 // shape.seq_len)
    tokens = device_batch_size * shape.seq_len
    return shape.model_copy(update={"device_batch_size": device_batch_size, "total_batch_size": tokens})


def estimates(device: str) -> None:
    """What `make estimate` predicted for this target, at the batch sizes it took."""
    target = detect(device).target

    def measure(shape: Shape, chosen: Mapping[str, str]) -> tuple[float, float]:
        speed, _, peak_mb, *_ = preset_row(device, shape, chosen)
        return speed, peak_mb

    lines = gpu_kernels.estimate_lines(target, measure)
    if not lines:
        print(f"benchmarks/estimates.jsonl has no rows of target {target}: make estimate TARGETS={target}")
    header = ("preset", "batch", "loop", "tok/s", "estimated", "error", "peak MiB", "estimated MiB")
    table(header, lines)


def kernels(device: str) -> None:
    """Each by the kernel lab; needs the dataset that the experiment before prepared."""
    answers = gpu_kernels.bench_all(device, gpu_kernels.triton_kernels())
    table(("kernel", "status", "ms", "eager", "compiled", "of the limit", ""), gpu_kernels.kernel_rows(answers))
    print()
    table(("kernel", "verdict", ""), gpu_kernels.integration_rows(device, gpu_kernels.best(answers)))


def trace(device: str) -> None:
    answer = gpu_kernels.lab("profile", "--preset", "m5-balanced", "--device", device)
    print("\n".join([answer["headline"], *answer.get("lines", [])]))


def preset_row(device: str, shape: Shape, chosen: Mapping[str, str] | None = None) -> tuple:
    engine = open_engine("torch", device, kernels=dict(chosen or {}))
    recipe = gpt_torch.build(shape, VOCAB_SIZE, 0, engine.handle)
    rows = random_rows(engine, shape)
    started = perf_counter()
    for progress in (0.0, 0.5, 1.0):
        engine.scalar(recipe.step(rows, progress))
    compile_s = perf_counter() - started
    engine.reset_peak_memory()
    seconds = steps_seconds(engine, recipe, rows)
    tok_per_sec = MEASURED_STEPS * shape.total_batch_size / seconds
    peak = peak_flops(detect(device))[0] or engine.matmul_flops()
    mfu = 100 * tok_per_sec * recipe.flops_per_token() / peak
    backend = [choice.chosen for choice in engine.choices if choice.what == "attention_backend"][-1]
    result = (round(tok_per_sec), mfu, engine.peak_memory_mb(), compile_s, backend)
    del recipe
    torch.cuda.empty_cache()
    return result


def steps_seconds(engine: Engine, recipe, rows) -> float:
    engine.synchronize()
    started = perf_counter()
    for _ in range(MEASURED_STEPS):
        loss = recipe.step(rows, 0.3)
    engine.scalar(loss)
    return perf_counter() - started


def random_rows(engine: Engine, shape: Shape):
    random = np.random.default_rng(0)
    return engine.from_host(random.integers(0, VOCAB_SIZE, (shape.rows_per_step, shape.seq_len + 1), dtype=np.uint16))


def resume(device: str) -> None:
    """Ten steps, checkpoint, ten more; against a fresh recipe that loads the checkpoint and takes the same ten."""
    shape = PRESETS["m5-small"].shape
    engine = open_engine("torch", device)
    first = gpt_torch.build(shape, VOCAB_SIZE, 0, engine.handle)
    rows = random_rows(engine, shape)
    for _ in range(10):
        first.step(rows, 0.2)
    with tempfile.TemporaryDirectory() as folder:
        started = perf_counter()
        write_arrays(engine, Path(folder) / "step", first.state())
        save_s = perf_counter() - started
        second = gpt_torch.build(shape, VOCAB_SIZE, 1, engine.handle)
        second.load(read_arrays(engine, Path(folder) / "step", ("model", "optimizer")))
    pairs = [(engine.scalar(first.step(rows, 0.3)), engine.scalar(second.step(rows, 0.3))) for _ in range(10)]
    difference = max(abs(a - b) for a, b in pairs)
    table(("write s", "largest loss difference over 10 steps"), [(save_s, f"{difference:.2e}")])


def experiment(device: str, seconds: float) -> None:
    """`m5-small` on the stdlib corpus through the real trainer and evaluator, fenced."""
    if not (datasets_directory() / "stdlib" / "dataset.json").exists():
        subprocess.run([sys.executable, "-m", "services.prepare", '{"corpus": "stdlib"}'], cwd=CHECKOUT, check=True)
    request = TrainRequest(preset="m5-small", dataset="stdlib", device=device, time_budget=seconds, rung="reference")
    job, source = build_job(request)
    result = run(job, source, NativeExecutor())
    numbers = result.model_dump(
        include={"status", "reason", "val_bpb", "training_seconds", "total_seconds", "num_steps"}
    )
    more = result.model_dump(include={"tok_per_sec", "mfu_percent", "peak_vram_mb", "attention_backend", "rung"})
    table(("what", "value"), (numbers | more).items())
    table(("chosen", "value", "why"), [(choice.what, choice.chosen, choice.reason) for choice in result.choices])


if __name__ == "__main__":
    sys.exit(main())
