"""`autoresearch status`: what waits, what runs, what came of it."""

from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table


def status(
    names: Annotated[list[str] | None, typer.Argument(metavar="[JOB|GROUP]...", help="Default: the latest.")] = None,
    limit: Annotated[int, typer.Option(help="How many when none is named.")] = 20,
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """Show jobs of the fleet. Exit code 1 when one that was named is not known."""
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
    Console(soft_wrap=True).print(table if views else "nothing waits and nothing ran: autoresearch submit --target cpu")
