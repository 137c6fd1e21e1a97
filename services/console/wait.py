"""`autoresearch wait`: waits until jobs have ended, and shows their progress."""

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from services.console.status import show
from services.console.unranked import in_vain, is_in_vain
from shared.contracts import RunResult, Status

if TYPE_CHECKING:
    from shared.fleet.view import JobView

LOOK_EVERY_S = 0.5
OUTAGE_S = 60.0


def wait(
    names: Annotated[
        list[str], typer.Argument(metavar="JOB|GROUP...", help="Names of jobs or groups, as `submit` printed them.")
    ],
    timeout: Annotated[float | None, typer.Option(help="Give up after this many seconds, with exit code 124.")] = None,
    json: Annotated[bool, typer.Option("--json", help="At the end, print one JSON document.")] = False,
) -> None:
    """Wait until every job has ended.

    The exit code is 0 if all of them ended with a number, which counts where it is an idea's, and 1 otherwise.
    """
    views, code = until_over(names, timeout)
    show(views, json)
    tell_in_vain(views)
    raise typer.Exit(code)


def until_over(names: list[str], timeout: float | None = None) -> "tuple[list[JobView], int]":
    """The jobs as they are in the end, and the exit code."""
    deadline = time.monotonic() + timeout if timeout is not None else None
    views = look_patiently(names, outage_s=0.0)  # a hub that is not there at first was never there
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        while not all(seen.is_over for seen in views):
            if deadline is not None and time.monotonic() > deadline:
                break
            if sys.stderr.isatty():
                live.update(_lines(views), refresh=True)
            time.sleep(LOOK_EVERY_S)
            views = look_patiently(names)
    if not all(seen.is_over for seen in views):
        return views, 124
    return views, int(any(seen.status is not Status.OK for seen in views) or bool(_in_vain(views)))


def tell_in_vain(views: "list[JobView]") -> None:
    """On stderr, one line for each run of an idea that has a number and does not count."""
    for result in _in_vain(views):
        print(f"autoresearch: {in_vain(result)}", file=sys.stderr)


def _in_vain(views: "list[JobView]") -> list[RunResult]:
    results = [seen.outcome.result for seen in views if seen.outcome is not None]
    return [result for result in results if result is not None and is_in_vain(result)]


def look_patiently(names: list[str], outage_s: float = OUTAGE_S) -> "list[JobView]":
    """The jobs as they are now. Tries again for a while, because the hub may be restarted while we wait."""
    from services.console.hub_connection import hub, store
    from shared.fleet.view import job_ids, view

    give_up = time.monotonic() + outage_s
    while True:
        try:
            with hub() as connection:
                fleet = store(connection)
                return [view(fleet, job) for job in job_ids(fleet, names)]
        except ValueError:
            if time.monotonic() > give_up:
                raise
            time.sleep(LOOK_EVERY_S)


def _lines(views: "list[JobView]") -> Table:
    table = Table(box=None, show_header=False)
    for seen in views:
        table.add_row(seen.job_id, seen.state, seen.summary)
    return table
