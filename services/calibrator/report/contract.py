"""report.json: every section with a number names its sources, and every source is an entry of `evidence`.

Numbers are val_bpb in bits per byte, seconds, MiB, tokens and tokens per second. A prediction's `spread` is one
standard deviation of the expected score, without the noise of a run.
"""

from typing import Literal

from pydantic import AwareDatetime

from services.calibrator.envelope_model import Band, Line
from services.calibrator.eval_batch import BatchCost
from services.calibrator.hindsight import Rival
from services.calibrator.measurement import Outcome
from shared.calibration.job import Calibration
from shared.contracts import Contract, Rung, Shape
from shared.experiment.platform_default import NoiseFloor, PlatformDefault, Tuning
from shared.quality import QualityRow

How = Literal["measured", "inferred", "predicted"]
"""on a run of this machine; from this machine's other runs by a formula; by the quality table or a fitted curve"""


class Evidence(Contract):
    id: str
    """run id, key of a probe without a run, source of a row, or file name"""
    kind: Literal["run", "probe", "row", "law", "file"]
    says: str
    outcome: Outcome | None = None
    """of a run or probe"""
    row: QualityRow | None = None


class Sourced(Contract):
    sources: tuple[str, ...] = ()
    """ids of evidence; empty exactly where there is no number"""


class Asked(Sourced):
    calibration: Calibration


class MachineKnown(Contract):
    known: str
    """exact, near or new: whether rows or a default of this hardware key, or of one like it, existed"""
    nearest: str
    standing: str
    """what the default that this machine had before was worth"""
    versions: dict[str, str]
    left_out: tuple[str, ...] = ()
    """quality rows that could not be read"""


class Candidate(Sourced):
    default: PlatformDefault
    probe_rung: Rung
    """what the probes were scored on"""
    rung_correction: float
    """that was added to go from the probes' rung to the default's"""
    band: Band | None
    """this and the next two are None where nothing was measured"""
    target_tokens: int | None
    target_steps: int | None
    sure: float
    """probability, by the search, that no other shape is better by more than the margin"""
    margin: float
    rival: Rival | None = None
    """what hindsight prefers although no run confirmed it"""


class Failure(Sourced):
    """A probe that came to no number."""

    phase: str
    """that tried it first"""
    preset: str
    shape: Shape
    seconds: float
    status: str
    reason: str


class Zone(Sourced):
    zone: Literal["lower", "recommended", "upper", "reference"]
    reason: str
    preset: str = ""
    """empty: there is none"""
    shape: Shape | None = None
    val_bpb: float | None = None
    """expected at the target budget, on the default's rung"""
    spread: float | None = None
    behind: float | None = None
    """val_bpb above the recommended shape's, expected"""
    behind_spread: float | None = None
    """standard deviation of that difference, without the noise of runs"""
    tok_per_sec: float | None = None
    memory_mb: float | None = None
    band: Band | None = None
    how: How | None = None
    """of val_bpb and tok_per_sec"""


class Beside(Sourced):
    """A published figure of another machine, and the same shape here."""

    machine: str
    source: str
    preset: str
    shape: Shape
    seconds: float
    """budget of both"""
    val_bpb: float
    tok_per_sec: float
    """their steps times batch over the budget"""
    memory_mb: float | None = None
    """peak of training as published, in MB; None: not published"""
    here_val_bpb: float | None = None
    here_spread: float | None = None
    here_tok_per_sec: float | None = None
    here_share: float | None = None
    """of their tokens/s"""
    here_memory_mb: float | None = None
    """MiB, by the memory line"""
    reason: str = ""
    """why there is no figure of this machine"""


class Scaling(Sourced):
    """A larger model that is expected to be better when the budget grows, at most tenfold."""

    reason: str
    preset: str = ""
    """empty: there is none"""
    shape: Shape | None = None
    crossing: float | None = None
    """budgets at which the expected curves cross"""
    low: float | None = None
    high: float | None = None
    """90 % interval of the crossing, from joint draws; `high` None: beyond the range that was looked at"""
    probability: float | None = None
    """that they cross within the range"""
    gain: float | None = None
    """val_bpb below the winner's at the end of the range"""


class Check(Sourced):
    """A confirming run beside what the quality table had said of it."""

    run: str
    preset: str
    shape: Shape
    seconds: float
    num_tokens: int
    val_bpb: float
    said: float
    """with this machine's shorter runs among the rows"""
    said_spread: float
    """of a run, noise included"""
    elsewhere: float
    """without this calibration's rows: what the table knew before"""
    elsewhere_spread: float


class Checks(Sourced):
    runs: tuple[Check, ...] = ()
    reason: str = ""
    """why there are none"""
    mean_error: float | None = None
    """mean absolute difference to `said`"""
    mean_error_elsewhere: float | None = None
    within_one: int | None = None
    """runs within one spread of `said`"""
    within_two: int | None = None


class Claim(Sourced):
    what: str
    value: float
    unit: str
    how: How
    sure: str


class Effect(Contract):
    num_runs: int
    val_bpb: float
    """smallest difference of two groups of so many runs that shows at two standard errors"""


class NoiseReport(Sourced):
    floor: NoiseFloor | None
    """with `pairing`, where that was measured"""
    reason: str
    pairing: str = ""
    """whether pairing by seed helps here, or why that is not known"""
    last_minutes: str = ""
    """what the minutes that were left over went to"""
    effects: tuple[Effect, ...] = ()


class RungRow(Contract):
    rung: Rung
    num_tokens: int
    seconds: float
    total_seconds: float
    share_of_budget: float
    val_bpb: float
    error: float
    chosen: bool


class RungReport(Sourced):
    rows: tuple[RungRow, ...] = ()
    chosen: Rung
    reason: str
    left_out: tuple[str, ...] = ()
    eval_batch_size: int | None = None
    """rows of one scoring pass; None: what follows from the training batch"""
    batches: tuple[BatchCost, ...] = ()


class FamilyRow(Sourced):
    preset: str
    depth: int
    d_model: int
    heads: int
    memory_mb: Line
    pass_seconds: Line
    largest_pass_tokens: int
    tok_per_sec: float | None
    """with the largest pass, at the preset's row length; None: nothing fits"""
    how: How
    """of the largest pass and its speed; the lines are fitted to the probes"""


class Tried(Sourced):
    tuning: Tuning
    status: str
    tok_per_sec: float | None


class TuningReport(Contract):
    tuning: Tuning
    reason: str
    tried: tuple[Tried, ...] = ()
    left_out: tuple[str, ...] = ()


class PhaseReport(Sourced):
    phase: str
    says: str
    planned_minutes: float
    minutes: float
    num_probes: int
    reused: bool
    """from an earlier calibration in this folder, whose inputs were the same"""
    cut_short: tuple[str, ...] = ()
    """what there was no time for, or what did not end well"""


class Report(Contract):
    schema_version: Literal[1] = 1
    made_at: AwareDatetime
    asked: Asked
    machine: MachineKnown
    candidate: Candidate
    failures: tuple[Failure, ...]
    zones: tuple[Zone, ...]
    beside: tuple[Beside, ...]
    scaling: Scaling
    checks: Checks
    claims: tuple[Claim, ...]
    noise: NoiseReport
    rungs: RungReport
    families: tuple[FamilyRow, ...]
    tuning: TuningReport
    phases: tuple[PhaseReport, ...]
    evidence: tuple[Evidence, ...]
