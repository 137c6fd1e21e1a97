"""`autoresearch status`: shows which jobs wait, run and have ended."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def status(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[JOB|GROUP]...", help="Names of jobs or groups. Default: the latest jobs."),
    ] = None,
    limit: Annotated[int, typer.Option(help="How many jobs to show if none is named.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON object per line, for programs.")] = False,
) -> None:
    """Show jobs of the fleet: what waits, what runs, and how the others ended.

    The exit code is 1 if a job that you named is not known.
    """
    from services.console.hub_connection import hub, store
    from shared.fleet.view import job_ids, listed, view

    with hub() as connection:
        fleet = store(connection)
        views = [view(fleet, job) for job in (job_ids(fleet, names) if names else listed(fleet, limit))]
    show(views, json)
    raise typer.Exit(int(any(seen.state == "unknown" for seen in views)))


def show(views: list, json: bool) -> None:
    if json:
        for seen in views:
            print(seen.to_json())
        return
    table = Table("job", "queue", "state", "status", "what", box=None, pad_edge=False)
    for seen in views:
        table.add_row(seen.job_id, seen.queue, seen.state, str(seen.status or ""), seen.summary)
    Console(soft_wrap=True).print(
        table if views else "there are no jobs yet: submit one with `autoresearch submit --target cpu`"
    )
