"""From what somebody asks for to a complete job: every default resolved here, each with its reason.

`autoresearch train` and the worker's job functions build their jobs with this and nothing else.
"""

import secrets
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field, ValidationError

from shared.contracts import Budget, CheckpointPolicy, Choice, Contract, IdeaRef, Job, Rung, Shape
from shared.data.dataset import default_dataset, open_dataset
from shared.engines import check_attention
from shared.experiment.identity import check_identity
from shared.experiment.platform_default import judge, read_default
from shared.experiment.presets import (
    DEFAULT_BUDGET_S,
    DEFAULT_PRESET,
    SMALLEST_PRESET,
    SMOKE_BUDGET_S,
    find_preset,
    preset_of,
)
from shared.experiment.recipe import check_source
from shared.experiment.settings import JOB_KEYS, promotions_said
from shared.files import sha256_bytes, sha256_file
from shared.machine.device import Device, DeviceKind
from shared.machine.hardware import Hardware, Vendor, default_engine, detect
from shared.machine.targets import find_target
from shared.runs.shipped import default_recipe
from shared.time_budget import TimeBudget

PERIODIC_CHECKPOINT_S = 300.0


class TrainRequest(Contract):
    """What can be asked of one experiment; strings are coerced, so command lines and queues may send them."""

    preset: str | None = None
    target: str | None = None
    engine: Literal["torch", "mlx"] | None = None
    device: str | None = None
    dataset: str | None = None
    seed: int = Field(default=42, ge=0, lt=2**32)
    time_budget: TimeBudget | None = None
    """seconds of training, to three digits"""
    tokens: int | None = Field(default=None, gt=0)
    """train on so many tokens instead of a time"""
    rung: Literal["auto", "cheap", "reference", "full"] = "auto"
    smoke: bool = False
    """a few seconds of training and the smallest evaluation: never ranked"""
    checkpoint_every: float | None = Field(default=None, gt=0, allow_inf_nan=False)
    checkpoint_mode: Literal["sync", "async"] = "sync"
    curve_points: int = Field(default=0, ge=0, le=64)
    set: dict[str, str] = Field(default_factory=dict)
    """single values of the shape, or attention, compile, dtype, eval_batch_size, kernels"""
    idea: IdeaRef | None = None
    """what the run tests (shared/research)"""


def build_job(request: TrainRequest, recipe_source: bytes | None = None) -> tuple[Job, bytes]:
    """The job and the source of its recipe. ValueError, in one line, for anything that cannot be run here."""
    choices: list[Choice] = []
    hardware, engine = _machine(request, choices)
    source = recipe_source if recipe_source is not None else default_recipe(engine).read_bytes()
    check_source(source, "recipe")
    recipe_sha = sha256_bytes(source)
    if request.idea is not None:
        check_identity(request.idea, recipe_sha, request.preset, request.set)
    shape, preset, tuned = _shape(request, hardware, engine, choices)
    budget = _budget(request)
    dataset = _dataset(request, choices)
    job = {
        "run_id": new_run_id(preset or "custom", request.seed),
        "engine": engine,
        "device": _device(engine, request.device or hardware.device),
        "target": _target(request, hardware),
        "hardware_key": hardware.hardware_key,
        "preset": preset,
        "shape": shape,
        "dataset": dataset.ref,
        "recipe_sha": recipe_sha,
        "seed": request.seed,
        "budget": budget,
        "rung": Rung.SMOKE if request.smoke else request.rung,
        "checkpoints": _checkpoints(request, budget),
        "curve_points": request.curve_points,
        "idea": request.idea,
        "choices": (*choices, *promotions_said(hardware.hardware_key)),
    }
    return validated(Job, job | tuned | {key: request.set[key] for key in JOB_KEYS if key in request.set}), source


def check_keys(names: Iterable[str]) -> None:
    """ValueError for a name that no run can be set."""
    known = {*Shape.model_fields, *JOB_KEYS}
    if unknown := sorted(set(names) - known):
        raise ValueError(f"unknown key '{', '.join(unknown)}': --set takes {', '.join(sorted(known))}")


def new_run_id(label: str, seed: int) -> str:
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{label}-s{seed}-{secrets.token_hex(2)}"


