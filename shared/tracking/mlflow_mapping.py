"""What a run becomes in MLflow: names, parameters and tags (series.py: metrics). Pure, knows nothing of the client.

People compare runs in MLflow's table, so the names are those of the summary (`peak_vram_mb`, `hardware_key`, ...).
"""

from math import isfinite

from shared.contracts import Job, RunResult, Status
from shared.fleet.contracts import AttemptRecord
from shared.tracking.run_bundle import RunBundle
from shared.tracking.series import (
    MAX_POINTS,
    MAX_RECIPE_SERIES,
    Started,
    all_points,
    recipe_series_of,
    started_at_ms,
)
from shared.unranked import reasons_of

MAX_VALUE_CHARS = 5000

RUN_ID_TAG = "are.run_id"
COMPLETE_TAG = "are.recorded_result"
"""sha of the result.json that was recorded to its end; set last"""
RECORDING_TAG = "are.recording_since"
"""milliseconds since the epoch at which the newest attempt to record it began"""

IDEA_TAG, PARENT_TAG, NOTE_TAG = "are.idea", "are.parent_idea", "idea.note"

COUNTED_TAG = "are.idea_evidence"
"""of a run of an idea: what counted for the idea when it ended, as JSON"""

EXPERIMENT_PREFIX = "autoresearch "
RUNNING = "running"
RESOLVED = ("dtype", "compile")


def experiment_name(target: str) -> str:
    return f"{EXPERIMENT_PREFIX}{target}"


def experiment_note(target: str) -> str:
    """The description on the experiment's page, of which MLflow shows a line and a half."""
    return (
        f"Target **{target}**; run names start with their `val_bpb` (validation bits per byte, lower is better), which "
        "the evaluator measures, not the recipe. One run is one recipe, shape, seed and budget. Runs that are not "
        "ranked have `val_bpb_unranked` instead.\n\nCompare runs with `ranked` = true and the same `hardware_key`, "
        "`dataset`, `budget`, `rung` and `eval_signature`; other differences say nothing about the recipe."
    )


def run_name(bundle: RunBundle) -> str:
    """Outcome first: MLflow shows some 24 characters of it. A score that is not ranked stands in brackets."""
    job, result = bundle.job, bundle.result
    outcome = str(result.status) if result.val_bpb is None else f"{result.val_bpb:.4f}"
    return named(f"({outcome})" if result.val_bpb is not None and not result.ranked else outcome, job)


def named(outcome: str, job: Job) -> str:
    return f"{outcome} {job.preset or 'custom'} s{job.seed} {job.recipe_sha[:7]}"


def run_note(bundle: RunBundle) -> str:
    """The description on a run's page: the outcome, how it was trained, where the run directory lies."""
    result = bundle.result
    if result.val_bpb is None:
        # as code: MLflow renders Markdown, and a recipe may have written the reason, with pictures and numbers in bold
        reason = result.reason.replace("`", "'")
        outcome = f"**{result.status}**" + (f": `{reason}`" if reason else "")
    else:
        outcome = f"**val_bpb {result.val_bpb:.6f}** on the {result.rung} rung"
    ranked = "" if result.ranked else f"\n\nNot ranked against other runs: {reasons_of(result)}."
    return (
        f"{outcome}\n\nTrained for {result.training_seconds:.1f} s (budget {result.budget}) on "
        f"`{result.hardware_key}`, engine {result.engine}.{ranked}\n\n"
        f"Run directory `{result.run_id}`; Artifacts hold its recipe, records, log and the picture training.png."
    )


def params(bundle: Started) -> dict[str, str]:
    """The job, flattened. Read from job.json alone, since MLflow refuses to change a parameter."""
    job = bundle.job.model_dump(mode="json", exclude={"shape", "budget", "dataset", "choices", "run_id", "idea"})
    flat = {f"checkpoints.{name}": value for name, value in job.pop("checkpoints").items()}
    named = {
        **job,
        **flat,
        **bundle.job.shape.model_dump(),
        "kernels": ",".join(f"{op}={kernel}" for op, kernel in bundle.job.kernels.items()) or None,
        "rung_requested": job["rung"],
        "budget": str(bundle.job.budget),
        "dataset": bundle.job.dataset.name,
    }
    del named["rung"]
    return {name: _short(value) for name, value in named.items() if value is not None}


