"""What a run becomes in MLflow: names, parameters, tags and metric points. Pure, knows nothing of MLflow's client.

People compare runs in MLflow's table, so the names are those of the summary (`val_bpb`, `peak_vram_mb`, ...); series
are grouped by prefix: train/, time/, recipe/ (what the recipe says of itself), curve/.
"""

import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from shared.contracts import RunResult, Status, StepRecord
from shared.tracking.run_bundle import RunBundle

MAX_POINTS = 1000
"""per series: MLflow draws 320 points, and a point costs 0.1-0.3 ms to send"""
MAX_RECIPE_SERIES = 16
MAX_VALUE_CHARS = 5000

RUN_ID_TAG = "are.run_id"
COMPLETE_TAG = "are.recorded_result"
"""sha of the result.json that was recorded to its end; set last"""
RECORDING_TAG = "are.recording_since"
"""milliseconds since the epoch at which the newest attempt to record it began"""

EXPERIMENT_PREFIX = "autoresearch "

STEP_SERIES = {
    "train/loss": "loss",
    "train/loss_ema": "loss_ema",
    "train/tok_per_sec": "tok_per_sec",
    "train/mfu_percent": "mfu_percent",
    "train/peak_vram_mb": "peak_vram_mb",
    "train/seconds": "train_seconds",
    "train/tokens": "tokens",
    "time/step_ms": "step_ms",
    "time/input_ms": "input_ms",
    "time/dispatch_ms": "dispatch_ms",
    "time/wait_ms": "wait_ms",
    "time/record_ms": "record_ms",
}
SUMMARY = (
    "val_bpb",
    "val_bpb_upstream",
    "training_seconds",
    "total_seconds",
    "peak_vram_mb",
    "mfu_percent",
    "total_tokens_M",
    "num_steps",
    "num_params_M",
    "tok_per_sec",
)


@dataclass(frozen=True)
class Point:
    name: str
    step: int
    value: float
    timestamp_ms: int


def experiment_name(target: str) -> str:
    return f"{EXPERIMENT_PREFIX}{target}"


def experiment_note(target: str) -> str:
    """The description on the experiment's page, of which MLflow shows a line and a half."""
    return (
        f"Target **{target}**; run names start with their `val_bpb` (validation bits per byte, lower is better), which "
        "the evaluator measures, not the recipe. One run is one recipe, shape, seed and budget; Columns > Metrics adds "
        "numbers to the table.\n\nCompare runs with `ranked` = true and the same `hardware_key`, `dataset`, `budget`, "
        "`rung` and `eval_signature`; other differences say nothing about the recipe."
    )


def run_name(bundle: RunBundle) -> str:
    """Outcome first: MLflow shows some 24 characters of it, and no metric at all until a column is added."""
    job, result = bundle.job, bundle.result
    outcome = str(result.status) if result.val_bpb is None else f"{result.val_bpb:.4f}"
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
    ranked = "" if result.ranked else f"\n\nNot ranked against other runs: {', '.join(result.unranked)}."
    return (
        f"{outcome}\n\nTrained for {result.training_seconds:.1f} s (budget {result.budget}) on "
        f"`{result.hardware_key}`, engine {result.engine}.{ranked}\n\n"
        f"Run directory `{result.run_id}`; Artifacts hold its recipe, records, log and the picture training.png."
    )


def params(bundle: RunBundle) -> dict[str, str]:
    """The job, flattened. Read from job.json alone, since MLflow refuses to change a parameter."""
    job = bundle.job.model_dump(mode="json", exclude={"shape", "budget", "dataset", "choices", "run_id"})
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
    return {name: _short(value) for name, value in named.items() if value not in (None, "")}


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= MAX_VALUE_CHARS else text[:MAX_VALUE_CHARS] + " ..."


def mlflow_status(result: RunResult) -> str:
    return {Status.OK: "FINISHED", Status.CANCELLED: "KILLED"}.get(result.status, "FAILED")


def started_at_ms(bundle: RunBundle) -> int:
    return round(1000 * bundle.started_at)


def ended_at_ms(bundle: RunBundle) -> int:
    return started_at_ms(bundle) + round(1000 * bundle.result.total_seconds)


def notes(bundle: RunBundle) -> tuple[str, ...]:
    """What MLflow does not get to see of this run, in words."""
    said = list(bundle.notes)
    if len(bundle.steps) > MAX_POINTS:
        said.append(f"series show {MAX_POINTS:,} of {len(bundle.steps):,} steps (metrics.jsonl has all)")
    dropped = sum(not math.isfinite(point.value) for point in _all_points(bundle))
    if dropped:
        said.append(f"{dropped} value(s) were not finite")
    num_series = len(_recipe_series(bundle.steps))
    if num_series > MAX_RECIPE_SERIES:
        said.append(f"{MAX_RECIPE_SERIES} of the recipe's {num_series} own series shown")
    return tuple(said)


def points(bundle: RunBundle) -> Iterator[Point]:
    """Every metric point, finite ones only.

    MLflow keeps equal points once, so a step's timestamp depends on nothing that a later attempt, a resumed training
    or another scoring changes: the job's time plus training seconds.
    """
    return (point for point in _all_points(bundle) if math.isfinite(point.value))


def _all_points(bundle: RunBundle) -> Iterator[Point]:
    yield from _summary_points(bundle)
    yield from _curve_points(bundle)
    recipe_series = _recipe_series(bundle.steps)[:MAX_RECIPE_SERIES]
    for step in thin(bundle.steps, MAX_POINTS):
        yield from _step_points(step, started_at_ms(bundle), recipe_series)


def _summary_points(bundle: RunBundle) -> Iterator[Point]:
    for name in SUMMARY:
        value = getattr(bundle.result, name)
        if value is not None:
            yield Point(name, bundle.result.num_steps, float(value), round(1000 * bundle.recorded_at))


def _curve_points(bundle: RunBundle) -> Iterator[Point]:
    for point in bundle.evaluation.curve if bundle.evaluation else ():
        timestamp_ms = started_at_ms(bundle) + round(1000 * point.train_seconds)
        yield Point("curve/val_bpb", point.step, point.val_bpb, timestamp_ms)


def _step_points(record: StepRecord, started_ms: int, recipe_series: Sequence[str]) -> Iterator[Point]:
    timestamp_ms = started_ms + round(1000 * record.train_seconds)
    for name, field in STEP_SERIES.items():
        value = getattr(record, field)
        if value is not None:
            yield Point(name, record.step, float(value), timestamp_ms)
    for name in recipe_series:
        if name in record.recipe:
            yield Point(f"recipe/{_safe_name(name)}", record.step, record.recipe[name], timestamp_ms)


def _recipe_series(steps: Iterable[StepRecord]) -> list[str]:
    """Names the recipe reports, in the order they first appear."""
    return list(dict.fromkeys(name for step in steps for name in step.recipe))


def _safe_name(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.-]", "_", name)[:100].strip(".") or "unnamed"


def thin(steps: Sequence[StepRecord], limit: int) -> Sequence[StepRecord]:
    """At most `limit` evenly spaced steps, the first and the last among them."""
    if len(steps) <= limit:
        return steps
    last = len(steps) - 1
    return [steps[index * last // (limit - 1)] for index in range(limit)]
