"""What you see in the terminal while an experiment runs, read from its run directory."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from shared.runs.directory import RunDirectory
from shared.runs.evaluating import read_evaluating
from shared.runs.listing import last_step
from shared.stages.executors import Watch
from shared.stages.table import find_stage

LEAST_SHARE, LEAST_SECONDS = 0.02, 2.0
"""of an evaluation, before its end is estimated"""


@contextmanager
def shown(directory: RunDirectory) -> Iterator[Watch]:
    """A progress line on stderr; without a terminal, one line for each stage."""
    console = Console(stderr=True)
    if not console.is_terminal:
        yield plain(console)
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[numbers]}"))
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
        yield line(bar, directory)


def line(bar: Progress, directory: RunDirectory) -> Watch:
    task = bar.add_task("starting", total=None, numbers="")
    scoring = TimeLeft()

    def watch(stage: str) -> None:
        step = last_step(directory.metrics_file) if find_stage(stage).counts_steps else None
        scored = read_evaluating(directory.path) if stage == "evaluator" else None
        if scored is not None:
            left = scoring.estimate(scored.share)
            bar.update(task, description="evaluating", total=1.0, completed=scored.share, numbers=left)
        elif step is not None:
            numbers = f"step {step.step}  loss {step.loss_ema:.4f}  {step.tok_per_sec:,.0f} tok/s"
            bar.update(task, description="training", total=1.0, completed=step.progress, numbers=numbers)
        else:
            bar.update(task, description=find_stage(stage).activity, total=None, numbers="")

    return watch


class TimeLeft:
    """From how fast a share grew since it was seen first."""

    def __init__(self) -> None:
        self.first: tuple[float, float] | None = None

    def estimate(self, share: float) -> str:
        """Empty as long as nobody can tell."""
        now = time.monotonic()
        since, from_share = self.first = self.first or (now, share)
        if share - from_share < LEAST_SHARE or now - since < LEAST_SECONDS:
            return f"{share:.0%}"
        left_s = (1 - share) * (now - since) / (share - from_share)
        return f"{share:.0%}  about {left_s:.0f} s left"


def plain(console: Console) -> Watch:
    seen: set[str] = set()

    def watch(stage: str) -> None:
        if stage not in seen:
            seen.add(stage)
            console.print(f"{stage} ...", highlight=False)

    return watch
