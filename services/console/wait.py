"""`autoresearch wait`: waits until jobs have ended, and shows their progress."""

import sys
import time
from typing import Annotated

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table

from services.console.status import show
from shared.contracts import Status

LOOK_EVERY_S = 0.5
OUTAGE_S = 60.0


def wait(
    names: Annotated[
        list[str], typer.Argument(metavar="JOB|GROUP...", help="Names of jobs or groups, as `submit` printed them.")
    ],
    timeout: Annotated[float | None, typer.Option(help="Give up after this many seconds, with exit code 124.")] = None,
    json: Annotated[bool, typer.Option("--json", help="At the end, print one JSON object per line.")] = False,
) -> None:
    """Wait until every job has ended.

    The exit code is 0 if all of them ended with a number, and 1 otherwise.
    """
    raise typer.Exit(until_over(names, timeout, json))


def until_over(names: list[str], timeout: float | None = None, json: bool = False) -> int:
    deadline = time.monotonic() + timeout if timeout is not None else None
    views = look_patiently(names)
    with Live(console=Console(stderr=True), transient=True, auto_refresh=False) as live:
        while not all(seen.is_over for seen in views):
            if deadline is not None and time.monotonic() > deadline:
                break
            if sys.stderr.isatty():
                live.update(_lines(views), refresh=True)
            time.sleep(LOOK_EVERY_S)
            views = look_patiently(names)
    show(views, json)
    if not all(seen.is_over for seen in views):
        return 124
    return int(any(seen.status is not Status.OK for seen in views))


def look_patiently(names: list[str]) -> list:
    """The jobs as they are now. Tries again for a minute, because the hub may be restarted while we wait."""
    from services.console.hub_connection import hub, store
    from shared.fleet.view import job_ids, view

    give_up = time.monotonic() + OUTAGE_S
    while True:
        try:
            with hub() as connection:
                fleet = store(connection)
                return [view(fleet, job) for job in job_ids(fleet, names)]
        except ValueError:
            if time.monotonic() > give_up:
                raise
            time.sleep(LOOK_EVERY_S)


def _lines(views: list) -> Table:
    table = Table(box=None, show_header=False)
    for seen in views:
        table.add_row(seen.job_id, seen.state, seen.summary)
    return table
