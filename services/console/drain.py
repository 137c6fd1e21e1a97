"""`autoresearch drain`: workers end after the attempt they are at."""

import time
from typing import Annotated

import typer


def drain(
    target: Annotated[str, typer.Argument(help="Workers of this queue: gb10, mac, cpu, ...")],
    wait: Annotated[bool, typer.Option(help="Stay until they are gone.")] = True,
) -> None:
    """Let every worker of a target finish its attempt and end; jobs that wait stay queued. An operator's command."""
    from rq.command import send_shutdown_command
    from rq.worker import Worker

    from services.console.hub_connection import hub, queue
    from shared.machine.targets import find_target

    with hub(operator=True) as connection:
        home = queue(find_target(target).queue, connection)
        workers = Worker.all(queue=home)
        for worker in workers:
            send_shutdown_command(connection, worker.name)
            print(f"{worker.name}: ends after {worker.get_current_job_id() or 'nothing'}", flush=True)
        if not workers:
            print(f"no worker of {target}")
        while wait and Worker.count(queue=home):
            time.sleep(0.5)
