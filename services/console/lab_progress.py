"""What you see in the terminal while the kernel lab works: one line on stderr, so that --json stays JSON."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from shared.kernel_lab.job import read_doing
from shared.stages.executors import Watch

EVERY_S = 10.0
"""without a terminal: no more lines than one in this time, and none for a command that is done before"""


@contextmanager
def shown(job_id: str) -> Iterator[Watch]:
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lines(job_id, lambda said: console.print(said, highlight=False, markup=False, soft_wrap=True))
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("starting", total=None)
        yield lambda _: bar.update(task, description=read_doing(job_id) or "working")


def lines(job_id: str, tell: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> Watch:
    """Tells what is done, if that has changed."""
    last, told_s = "", now()

    def watch(_: str) -> None:
        nonlocal last, told_s
        if now() - told_s >= EVERY_S and (said := read_doing(job_id)) and said != last:
            last, told_s = said, now()
            tell(f"{said} ...")

    return watch
