"""The platform default: the shape a machine should start from, as a calibration found it, and how sure that is.

One file for each hardware key and engine in ARE_HOME/platform. `autoresearch train` uses it when no preset is named;
`autoresearch calibrate` writes it. docs/platform-calibration.md.
"""

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal, NamedTuple, Self

from pydantic import AwareDatetime, Field, ValidationError, model_validator

from shared.contracts import Contract, DatasetRef, Rung, Shape
from shared.evaluation.costs import signature
from shared.evaluation.rungs import AGING_AFTER, STALE_AFTER, eval_signature
from shared.files import write_atomic
from shared.invalid import first_wrong
from shared.kernel_names import Kernels
from shared.settings import settings

FEWEST_PAIRS = 4
"""of runs with the same seed, below which a correlation has no interval"""


class Confidence(StrEnum):
    """How sure a default is."""

    HIGH = "high"
    """the best by more than twice the noise, at a budget of at least a third of the target's, with its noise known"""
    MEDIUM = "medium"
    """trained to its end more than once, but another shape may be as good"""
    LOW = "low"
    """predicted, or measured at budgets much shorter than the target's"""
    NONE = "none"
    """nothing was measured: every probe hung, crashed, diverged or ran out of memory"""


class Tuning(Contract):
    """What is chosen for a device before shapes are compared; "auto" leaves it to the engine."""

    dtype: Literal["auto", "bf16", "fp32"] = "auto"
    compile: Literal["auto", "on", "off", "graphs", "step"] = "auto"
    attention: str = "auto"
    kernels: Kernels = Field(default_factory=dict)
    """{op: kernel} that won on this machine"""


class Pairing(Contract):
    """What two shapes have in common when they run with the same seed: correlation of their val_bpb over seeds."""

    rho: float = Field(ge=-1, le=1)
    low: float = Field(ge=-1, le=1)
    high: float = Field(ge=-1, le=1)
    """95 % interval of rho (Fisher's z)"""
    num_pairs: int = Field(ge=FEWEST_PAIRS)
    other: Shape
    """the second shape; the first is the default's"""
    run_ids: tuple[str, ...] = ()
    """of the second shape, by seed in the order of the noise floor's"""

    @property
    def helps(self) -> bool | None:
        """None: the interval does not tell."""
        return True if self.low > 0 else False if self.high <= 0 else None

    @property
    def verdict(self) -> str:
        said = f"rho {self.rho:.2f}, 95 % interval {self.low:.2f} to {self.high:.2f}"
        if self.helps:
            return f"pairing by seed helps here ({said}): a paired comparison needs {1 - self.rho:.0%} of the runs"
        if self.helps is None:
            return f"whether pairing by seed helps here is not known ({said})"
        return f"pairing by seed does not help here ({said})"


class NoiseFloor(Contract):
    """Standard deviation of val_bpb over seeds, for one machine, shape, budget and rung."""

    sigma: float = Field(ge=0, allow_inf_nan=False)
    low: float = Field(ge=0, allow_inf_nan=False)
    high: float = Field(ge=0)
    """95 % interval of sigma (chi-square)"""
    num_seeds: int = Field(ge=2)
    budget_seconds: float = Field(gt=0)
    """of the runs it was measured on; shorter ones than the target's are noisier"""
    rung: Rung
    weak: bool
    """rests on fewer than eight seeds"""
    run_ids: tuple[str, ...] = ()
    pairing: Pairing | None = None
    """None: not measured (mode fast), or too few pairs"""

    def smallest_effect(self, num_runs: int) -> float:
        """Difference in val_bpb that the means of two groups of `num_runs` runs show at two standard errors."""
        return float(2.0 * self.sigma * (2.0 / num_runs) ** 0.5)


class Expects(NamedTuple):
    """What a default that was measured expects."""

    val_bpb: float
    spread: float
    tok_per_sec: float
    memory_mb: float


