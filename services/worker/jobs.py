"""The functions a job may name (shared/stages/table.py). Arguments arrive as JSON or as strings of a command line.

    rq enqueue -S json -q cpu services.worker.jobs.train recipe=@my_recipe.py preset=m5-tiny

They are coerced and checked before anything starts; what is wrong with them is the job's outcome, `invalid`, with
one line that says what to do. Each returns its outcome as plain JSON.
"""

from typing import Any

from services.worker.attempt import Attempt, current
from services.worker.calibrations import run_calibration
from services.worker.experiments import run_attempt
from services.worker.lab import lab_job, run_lab
from services.worker.stage_job import run_stage
from shared.calibration.job import CalibrateJob, CalibrationRequest, build_calibration
from shared.contracts import Contract, PrepareJob, Status
from shared.experiment.request import TrainRequest, build_job, validated
from shared.fleet.contracts import Outcome
from shared.fleet.store import dump_outcome
from shared.kernel_lab.job import Integration
from shared.runs.recipe_file import check_knowledge
from shared.settings import settings


def train(recipe: Any = None, **arguments: Any) -> dict[str, Any]:
    """One experiment. `recipe` is the source itself; without it the worker's default recipe is trained."""
    attempt = current.get()
    try:
        request = parse(TrainRequest, with_defaults_of(attempt, arguments))
        job, source = build_job(request, source_of(recipe))
    except ValueError as error:
        return conclude(attempt, Status.INVALID, str(error))
    if job.target != attempt.target:
        return conclude(attempt, Status.INVALID, f"queue {attempt.target} trains on {attempt.target}, not {job.target}")
    if too_long := beyond_largest(job.budget.seconds, f"a budget of {job.budget}"):
        return conclude(attempt, Status.INVALID, too_long)
    return dump_outcome(run_attempt(attempt, job, source))


def beyond_largest(asked_s: float | None, what: str) -> str:
    """Why this worker does not take it. None: nobody knows how long a budget of tokens takes, so none is taken then."""
    largest_s = settings().largest_budget_s
    if largest_s is None or (asked_s is not None and asked_s <= largest_s):
        return ""
    return f"{what}: this worker takes at most {largest_s:g} s (ARE_LARGEST_BUDGET_S); ask for less, or ask another one"


def prepare(**arguments: Any) -> dict[str, Any]:
    """Makes a dataset on the worker's host."""
    attempt = current.get()
    try:
        job = parse(PrepareJob, arguments)
    except ValueError as error:
        return conclude(attempt, Status.INVALID, str(error))
    return conclude(attempt, *run_stage(attempt, "prepare", job))


def calibrate(**arguments: Any) -> dict[str, Any]:
    """Finds the worker's platform default; `presets` may be a list or names with commas."""
    attempt = current.get()
    try:
        request = parse(CalibrationRequest, with_defaults_of(attempt, arguments))
        job = CalibrateJob(calibration=build_calibration(request), force=request.force)
    except ValueError as error:
        return conclude(attempt, Status.INVALID, str(error))
    minutes = job.calibration.minutes
    if too_long := beyond_largest(60.0 * minutes, f"a calibration of {minutes:g} minutes"):
        return conclude(attempt, Status.INVALID, too_long)
    return conclude(attempt, *run_calibration(attempt, job))


def lab(source: Any = None, **arguments: Any) -> dict[str, Any]:
    """A command of the kernel lab: `command=verify candidate=OP source=@kernel.py`, or `candidate=OP/KERNEL`."""
    attempt = current.get()
    try:
        job = lab_job(attempt, arguments, source)
    except ValueError as error:
        return conclude(attempt, Status.INVALID, str(error))
    asked_s = job.command.training_s if isinstance(job.command, Integration) else 0.0
    if too_long := beyond_largest(asked_s, f"runs of {asked_s:g} s together"):
        return conclude(attempt, Status.INVALID, too_long)
    return conclude(attempt, *run_lab(attempt, job))


def conclude(attempt: Attempt, status: Status, reason: str) -> dict[str, Any]:
    """The end of a job without an experiment."""
    record = attempt.record
    outcome = Outcome(
        job_id=record.job_id, status=status, reason=reason, attempt=record.number, worker=record.worker
    )  # fmt: skip
    attempt.store.accept(record.execution, outcome)
    return dump_outcome(outcome)


def with_defaults_of(attempt: Attempt, arguments: dict[str, Any]) -> dict[str, Any]:
    """The worker's own target and device, unless the job insists on others."""
    return {"target": attempt.target, "device": attempt.record.device, **arguments}


def parse(model: type[Contract], arguments: dict[str, Any]) -> Any:
    """ValueError, in one line, for unknown names and for values that cannot be coerced."""
    unknown = sorted(set(arguments) - set(model.model_fields))
    if unknown:
        known = ", ".join(sorted({*model.model_fields, *(["recipe"] if model is TrainRequest else [])}))
        raise ValueError(f"unknown argument {unknown[0][:40]!r}: choose from {known}")
    values = dict(arguments)
    if isinstance(values.get("set"), dict):
        values["set"] = {str(key): str(value) for key, value in values["set"].items()}
    return validated(model, values)


def source_of(recipe: Any) -> bytes | None:
    if recipe is None:
        return None
    if not isinstance(recipe, str) or not recipe.strip():
        raise ValueError("recipe: give the source of a recipe as text (rq enqueue ... recipe=@FILE)")
    source = recipe.encode(errors="surrogatepass")
    check_knowledge(source, "recipe")
    return source
