"""`autoresearch status`: shows which jobs run, have ended and wait."""

import json as json_module
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

if TYPE_CHECKING:
    from shared.fleet.view import JobView, Overview

WIDE = 240  # characters per line when a program reads, so that nothing is cut
NARROW = 120
"""a terminal of fewer characters gets the columns that matter most"""


def status(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB|GROUP]...", help="Names of jobs or groups. Default: what runs, ended and waits."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="If none is named: so many that ended, and that wait.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """Show jobs of the fleet: what runs, how the others ended, and what waits.

    The exit code is 1 if a job that you named is not known.
    """
    from services.console.hub_connection import hub, store
    from shared.fleet.view import Overview, job_ids, overview, view

    with hub() as connection:
        fleet = store(connection)
        seen = Overview(job_ids(fleet, names), 0, 0) if names else overview(fleet, limit)
        views = [view(fleet, job) for job in seen.job_ids]
    show(views, json, seen)
    raise typer.Exit(int(any(one.state == "unknown" for one in views)))


def show(views: "list[JobView]", json: bool, seen: "Overview | None" = None) -> None:
    if json:
        print(json_module.dumps(document(views, seen)))
        return
    if not views:
        from shared.machine.hardware import target_here

        print(f"there are no jobs yet: submit one with `autoresearch submit --target {target_here()}`")
        return
    console = Console(width=None if sys.stdout.isatty() else WIDE, highlight=False)
    console.print(table_of(views, full=console.width >= NARROW))
    for line in left_out(seen) if seen else ():
        print(line)


def document(views: "list[JobView]", seen: "Overview | None" = None) -> dict[str, Any]:
    more = {"more_ended": seen.more_ended, "more_waiting": seen.more_waiting} if seen else {}
    return {"jobs": [one.to_dict() for one in views], **more}


def table_of(views: "list[JobView]", full: bool) -> Table:
    """Job ids are never cut. full: with what was asked for, and where it runs."""
    columns = ["queue", *(["preset", "recipe", "host"] if full else []), "state", "what"]
    table = Table(Column("job", no_wrap=True, overflow="ignore"), *columns, box=None, pad_edge=False)
    for one in views:
        asked = [one.asked.preset, one.asked.recipe, one.host] if full else []
        state = str(one.status or one.state)
        table.add_row(*(Text(cell) for cell in (one.job_id, one.queue, *asked, state, one.summary)))
    return table


def left_out(seen: "Overview") -> list[str]:
    counts = {"have ended": seen.more_ended, "wait": seen.more_waiting}
    return [f"{count} more {what}: --limit shows them" for what, count in counts.items() if count > 0]
