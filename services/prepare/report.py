"""What prepare tells the person who waits: lines, and one progress bar at a time (plain lines without a terminal)."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Advance = Callable[[int], None]

PLAIN_INTERVAL_S = 10.0


class Report:
    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(soft_wrap=True, highlight=False)

    def say(self, line: str) -> None:
        self.console.print(line, markup=False)

    @contextmanager
    def stage(self, title: str, total: int, unit: str) -> Iterator[Advance]:
        """Yields a function that is told how many more `unit`s of `total` are done."""
        if not self.console.is_terminal:
            yield self._plain_stage(title, total, unit)
            return
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn(unit))
        with Progress(*columns, TimeRemainingColumn(), console=self.console, transient=True) as progress:
            task = progress.add_task(title, total=total)
            yield lambda amount: progress.advance(task, amount)

    def _plain_stage(self, title: str, total: int, unit: str) -> Advance:
        """A line every few seconds; a short stage prints none."""
        done, last_s = 0, time.monotonic()

        def advance(amount: int) -> None:
            nonlocal done, last_s
            done += amount
            if time.monotonic() - last_s >= PLAIN_INTERVAL_S:
                last_s = time.monotonic()
                self.say(f"{title}: {done:,} of {total:,} {unit}")

        return advance
