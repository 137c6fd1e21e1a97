"""What is printed before and after an experiment, and the exit code for its status."""

import sys

from rich.console import Console
from rich.table import Table
from rich.text import Text

from services.console.env_file import use_tracking_of_hub
from services.console.unranked import in_vain, is_in_vain, meaning
from shared.contracts import EvaluationRecord, Job, Rung, RungChoice, RunResult, Status
from shared.data.dataset import DEMO_NOTICE, open_reference
from shared.runs.directory import RunDirectory
from shared.runs.pruning import disk_warning, retain
from shared.runs.shipped import is_shipped

EXIT_CODES = {Status.OK: 0, Status.INVALID: 2, Status.CANCELLED: 130}
VAIN = 1
"""the exit code of an idea's run whose number does not count"""
NUMBERS = {
    "val_bpb": "{:.6f}", "val_bpb_upstream": "{:.6f}", "training_seconds": "{:.1f}", "total_seconds": "{:.1f}",
    "peak_vram_mb": "{:.1f}", "mfu_percent": "{:.2f}", "total_tokens_M": "{:.2f}", "num_steps": "{}",
    "num_params_M": "{:.1f}", "depth": "{}", "tok_per_sec": "{:.0f}", "rung": "{}", "engine": "{}",
    "attention_backend": "{}", "hardware_key": "{}", "dataset": "{:.12}", "recipe_sha": "{:.12}", "seed": "{}",
    "status": "{}",
}  # fmt: skip
REPORTED_MARK = "  (reported by the recipe's process)"


def announce(job: Job, directory: RunDirectory) -> None:
    """Prints everything that was chosen for the user, before the run."""
    print(f"run      {directory.path}", file=sys.stderr)
    print(f"shape    {job.preset or 'custom'}: {describe(job)}", file=sys.stderr)
    print(f"budget   {job.budget}, seed {job.seed}, {job.hardware_key}", file=sys.stderr)
    for choice in job.choices:
        print(f"{choice.what:<8} {choice.chosen}: {choice.reason}", file=sys.stderr)
    if warning := disk_warning():
        print(f"disk     {warning}", file=sys.stderr)
    if open_reference(job.dataset).manifest.is_demo:
        print(f"corpus   {DEMO_NOTICE}", file=sys.stderr)


def describe(job: Job) -> str:
    shape = job.shape
    return (
        f"depth {shape.depth}, d_model {shape.d_model}, heads {shape.heads}, seq {shape.seq_len}, "
        f"windows {shape.window_pattern}, "
        f"batch {shape.device_batch_size} x {shape.accumulation_steps} = {shape.total_batch_size:,} tokens a step"
    )


def conclude(result: RunResult, directory: RunDirectory, json: bool = False) -> int:
    """Prints the summary, records the run, says what the number means. Returns the exit code."""
    if json:
        print(result.model_dump_json())
    else:
        print_summary(result)
    if result.status is not Status.OK:
        print(f"{result.status}: {result.reason}", file=sys.stderr)
    elif not json:
        print_meaning(result, directory.evaluation())
    record_run(directory)
    retain()
    if is_in_vain(result):
        print(f"autoresearch: {in_vain(result)}", file=sys.stderr)
        return VAIN
    return EXIT_CODES.get(result.status, 1)


def print_summary(result: RunResult) -> None:
    print("---")
    for name, form in NUMBERS.items():
        value = getattr(result, name)
        mark = REPORTED_MARK if value is not None and name in result.REPORTED else ""
        print(f"{name + ':':<20}{'-' if value is None else form.format(value)}{mark}")
    print(f"{'ranked:':<20}{'yes' if result.ranked else 'no, ' + ', '.join(result.unranked)}")
    print(f"{'integrity:':<20}{result.integrity or 'unknown'}")


def print_meaning(result: RunResult, evaluation: EvaluationRecord | None = None) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    if evaluation and evaluation.rung:
        chosen = evaluation.rung
        table.add_row(*(Text(part, style="dim") for part in ("rung", str(chosen.rung), rung_reason(chosen))))
    for choice in result.choices:
        table.add_row(*(Text(part, style="dim") for part in (choice.what, choice.chosen, choice.reason)))
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"\n[bold]val_bpb {result.val_bpb:.4f}[/bold]: the model needs that many bits for each byte of text it has not "
        "seen. Lower is better; 8 is no model at all."
    )
    if evaluation and evaluation.source_bpb:
        console.print(
            f"{evaluation.source_bpb:.4f} of it were not measured: they are charged for what the recipe's source adds "
            "to the shipped recipes (recipe source, above)."
        )
    if not result.ranked:
        console.print(meaning(result))


def rung_reason(chosen: RungChoice) -> str:
    """With what its cost is known from, where that chose it."""
    if chosen.status not in ("measured", "projected"):
        return chosen.reason
    timings = "a single timing" if chosen.confidence == "single" else f"{chosen.confidence} timings"
    return f"{chosen.reason}; this cost is {chosen.status}, from {timings} ({chosen.freshness})"


def record_run(directory: RunDirectory) -> None:
    """Records the run in MLflow, with whatever still waits in the outbox. A look for mistakes waits for the next run:
    opening MLflow takes seconds of the processor."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    result = directory.result()
    if result and result.rung is Rung.SMOKE and not is_shipped(result):
        from shared.tracking import keep_for_later

        keep_for_later(directory.path)
        return console.print("a smoke run of an edited recipe: recorded in MLflow with the next run", style="dim")
    console.print("recording in MLflow ... (the first time takes some seconds)", style="dim")
    from shared.tracking import flush_outbox, record

    use_tracking_of_hub()
    recorded = record(directory.path)
    if not recorded.pending_reason:
        flush_outbox()
    if recorded.pending_reason:
        console.print("not recorded in MLflow yet, kept in the outbox:", recorded.pending_reason, markup=False)
    else:
        where = recorded.url or "`make ui` shows it next to your other runs"
        console.print("recorded in MLflow:", where, markup=False)
    return None