def resolved(bundle: RunBundle) -> dict[str, str]:
    """What the engine made of `auto`, as the run's own process reports it."""
    chosen = {choice.what: choice.chosen for choice in reversed(bundle.result.choices)}
    return {f"{what}_resolved": _short(chosen[what]) for what in RESOLVED if what in chosen}


def origin(attempt: AttemptRecord) -> dict[str, str]:
    """Tags of whoever ran a job of the fleet, and for whom."""
    named = {"job": attempt.job_id, "group": attempt.group, "worker": attempt.worker, "host": attempt.host}
    return {name: _short(value) for name, value in named.items() if value}


def begun(run: Started) -> dict[str, str]:
    """Tags of a run that is under way."""
    job = run.job
    return {
        RUN_ID_TAG: job.run_id,
        "status": RUNNING,
        "target": job.target,
        "hardware_key": job.hardware_key,
        "engine": job.engine,
        "dataset": job.dataset.fingerprint,
        "mlflow.runName": named(RUNNING, job),
        "mlflow.source.name": "recipe.py",
        "mlflow.source.type": "LOCAL",
        **idea_tags(job),
    }


def idea_tags(job: Job) -> dict[str, str]:
    """Empty for a run of no idea."""
    named = {IDEA_TAG: job.idea.id, PARENT_TAG: job.idea.parent, NOTE_TAG: job.idea.note} if job.idea else {}
    return {name: _short(value) for name, value in named.items() if value}


def tags(bundle: RunBundle) -> dict[str, str]:
    result, evaluation = bundle.result, bundle.evaluation
    choice = evaluation.rung if evaluation else None
    named = {
        RUN_ID_TAG: result.run_id,
        "status": result.status,
        "reason": result.reason,
        "ranked": str(result.ranked).lower(),
        "unranked": ", ".join(result.unranked),
        "integrity": result.integrity or "unknown",
        "reported": ", ".join(result.REPORTED),
        "metric.source": "trusted" if result.val_bpb is not None else "none",
        "target": result.target,
        "hardware_key": result.hardware_key,
        "engine": result.engine,
        "attention_backend": result.attention_backend,
        "dataset": result.dataset,
        "rung": result.rung,
        "rung.why": f"{choice.status}, confidence {choice.confidence}, {choice.freshness}: {choice.reason}"
        if choice
        else None,
        "eval_signature": result.eval_signature,
        "choices": "; ".join(f"{made.what} = {made.chosen} ({made.reason})" for made in result.choices),
        "record.notes": "; ".join(notes(bundle)),
        "mlflow.runName": run_name(bundle),
        "mlflow.note.content": run_note(bundle),
        "mlflow.source.name": "recipe.py",
        "mlflow.source.type": "LOCAL",
    }
    if bundle.counted is not None:
        named[COUNTED_TAG] = bundle.counted.model_dump_json()
    others = (origin(bundle.delivery.attempt) if bundle.delivery else {}) | idea_tags(bundle.job)
    return {name: _short(value) for name, value in named.items() if value not in (None, "")} | others


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + " ..."


def mlflow_status(result: RunResult) -> str:
    return {Status.OK: "FINISHED", Status.CANCELLED: "KILLED"}.get(result.status, "FAILED")


def ended_at_ms(bundle: RunBundle) -> int:
    return started_at_ms(bundle) + round(1000 * bundle.result.total_seconds)


def notes(bundle: RunBundle) -> tuple[str, ...]:
    """What MLflow does not get to see of this run, in words."""
    said = list(bundle.notes)
    if len(bundle.steps) > MAX_POINTS:
        said.append(f"series show {MAX_POINTS:,} of {len(bundle.steps):,} steps (metrics.jsonl has all)")
    dropped = sum(not isfinite(point.value) for point in all_points(bundle))
    if dropped:
        said.append(f"{dropped} value(s) were not finite")
    num_series = len(recipe_series_of(bundle.steps))
    if num_series > MAX_RECIPE_SERIES:
        said.append(f"{MAX_RECIPE_SERIES} of the recipe's {num_series} own series shown")
    return tuple(said)
