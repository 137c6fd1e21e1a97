"""`autoresearch drain`: lets the workers of a target finish their attempt and then stop."""

import time
from typing import Annotated

import typer


def drain(
    target: Annotated[str, typer.Argument(help="The target whose workers should stop: gb10, mac, cpu, ...")],
    wait: Annotated[bool, typer.Option(help="Wait until these workers have stopped.")] = True,
) -> None:
    """Let every worker of a target finish its attempt and then stop. Waiting jobs stay in the queue.

    This needs the operator's address of the hub, ARE_WORKER_REDIS_URL.
    """
    from rq.command import send_shutdown_command
    from rq.worker import Worker

    from services.console.hub_connection import hub, queue
    from shared.machine.targets import find_target

    with hub(operator=True) as connection:
        home = queue(find_target(target).queue, connection)
        workers = Worker.all(queue=home)
        for worker in workers:
            send_shutdown_command(connection, worker.name)
            job_id = worker.get_current_job_id()
            when = f"will stop after job {job_id}" if job_id else "is idle and will stop now"
            print(f"{worker.name} {when}", flush=True)
        if not workers:
            print(f"target {target} has no worker, so there is nothing to drain")
        while wait and Worker.count(queue=home):
            time.sleep(0.5)