def validated(model: type[Contract], values: dict[str, Any]) -> Any:
    """ValueError with the first thing wrong, on one line, without pydantic's page of text."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise ValueError(f"{name}: {message}, got {first['input']!r}" if name else message) from None


def _machine(request: TrainRequest, choices: list[Choice]) -> tuple[Hardware, str]:
    hardware = detect(request.device)
    if request.engine is not None:
        if request.device is None and request.engine == "mlx" and hardware.vendor is not Vendor.APPLE:
            choices.append(Choice(what="device", chosen="cpu", reason="no Apple chip was found"))
            return detect("cpu"), "mlx"
        return hardware, request.engine
    engine, device, reason = default_engine(hardware)
    choices.append(Choice(what="engine", chosen=f"{engine} on {request.device or device}", reason=reason))
    return detect(request.device or device), engine


def _device(engine: str, device: str) -> str:
    """The device as the engine calls it. ValueError when it cannot run there."""
    asked = Device.parse(device)
    if asked.is_apple:
        return str(DeviceKind.MPS if engine == "torch" else DeviceKind.METAL)
    if asked.is_cuda and engine == "mlx":
        raise ValueError(f"device {device}: the mlx engine runs on metal or cpu; --engine torch runs there")
    return device


def _target(request: TrainRequest, hardware: Hardware) -> str:
    """ValueError when somebody names a target this machine is not."""
    if request.target is None or find_target(request.target).name == hardware.target:
        return hardware.target
    raise ValueError(f"target {request.target}: this machine is {hardware.target} ({hardware.hardware_key})")


def _shape(
    request: TrainRequest, hardware: Hardware, engine: str, choices: list[Choice]
) -> tuple[Shape, str | None, dict[str, Any]]:
    """The shape, its preset's name if it is one's, and what was tuned together with it."""
    check_keys(request.set)
    base, tuned = _base(request, hardware, engine, choices)
    check_attention(engine, request.set.get("attention", "auto"))
    changes = {key: value for key, value in request.set.items() if key in Shape.model_fields}
    shape = validated(Shape, base.model_dump() | changes | _fitting_rows(base, changes, choices))
    return shape, preset_of(shape), tuned


def _fitting_rows(base: Shape, changes: dict[str, Any], choices: list[Choice]) -> dict[str, int]:
    """Rows of a pass that divide another step or row length, where nobody asked for a number of rows: the base's were
    chosen for its own. Nothing where the base's fit, or none would."""
    sizes = [str({**base.model_dump(), **changes}[name]) for name in ("total_batch_size", "seq_len")]
    if "device_batch_size" in changes or not all(size.isdecimal() and int(size) for size in sizes):
        return {}
    step, seq_len = map(int, sizes)
    if step % seq_len or step // seq_len % base.device_batch_size == 0:
        return {}
    largest = max(1, min(base.device_batch_size, base.device_batch_size * base.seq_len // seq_len))
    rows = max(count for count in range(1, largest + 1) if step // seq_len % count == 0)
    reason = f"the base's {base.device_batch_size} do not divide steps of {step} tokens in rows of {seq_len}"
    choices.append(Choice(what="device_batch_size", chosen=str(rows), reason=reason))
    return {"device_batch_size": rows}


def _base(
    request: TrainRequest, hardware: Hardware, engine: str, choices: list[Choice]
) -> tuple[Shape, dict[str, Any]]:
    """What was named, else what this machine was calibrated to, else the default start."""
    if request.preset is not None:
        return find_preset(request.preset).shape, {}
    default = read_default(hardware.hardware_key, engine)
    if default is None:
        name, reason = _start(hardware)
        choices.append(Choice(what="preset", chosen=name, reason=reason))
        return find_preset(name).shape, {}
    recipe_sha = sha256_file(default_recipe(engine))
    judgement = judge(default, datetime.now(UTC), driver_version=hardware.driver_version, recipe_sha=recipe_sha)
    reason = f"the platform default, {judgement.standing}: {judgement.reason}"
    if expects := default.expects:
        reason += f"; expects val_bpb {expects.val_bpb:.3f} after {default.budget_seconds:g} s"
    how = "calibrated" if expects else "not measured"
    choices.append(Choice(what="shape", chosen=f"{default.family}, {how}", reason=reason))
    if default.eval_batch_size is not None and "eval_batch_size" not in request.set:
        rows = f"{default.eval_batch_size} rows"
        choices.append(Choice(what="eval_batch_size", chosen=rows, reason="the platform default's: the cheapest tried"))
    return default.shape, {**default.tuning.model_dump(), "eval_batch_size": default.eval_batch_size}


def _start(hardware: Hardware) -> tuple[str, str]:
    """The preset of a machine that nobody calibrated, and why."""
    hint = "autoresearch calibrate finds a better one"
    if hardware.vendor is Vendor.CPU:
        return SMALLEST_PRESET, f"the smallest, this machine has no accelerator; {hint}"
    return DEFAULT_PRESET, f"the default start; {hint}"


def _budget(request: TrainRequest) -> Budget:
    if request.time_budget is not None and request.tokens is not None:
        raise ValueError("a budget is either --time-budget or --tokens")
    if request.tokens is not None:
        return Budget(tokens=request.tokens)
    return Budget(seconds=request.time_budget or (SMOKE_BUDGET_S if request.smoke else DEFAULT_BUDGET_S))


def _dataset(request: TrainRequest, choices: list[Choice]) -> Any:
    if request.dataset is not None:
        return open_dataset(request.dataset)
    dataset, reason = default_dataset()
    choices.append(Choice(what="dataset", chosen=dataset.ref.name, reason=reason))
    return dataset


def _checkpoints(request: TrainRequest, budget: Budget) -> CheckpointPolicy:
    return CheckpointPolicy(mode=request.checkpoint_mode, every_s=request.checkpoint_every or _checkpoint_every(budget))


def _checkpoint_every(budget: Budget) -> float | None:
    """Periodic ones only where more than one default budget could be lost."""
    return PERIODIC_CHECKPOINT_S if budget.seconds is None or budget.seconds > PERIODIC_CHECKPOINT_S else None


def has_own_terms(job: Job) -> bool:
    """Whether it keeps or scores weights along the way otherwise than a job of its budget does unasked."""
    return bool(job.curve_points) or job.checkpoints != CheckpointPolicy(every_s=_checkpoint_every(job.budget))
