"""Estimated training steps, one row for each target, preset and loop, kept in estimates.jsonl beside this file.

A row remembers what it was made of: recipe, kernels, the estimate itself, the compiler's version. It is stale when one
of these has changed. benchmarks/estimate_table.py makes rows and prints them.
"""

import hashlib
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from services.console.estimate_request import changed_shape
from shared.contracts import Contract, Shape
from shared.files import write_atomic
from shared.kernel_lab.estimate import Cost, SideEstimate
from shared.machine.gpus import MAC, find_device
from shared.settings import CHECKOUT

STORE = Path(__file__).with_name("estimates.jsonl")
UPSTREAM, OURS, TRITON = "upstream", "ours", "ours, Triton"
TRITON_KERNELS = {
    "attention_prelude": "triton_epilogue",
    "blend_rmsnorm": "triton_fused",
    "cross_entropy_full": "triton_recompute",
    "muon_polynomial": "triton_triangle",
    "residual_linear": "triton_epilogue",
    "residual_mlp": "triton_saved",
    "value_embed_gate": "triton_fused",
}
"""asked for by name: the best set that the estimate knows"""
BATCHES = {"m5-small": "32/32768", "m5-balanced": "32/32768", "m5-xlarge": "16/32768", "upstream": "128/524288"}
"""device / total, as in the published runs; other presets keep their own, and so does a Mac"""
MOST_OPS = 10
SOURCES = {
    "recipe": "services/trainer/recipes/*.py",
    "kernels": "kernels/**/*.py",
    "estimate": "services/kernel_lab/estimate/*.py",
}
NOT_COUNTED = ("wrong", "definition.py", "correctness.py", "inputs.py", "records.py", "promotion.py")
"""of kernels/: nothing of a step depends on them"""


@dataclass(frozen=True)
class Case:
    """What one row is of."""

    target: str
    preset: str
    loop: str

    @property
    def shape(self) -> Shape:
        if self.preset not in BATCHES or self.target == MAC.target:
            return changed_shape(self.preset, {})
        device, total = BATCHES[self.preset].split("/")
        return changed_shape(self.preset, {"device_batch_size": device, "total_batch_size": total})

    @property
    def packages(self) -> tuple[str, ...]:
        return ("mlx",) if self.target == MAC.target else ("torch", "triton")


class Part(Contract):
    """Of a step: a phase or an op."""

    name: str
    launches: int
    bytes_per_token: float
    flops_per_token: float


class Row(Contract):
    """One estimated step. Times are computed when it is printed: bytes / bandwidth + FLOPs / peak."""

    target: str
    architecture: str
    preset: str
    loop: str
    device_batch_size: int
    total_batch_size: int
    bytes_per_token: float
    flops_per_token: float
    kernels: int
    """started in one optimizer step"""
    host_launches: int
    memory_mb: float
    phases: tuple[Part, ...]
    ops: tuple[Part, ...]
    """those that take longest, first"""
    compiled: int
    """Triton kernels of Inductor, tried for the architecture"""
    failed: tuple[str, ...]
    """those that do not compile, and why"""
    made_of: dict[str, str]
    """versions, and hashes of what it depends on"""

    @property
    def case(self) -> Case:
        return Case(self.target, self.preset, self.loop)

    def tokens_per_s(self, bandwidth: float, peak: float) -> float:
        """Bytes and FLOPs per second of the device."""
        return 1 / self.seconds(self, bandwidth, peak)

    @staticmethod
    def seconds(part: "Part | Row", bandwidth: float, peak: float) -> float:
        """For one token."""
        return part.bytes_per_token / bandwidth + part.flops_per_token / peak


def make_row(case: Case, architecture: str, side: SideEstimate, made_of: dict[str, str]) -> Row:
    shape, compiled = case.shape, side.step.compiled
    return Row(
        target=case.target,
        architecture=architecture,
        preset=case.preset,
        loop=case.loop,
        device_batch_size=shape.device_batch_size,
        total_batch_size=shape.total_batch_size,
        bytes_per_token=round(side.bytes_per_token, 1),
        flops_per_token=round(side.flops_per_token),
        kernels=side.launches,
        host_launches=side.step.host_launches,
        memory_mb=round(side.memory_bytes / 2**20, 1),
        phases=tuple(_part(cost, side.tokens) for cost in side.phases),
        ops=tuple(_part(cost, side.tokens) for cost in side.ops[:MOST_OPS]),
        compiled=len(compiled),
        failed=tuple(f"{one.kernel}: {one.error}" for one in compiled if one.error),
        made_of=made_of,
    )


def _part(cost: Cost, tokens: int) -> Part:
    return Part(
        name=cost.name,
        launches=cost.launches,
        bytes_per_token=round(cost.bytes / tokens, 1),
        flops_per_token=round(cost.flops / tokens),
    )


def made_of(case: Case, foreign: Path | None) -> dict[str, str]:
    """foreign: the train.py of upstream or of the port, for rows of those loops."""
    now = {name: _version(name) for name in case.packages}
    now |= {name: _hash(CHECKOUT.glob(pattern)) for name, pattern in SOURCES.items()}
    if foreign is not None:
        now["recipe"] = _hash([foreign])
    now["device"] = hashlib.sha256(repr(find_device(case.target)).encode()).hexdigest()[:16]
    now["batch"] = f"{case.shape.device_batch_size}/{case.shape.total_batch_size}"
    return now


def _version(package: str) -> str:
    """Empty where it is not installed: what was made with one is stale there."""
    with suppress(metadata.PackageNotFoundError):
        return metadata.version(package)
    return ""


def _hash(files: Iterable[Path]) -> str:
    counted = sorted(path for path in files if not set(NOT_COUNTED) & set(path.parts))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in counted)).hexdigest()[:16]


def changed(row: Row, now: dict[str, str]) -> list[str]:
    """Names of what is not as it was when the row was made."""
    return sorted(name for name in {*row.made_of, *now} if row.made_of.get(name) != now.get(name))


def read_rows(store: Path = STORE) -> dict[Case, Row]:
    if not store.exists():
        return {}
    rows = [Row.model_validate_json(line) for line in store.read_text(encoding="utf-8").splitlines()]
    return {row.case: row for row in rows}


def write_rows(rows: dict[Case, Row], store: Path = STORE) -> None:
    ordered = sorted(rows.values(), key=lambda row: (row.target, row.preset, row.loop))
    write_atomic(store, "".join(row.model_dump_json() + "\n" for row in ordered).encode())