class PlatformDefault(Contract):
    schema_version: Literal[1] = 1
    hardware_key: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,119}$")
    target: str
    engine: Literal["torch", "mlx"]
    device: str
    driver_version: str
    framework: str
    """with its version; empty: no run told"""
    family: str
    """preset whose depth, width and heads the shape has"""
    shape: Shape
    tuning: Tuning = Tuning()
    eval_batch_size: int | None = None
    rung: Rung
    """the largest that costs at most its share of the budget"""
    dataset: DatasetRef
    budget_seconds: float = Field(gt=0)
    """of the experiments it is for"""
    val_bpb: float | None
    """predicted at that budget; this and the next three are None exactly where the confidence is none"""
    spread: float | None = Field(ge=0)
    """of the prediction, one standard deviation"""
    tok_per_sec: float | None = Field(gt=0)
    memory_mb: float | None = Field(ge=0)
    """MiB, peak of training"""
    confidence: Confidence
    reason: str
    next_step: str = ""
    """what to do about it where nothing was measured; else empty"""
    noise: NoiseFloor | None = None
    eval_signature: str
    recipe_sha: str
    """of the shipped recipe it was measured with"""
    made_at: AwareDatetime
    mode: Literal["fast", "full"]
    calibration: str
    """id of the calibration, whose folder holds the evidence"""

    @model_validator(mode="after")
    def _numbers_are_measured(self) -> Self:
        numbers = (self.val_bpb, self.spread, self.tok_per_sec, self.memory_mb)
        if any((number is None) != (self.confidence is Confidence.NONE) for number in numbers):
            raise ValueError("val_bpb, spread, tok_per_sec and memory_mb are there unless the confidence is none")
        return self

    @property
    def expects(self) -> Expects | None:
        """None where nothing was measured."""
        if self.val_bpb is None or self.spread is None or self.tok_per_sec is None or self.memory_mb is None:
            return None
        return Expects(self.val_bpb, self.spread, self.tok_per_sec, self.memory_mb)

    @property
    def is_measured(self) -> bool:
        return self.expects is not None

    @property
    def signature(self) -> str:
        """Of what the measurements depend on. Stale when it is not what it was."""
        return runtime_signature(self.engine, self.framework, self.driver_version, self.recipe_sha)


def runtime_signature(engine: str, framework: str, driver_version: str, recipe_sha: str) -> str:
    return signature(
        kind="platform", engine=engine, framework=framework, driver_version=driver_version, recipe_sha=recipe_sha
    )


class Standing(StrEnum):
    VALID = "valid"
    AGING = "aging"
    STALE = "stale"
    UNMEASURED = "unmeasured"


@dataclass(frozen=True)
class Judgement:
    standing: Standing
    reason: str


def judge(
    default: PlatformDefault, now: datetime, *, driver_version: str, recipe_sha: str, framework: str | None = None
) -> Judgement:
    """Whether a default still says something of this machine. `framework` None: not known here, not compared."""
    age = now - default.made_at
    if not default.is_measured:
        said = f"no probe came to a number when it was calibrated {_ago(age)}; autoresearch calibrate measures again"
        return Judgement(Standing.UNMEASURED, said)
    changed = [
        what
        for what, is_changed in (
            ("the evaluation", default.eval_signature != eval_signature()),
            ("the shipped recipe", default.recipe_sha != recipe_sha),
            (f"the driver ({default.driver_version} -> {driver_version})", default.driver_version != driver_version),
            (f"{default.framework} -> {framework}", framework is not None and default.framework != framework),
        )
        if is_changed
    ]
    if changed:
        return Judgement(Standing.STALE, f"changed since it was calibrated: {', '.join(changed)}")
    if age > STALE_AFTER:
        return Judgement(Standing.STALE, f"calibrated {age.days} days ago, more than {STALE_AFTER.days}")
    if age > AGING_AFTER:
        return Judgement(Standing.AGING, f"calibrated {age.days} days ago, more than {AGING_AFTER.days}")
    return Judgement(Standing.VALID, f"calibrated {_ago(age)}")


def _ago(age: timedelta) -> str:
    return f"{age.days} days ago" if age.days else "today"


def installed_framework(engine: str) -> str | None:
    """With its version, as an engine says it; None in a container of the trusted side, which has no framework."""
    try:
        return f"{engine} {version(engine)}"
    except PackageNotFoundError:
        return None


def default_file(hardware_key: str, engine: str) -> Path:
    return settings().home / "platform" / hardware_key / f"default-{engine}.json"


def read_default(hardware_key: str, engine: str) -> PlatformDefault | None:
    """None where nobody calibrated. ValueError when the file is damaged."""
    path = default_file(hardware_key, engine)
    try:
        return PlatformDefault.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        raise ValueError(f"{path} is damaged ({first_wrong(error)}): run autoresearch calibrate again") from None


def write_default(default: PlatformDefault) -> Path:
    path = default_file(default.hardware_key, default.engine)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomic(path, default.model_dump_json(indent=2) + "\n")
    return path


def measured_default(hardware_key: str, engine: str) -> PlatformDefault | None:
    """None where there is none, where nothing was measured, or where it is damaged."""
    try:
        default = read_default(hardware_key, engine)
    except ValueError:
        return None
    return default if default and default.is_measured else None


def all_defaults() -> list[PlatformDefault]:
    """Every readable default of this machine's cache: its own, and those of others that were promoted here."""
    found: list[PlatformDefault] = []
    for path in sorted((settings().home / "platform").glob("*/default-*.json")):
        with suppress(ValueError):
            default = read_default(path.parent.name, path.stem.removeprefix("default-"))
            found += [default] if default else []
    return found
