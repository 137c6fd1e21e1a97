"""`autoresearch cancel`: ends jobs of the fleet, whether they wait or run."""

import time
from typing import Annotated

import typer

from services.console.status import show

TIMEOUT_S = 15.0


def cancel(
    names: Annotated[
        list[str], typer.Argument(metavar="JOB|GROUP...", help="Names of jobs or groups, as `submit` printed them.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """End jobs that wait or run. A running job is gone within a second.

    The exit code is 1 if a job could not be ended.
    """
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
