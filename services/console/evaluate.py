"""`autoresearch evaluate`: scores a trained run again, on any rung."""

from pathlib import Path
from typing import Annotated

import typer

from services.console import progress, summary
from services.console.interruption import ends_like_ctrl_c
from shared.experiment.run import evaluate as evaluate_run
from shared.runs.directory import RunDirectory
from shared.stages.executors import NativeExecutor


def evaluate(
    run_dir: Annotated[Path, typer.Argument(help="Directory of a trained run, for example runs/<run id>.")],
    rung: Annotated[
        str | None,
        typer.Option(help="auto, smoke, probe, cheap, reference or full. Default: what the run itself asked for."),
    ] = None,
) -> None:
    """Score the final checkpoint of a run again, and replace the run's result. The number of an idea's run stands."""
    directory = RunDirectory(run_dir.resolve())
    with ends_like_ctrl_c(), progress.shown(directory) as watch:
        result = evaluate_run(directory, rung, NativeExecutor(), watch)
    raise typer.Exit(summary.conclude(result, directory))
