"""A calibration: what can be asked of it, what it becomes, and the events by which people follow it.

`autoresearch calibrate` and the worker's job build a Calibration with this; services/calibrator works on it in a
folder of its own, where a later calibration of the same machine finds what was measured.
"""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import AwareDatetime, Field, ValidationError, field_validator

from shared.contracts import Contract, DatasetRef, RunId, Sha256
from shared.evaluation.costs import signature
from shared.evaluation.rungs import eval_signature
from shared.experiment.platform_default import PlatformDefault
from shared.experiment.presets import PRESETS, find_preset
from shared.experiment.request import (
    DEFAULT_BUDGET_S,
    TrainRequest,
    build_job,
    default_recipe,
    validated,
)
from shared.files import sha256_file, write_atomic
from shared.machine.hardware import detect
from shared.settings import settings

Mode = Literal["fast", "full"]
DEFAULT_MINUTES: dict[Mode, float] = {"fast": 10.0, "full": 60.0}
DEVICE_BUSY = 75
"""exit code of the calibrator when another experiment has the device (EX_TEMPFAIL of sysexits.h)"""
SHORTEST_PROBE_S = 10.0
"""wall-clock of the quickest probe: start, a few seconds of training, evaluation"""
CLOSING_S = 10.0
"""of the minutes, for what comes after the last probe"""
OPT_IN = ("upstream",)
"""presets that are measured only when they are named"""


