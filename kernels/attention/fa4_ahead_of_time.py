"""Compiles FlashAttention 4's kernels of every preset without a GPU, when an image is built.

    python -m kernels.attention.fa4_ahead_of_time --arch sm_121           compiles, then checks in a new process
    python -m kernels.attention.fa4_ahead_of_time --arch sm_121 --check   exit 0: every kernel comes from the cache

They go to kernels/attention/compiled/<arch>, beside manifest.json, where fa4_cache.py finds them. docs/attention.md.
"""

import argparse
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter

import torch
from pydantic import ValidationError

from kernels.attention.choose import probed_rows
from kernels.attention.fa4 import left_window, run_backward, run_forward
from kernels.attention.fa4_any_cpu import for_any_cpu
from kernels.attention.fa4_cache import AHEAD_OF_TIME, open_cache
from shared.contracts import Contract, Shape
from shared.evaluation.rungs import EVAL_SEQ_LEN
from shared.experiment.presets import PRESETS
from shared.files import sha256_file, write_atomic
from shared.machine.targets import TARGETS

ARCHITECTURES = tuple(sorted({arch for row in TARGETS if "fa4" in row.attention for arch in row.architectures}))
PACKAGES = ("flash-attn-4", "nvidia-cutlass-dsl", "apache-tvm-ffi", "quack-kernels", "torch")
QUERIES_PER_KV = 1  # the shipped recipes'; one that shares heads compiles when it first runs
BATCH, KV_HEADS = 2, 2  # any: kernels are the same bytes for 1 and 4 of each
NUM_SMS = "48"  # must be set where no GPU is; kernels are the same bytes for 170


class Kernel(Contract):
    file: str
    bytes: int
    sha256: str


class Manifest(Contract):
    """What compiled/<arch> holds and what made it."""

    arch: str
    machine: str
    """of the host code, e.g. aarch64"""
    python: str
    versions: dict[str, str]
    num_calls: int
    seconds: float
    num_bytes: int
    kernels: tuple[Kernel, ...]


@dataclass(frozen=True, order=True)
class Call:
    """One use of attention. Batch and number of heads change no kernel."""

    head_dim: int
    queries_per_kv: int
    seq_len: int
    window: int
    backward: bool


def preset_calls() -> list[Call]:
    """Every call of a run of any preset, each once."""
    return sorted({call for preset in PRESETS.values() for call in calls_of(preset.shape)})


def calls_of(shape: Shape) -> Iterator[Call]:
    """Training, evaluation and the probe that precedes both."""
    windows = windows_of(shape)
    head_dim = shape.d_model // shape.heads
    for window in windows:
        yield Call(head_dim, QUERIES_PER_KV, shape.seq_len, window, backward=True)
        yield Call(head_dim, QUERIES_PER_KV, EVAL_SEQ_LEN, window, backward=False)
    for length, window in probed_rows(windows):
        yield Call(head_dim, QUERIES_PER_KV, length, window, backward=True)


