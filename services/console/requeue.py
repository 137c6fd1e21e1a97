"""`autoresearch requeue`: runs jobs of the fleet again and keeps their earlier outcome."""

from typing import TYPE_CHECKING, Annotated

import typer

from services.console.status import show

if TYPE_CHECKING:
    from redis import Redis


def requeue(
    names: Annotated[
        list[str], typer.Argument(metavar="JOB|GROUP...", help="Names of jobs or groups that have ended.")
    ],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """Run jobs that have ended once more, as new attempts. Their earlier outcomes are kept.

    This needs the operator's address of the hub, ARE_WORKER_REDIS_URL.
    """
    from services.console.hub_connection import hub, store
    from shared.fleet.view import job_ids, view

    with hub(operator=True) as connection:
        fleet = store(connection)
        jobs = job_ids(fleet, names)
        for job in jobs:
            state = view(fleet, job).state
            if state != "done":
                raise ValueError(
                    f"job {job} is {state}, and only a job that has ended can be requeued: "
                    f"wait for it, or end it with `autoresearch cancel {job}`"
                )
        for job in jobs:
            _again(connection, job)
        show([view(fleet, job) for job in jobs], json)


def _again(connection: "Redis", job_id: str) -> None:
    from rq.exceptions import NoSuchJobError
    from rq.job import Job
    from rq.serializers import JSONSerializer

    from services.console.hub_connection import queue, store

    try:
        job = Job.fetch(job_id, connection=connection, serializer=JSONSerializer)
    except NoSuchJobError:
        raise ValueError(
            f"job {job_id} ended more than a week ago and is no longer in the queue: submit it again"
        ) from None
    home = queue(job.origin, connection)
    for registry in (home.finished_job_registry, home.failed_job_registry):
        registry.remove(job)
    store(connection).reopen(job_id)
    connection.hdel(job.key, "retries_left", "ended_at", "result", "exc_info")
    connection.persist(job.key)
    if connection.lpos(home.key, job_id) is None:
        job.refresh()
        home.enqueue_job(job)
