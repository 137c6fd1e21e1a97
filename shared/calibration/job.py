"""What can be asked of a calibration, and what it becomes, for `autoresearch calibrate` and the worker's job."""

from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from shared.contracts import Contract, DatasetRef, Sha256
from shared.evaluation.costs import signature
from shared.evaluation.rungs import eval_signature
from shared.experiment.platform_default import installed_framework
from shared.experiment.presets import DEFAULT_BUDGET_S, PRESETS, find_preset
from shared.experiment.request import TrainRequest, build_job, validated
from shared.files import sha256_file
from shared.machine.hardware import detect
from shared.runs.shipped import default_recipe
from shared.settings import settings
from shared.time_budget import TimeBudget

Mode = Literal["fast", "full"]
DEFAULT_MINUTES: dict[Mode, float] = {"fast": 10.0, "full": 60.0}
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
    time_budget: TimeBudget = DEFAULT_BUDGET_S
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
    framework: str
    """the engine's, with its version; empty where it is in another container"""
    memory_mb: float = Field(gt=0)
    """MiB the device can allocate from"""
    dataset: DatasetRef
    recipe_sha: Sha256
    eval_signature: str

    @property
    def machine_signature(self) -> str:
        """Of what a measurement depends on: measurements with another one say nothing here."""
        depends_on = (
            "engine", "device", "hardware_key", "driver_version", "framework", "dataset", "recipe_sha",
            "eval_signature",
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
            "framework": installed_framework(job.engine) or "",
            "memory_mb": hardware.memory_bytes / 2**20,
            "dataset": job.dataset,
            "recipe_sha": sha256_file(default_recipe(job.engine)),
            "eval_signature": eval_signature(),
        },
    )


def calibration_folder(calibration: Calibration) -> Path:
    """Where a machine's calibrations are kept, so that the next one builds on them."""
    return settings().home / "platform" / calibration.hardware_key / f"calibration-{calibration.engine}"