def windows_of(shape: Shape) -> list[int]:
    """The recipes' windows: L looks back seq_len, S half of it, the last layer is L."""
    look_back = {"L": shape.seq_len, "S": shape.seq_len // 2}
    return sorted({look_back[letter] for letter in shape.window_pattern[: shape.depth - 1] + "L"})


def compile_kernels(arch: str, cache: Path, calls: Iterable[Call]) -> Manifest:
    """Fills cache/<arch> anew."""
    shutil.rmtree(cache / arch, ignore_errors=True)
    os.environ["FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"] = str(cache)
    folder = open_cache(arch, brought=cache)
    interface = _package_without_gpu(arch)
    calls, started = list(calls), perf_counter()
    with for_any_cpu():
        _make(interface, calls)
    manifest = _manifest(arch, folder, len(calls), perf_counter() - started)
    write_atomic(folder / "manifest.json", manifest.model_dump_json(indent=2) + "\n")
    return manifest


def check_kernels(arch: str, cache: Path, calls: Iterable[Call]) -> float:
    """Seconds until every call had its kernels, none of them compiled. RuntimeError says which are not there.

    The way of a run: kernels are copied to a folder of this process first. Needs a process that has not imported
    the package.
    """
    _check_manifest(arch, cache / arch)
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["FLASH_ATTENTION_CUTE_DSL_CACHE_DIR"] = scratch
        started = perf_counter()
        open_cache(arch, brought=cache)
        copied_s = perf_counter() - started
        interface = _package_without_gpu(arch)
        interface.cute.compile = _refuse
        started = perf_counter()
        _make(interface, calls)
        return copied_s + perf_counter() - started


def _package_without_gpu(arch: str):
    os.environ |= {"FLASH_ATTENTION_ARCH": arch, "CUTE_DSL_ARCH": f"{arch}a", "FLASH_ATTENTION_NUM_SMS": NUM_SMS}
    from flash_attn.cute import interface

    return interface


def _refuse(*_, **__):
    raise RuntimeError("it would be compiled")


def _make(interface, calls: Iterable[Call]) -> None:
    """Has the package find or compile what each call needs; nothing is computed."""
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of reading addresses of tensors that have none
        for call in calls:
            try:
                _make_one(interface, call)
            except Exception as error:
                raise RuntimeError(f"{call}: {error}") from error


def _make_one(interface, call: Call) -> None:
    query_heads = KV_HEADS * call.queries_per_kv
    q, k, v, dy = (
        torch.empty(BATCH, call.seq_len, heads, call.head_dim, dtype=torch.bfloat16, device="cuda:0")
        for heads in (query_heads, KV_HEADS, KV_HEADS, query_heads)
    )
    left = left_window(call.window, call.seq_len)
    y, lse = run_forward(interface, q, k, v, left)
    if call.backward:
        run_backward(interface, dy, q, k, v, y, lse, left)


def _manifest(arch: str, folder: Path, num_calls: int, seconds: float) -> Manifest:
    kernels = [
        Kernel(file=str(path.relative_to(folder)), bytes=path.stat().st_size, sha256=sha256_file(path))
        for path in sorted(folder.rglob("*.o"))
    ]
    return Manifest(
        arch=arch,
        machine=platform.machine(),
        python=platform.python_version(),
        versions=_versions(),
        num_calls=num_calls,
        seconds=round(seconds, 1),
        num_bytes=sum(kernel.bytes for kernel in kernels),
        kernels=tuple(kernels),
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}


def _check_manifest(arch: str, folder: Path) -> None:
    try:
        manifest = Manifest.model_validate_json((folder / "manifest.json").read_bytes())
    except (OSError, ValidationError) as error:
        raise RuntimeError(f"no kernels were compiled for {arch} in {folder} ({type(error).__name__})") from None
    made_for, here = (manifest.machine, manifest.versions), (platform.machine(), _versions())
    if made_for != here:
        raise RuntimeError(f"its kernels were made for {made_for}, this is {here}")
    for kernel in manifest.kernels:
        if not (path := folder / kernel.file).is_file() or sha256_file(path) != kernel.sha256:
            raise RuntimeError(f"{path} is not what was compiled")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m kernels.attention.fa4_ahead_of_time")
    parser.add_argument("--arch", required=True, choices=ARCHITECTURES)
    parser.add_argument("--cache", type=Path, default=AHEAD_OF_TIME)
    parser.add_argument("--check", action="store_true", help="compile nothing; exit 1 unless all kernels are there")
    asked = parser.parse_args()
    cache, calls = asked.cache.absolute(), preset_calls()
    if asked.check:
        try:
            seconds = check_kernels(asked.arch, cache, calls)
        except RuntimeError as error:
            print(f"{asked.arch}: {error}", file=sys.stderr)
            return 1
        print(f"{asked.arch}: {len(calls)} calls have their kernels after {seconds:.2f} s, none was compiled")
        return 0
    made = compile_kernels(asked.arch, cache, calls)
    print(f"{made.arch}: {len(made.kernels)} kernels, {made.num_bytes / 1000:.0f} kB, {made.seconds} s")
    return subprocess.run([sys.executable, "-m", __spec__.name, *sys.argv[1:], "--check"], check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
