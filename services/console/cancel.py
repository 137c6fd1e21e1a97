"""`autoresearch cancel`: ends jobs of the fleet, waiting or running."""

import time
from typing import Annotated

import typer

from services.console.status import show

TIMEOUT_S = 15.0


def cancel(
    names: Annotated[list[str], typer.Argument(metavar="JOB|GROUP...", help="As submit printed them.")],
    json: Annotated[bool, typer.Option("--json", help="One JSON object a line, for programs.")] = False,
) -> None:
    """End jobs; one that runs is gone within a second. Exit code 1 when one could not be ended."""
    from services.console.hub_connection import hub, store
    from shared.fleet.view import job_ids, view

    with hub() as connection:
        fleet = store(connection)
        jobs = job_ids(fleet, names)
        for job in jobs:
            if not view(fleet, job).is_over:
                fleet.ask_to_cancel(job)
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            views = [view(fleet, job) for job in jobs]
            if all(seen.is_over for seen in views):
                break
            time.sleep(0.1)
    show(views, json)
    raise typer.Exit(int(not all(seen.state == "done" for seen in views)))
