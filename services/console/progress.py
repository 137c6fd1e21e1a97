"""What you see in the terminal while an experiment runs, read from its run directory."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from shared.runs.directory import RunDirectory
from shared.runs.listing import last_step
from shared.stages.executors import Watch
from shared.stages.table import find_stage


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

    def watch(stage: str) -> None:
        step = last_step(directory.metrics_file) if find_stage(stage).counts_steps else None
        if step is None:
            bar.update(task, description=find_stage(stage).activity, total=None, numbers="")
            return
        numbers = f"step {step.step}  loss {step.loss_ema:.4f}  {step.tok_per_sec:,.0f} tok/s"
        bar.update(task, description="training", total=1.0, completed=step.progress, numbers=numbers)

    return watch


def plain(console: Console) -> Watch:
    seen: set[str] = set()

    def watch(stage: str) -> None:
        if stage not in seen:
            seen.add(stage)
            console.print(f"{stage} ...", highlight=False)

    return watch