class CalibrationRequest(Contract):
    """What can be asked of one calibration; strings are coerced, so command lines and queues may send them."""

    mode: Mode = "fast"
    budget: float | None = Field(default=None, gt=0, le=7 * 24 * 60, allow_inf_nan=False)
    """minutes for everything; None takes 10 for fast, 60 for full"""
    presets: tuple[str, ...] = ()
    """families to choose from; empty takes all but `upstream`"""
    time_budget: float = Field(default=DEFAULT_BUDGET_S, gt=0, allow_inf_nan=False)
    """training seconds of the experiments the default is for"""
    dataset: str | None = None
    engine: Literal["torch", "mlx"] | None = None
    device: str | None = None
    target: str | None = None
    force: bool = False
    """measure everything again"""

    @field_validator("presets", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        return tuple(filter(None, (part.strip() for part in value.split(",")))) if isinstance(value, str) else value

    @field_validator("presets")
    @classmethod
    def _known(cls, presets: tuple[str, ...]) -> tuple[str, ...]:
        for name in presets:
            find_preset(name)
        return presets


class Calibration(Contract):
    """One calibration, complete: everything its measurements depend on, and how long it may take."""

    mode: Mode
    minutes: float = Field(gt=0)
    presets: tuple[str, ...] = Field(min_length=1)
    target_seconds: float = Field(gt=0)
    engine: Literal["torch", "mlx"]
    device: str
    target: str
    hardware_key: str
    architecture: str
    driver_version: str
    memory_mb: float = Field(gt=0)
    """MiB the device can allocate from"""
    dataset: DatasetRef
    recipe_sha: Sha256
    eval_signature: str

    @property
    def machine_signature(self) -> str:
        """Of what a measurement depends on: measurements with another one say nothing here."""
        depends_on = (
            "engine", "device", "hardware_key", "driver_version", "dataset", "recipe_sha", "eval_signature",
        )  # fmt: skip
        return signature(kind="calibration", **self.model_dump(mode="json", include=set(depends_on)))

    @property
    def id(self) -> str:
        return f"cal-{self.machine_signature[:8]}"


class CalibrateJob(Contract):
    """Work for the calibrator."""

    calibration: Calibration
    folder: Path | None = None
    """where results are kept; None takes the machine's own place"""
    force: bool = False

    @property
    def place(self) -> Path:
        return self.folder or calibration_folder(self.calibration)


def build_calibration(request: CalibrationRequest) -> Calibration:
    """Everything resolved. ValueError, in one line, for what cannot be calibrated here."""
    job, _ = build_job(
        TrainRequest(
            preset="m5-tiny",
            engine=request.engine,
            device=request.device,
            dataset=request.dataset,
            target=request.target,
            time_budget=request.time_budget,
        )
    )
    hardware = detect(job.device)
    presets = request.presets or tuple(name for name in PRESETS if name not in OPT_IN)
    minutes = request.budget or DEFAULT_MINUTES[request.mode]
    needed = (SHORTEST_PROBE_S * len(presets) + CLOSING_S) / 60
    if minutes < needed:
        raise ValueError(
            f"--budget {minutes:g}: one probe of each of {len(presets)} presets takes at least {needed:.1f} minutes; "
            "give more, or name fewer with --presets"
        )
    return validated(
        Calibration,
        {
            "mode": request.mode,
            "minutes": minutes,
            "presets": presets,
            "target_seconds": request.time_budget,
            "engine": job.engine,
            "device": job.device,
            "target": job.target,
            "hardware_key": job.hardware_key,
            "architecture": hardware.architecture,
            "driver_version": hardware.driver_version,
            "memory_mb": hardware.memory_bytes / 2**20,
            "dataset": job.dataset,
            "recipe_sha": sha256_file(default_recipe(job.engine)),
            "eval_signature": eval_signature(),
        },
    )


def calibration_folder(calibration: Calibration) -> Path:
    """Where a machine's calibrations are kept, so that the next one builds on them."""
    return settings().home / "platform" / calibration.hardware_key / f"calibration-{calibration.engine}"


def fleet_rows_file() -> Path:
    """Where a worker puts the quality rows of the fleet: the calibrator has no network."""
    return settings().runs / "fleet-rows.json"


def calibration_file(folder: Path) -> Path:
    return folder / "calibration.json"


def lay_out(folder: Path, calibration: Calibration) -> None:
    """Writes calibration.json. ValueError when the folder holds another machine's calibration, or no calibration."""
    earlier = read_calibration(folder) if calibration_file(folder).exists() else None
    if earlier is not None and earlier.hardware_key != calibration.hardware_key:
        raise ValueError(
            f"{folder} holds a calibration of {earlier.hardware_key}, this machine is {calibration.hardware_key}: "
            "choose another --output-dir"
        )
    if earlier is None and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no calibration: choose another --output-dir")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(calibration_file(folder), calibration.model_dump_json(indent=2) + "\n")


def read_calibration(folder: Path) -> Calibration:
    """ValueError when there is none, or it is damaged."""
    path = calibration_file(folder)
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no calibration") from None
    except ValidationError as error:
        what = error.errors()[0]["msg"]
        raise ValueError(f"{path} is damaged ({what}): delete it, the measurements beside it are kept") from None


class PlannedPhase(Contract):
    name: str
    says: str
    minutes: float


class Event(Contract):
    """One line of events.jsonl: what a person who watches is told."""

    at: AwareDatetime
    spent_s: float = Field(ge=0)
    """of the calibration's minutes, over all processes that worked on it"""
    kind: Literal["plan", "phase", "reused", "probe", "note", "finished"]
    phase: str = ""
    says: str = ""
    plan: tuple[PlannedPhase, ...] = ()
    status: str = ""
    """of a probe"""
    run_id: RunId | None = None
    best: str = ""
    """the best so far, with its interval"""
    default: PlatformDefault | None = None


def events_file(folder: Path) -> Path:
    return folder / "events.jsonl"


def append_event(folder: Path, **fields: Any) -> Event:
    event = Event(at=datetime.now(UTC), **fields)
    with open(events_file(folder), "a", encoding="utf-8") as file:
        file.write(event.model_dump_json(exclude_defaults=True) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return event


def read_events(folder: Path, skip_bytes: int = 0) -> tuple[list[Event], int]:
    """Events behind `skip_bytes`, and where the last whole line ends; lines that cannot be read are left out."""
    path = events_file(folder)
    if not path.exists():
        return [], skip_bytes
    with open(path, "rb") as file:
        file.seek(skip_bytes)
        content = file.read()
    whole = content[: content.rfind(b"\n") + 1]
    events = []
    for line in whole.splitlines():
        try:
            events.append(Event.model_validate(json.loads(line)))
        except (ValueError, ValidationError):
            continue
    return events, skip_bytes + len(whole)


def read_default_of(folder: Path) -> PlatformDefault:
    """What the last calibration in the folder ended with. ValueError when none came to an end."""
    events, _ = read_events(folder)
    for event in reversed(events):
        if event.default is not None:
            return event.default
    raise ValueError(f"the calibration in {folder} came to no default: run the same command again")
