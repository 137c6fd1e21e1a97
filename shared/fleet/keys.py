"""Every key this project uses in Redis beside RQ's own (prefix rq:), which keep RQ's layout."""

INDEX = "are:jobs"
"""sorted set: job ids by the time their newest attempt began, or they ended"""


def job(job_id: str) -> str:
    """Hash: newest attempt, its execution, the accepted outcome (shared/fleet/store.py)."""
    return f"are:job:{job_id}"


def refused(job_id: str) -> str:
    """List: results that came late or twice, and outcomes set aside by a requeue, newest last."""
    return f"are:refused:{job_id}"


def cancel(job_id: str) -> str:
    """Present when somebody wants the job to end."""
    return f"are:cancel:{job_id}"


def progress(job_id: str) -> str:
    """What the running attempt does now; expires by itself."""
    return f"are:progress:{job_id}"


def group(group_id: str) -> str:
    """List: the jobs that were submitted together."""
    return f"are:group:{group_id}"


IDEAS = "are:ideas"
"""list: the book of ideas, one JSON entry each; agents may append and nothing else"""


def recipe(recipe_sha: str) -> str:
    """An idea's recipe, under its hash; agents may set it once."""
    return f"are:recipe:{recipe_sha}"


def platform_default(hardware_key: str, engine: str) -> str:
    """What a calibration found on these machines; workers write it, agents read it."""
    return f"are:default:{hardware_key}:{engine}"


# RQ's, for reading


def rq_job(job_id: str) -> str:
    return f"rq:job:{job_id}"


def rq_queue(name: str) -> str:
    return f"rq:queue:{name}"


def rq_started(queue: str) -> str:
    """Sorted set of `job:execution`, scored by when its lease ends."""
    return f"rq:wip:{queue}"


def rq_workers(queue: str) -> str:
    """Set of the keys of the workers that listen to a queue, also of some that died."""
    return f"rq:workers:{queue}"
