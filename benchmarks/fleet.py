"""What the fleet costs, measured in one run: `python -m benchmarks.fleet`. Needs the dataset `stdlib`.

enqueue to start      a plain RQ client, until the job function is entered (warm worker, idle)
worker overhead       from enqueue to the recorded outcome, training and evaluation left out (their stages take no time)
tailing               a training step while the worker's thread looks and tells, against one while it does not
                      (benchmarks/tailing.py)
"""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from benchmarks.tailing import Tailing, measure
from shared.settings import settings
from tests.fleet import RedisServer, WorkerProcess, wait_for
from tests.recipes import HONEST

JOBS, PAIRS = 30, 120


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="are-bench-") as folder:
        os.environ["ARE_RUNS"] = str(Path(folder) / "runs")
        settings.cache_clear()
        redis = RedisServer(Path(folder) / "redis")
        worker = WorkerProcess(redis).ready()
        try:
            print_starts(starts(redis))
            print_overheads(overheads(redis))
            worker.end()
            print_tailing(measure(redis.store, PAIRS))
        finally:
            worker.end()
            redis.kill()


def starts(redis: RedisServer) -> list[float]:
    """Milliseconds. `lab` is answered at once, so its RQ start is the start of its function."""
    found = []
    for _ in range(JOBS):
        asked = time.time()
        job_id = redis.enqueue("lab")
        redis.outcome(job_id, 10)
        wait_for(partial(is_finished, redis, job_id))
        job = redis.queue().fetch_job(job_id)
        assert job is not None, "the queue has forgotten it"
        assert job.started_at is not None, "it was never begun"
        found.append(1000 * (job.started_at.timestamp() - asked))
    return found


def is_finished(redis: RedisServer, job_id: str) -> bool:
    return redis.status(job_id) == "finished"


def overheads(redis: RedisServer) -> list[float]:
    """Seconds beside what the stages took by their own records."""
    found = []
    for seed in range(10):
        asked = time.monotonic()
        job_id = redis.enqueue(recipe=HONEST, dataset="stdlib", preset="m5-tiny", time_budget=0.2, seed=seed)
        outcome = redis.outcome(job_id, 30)
        assert outcome.status == "ok", outcome.reason
        found.append(time.monotonic() - asked - 0.2)
    return found


def print_starts(found: list[float]) -> None:
    deciles = statistics.quantiles(found, n=20)
    print(f"enqueue to start      p50 {statistics.median(found):.0f} ms, p95 {deciles[-1]:.0f} ms (goal: p50 <= 50 ms)")


def print_overheads(found: list[float]) -> None:
    print(f"worker overhead       median {statistics.median(found):.2f} s, worst {max(found):.2f} s (goal: <= 1.5 s)")


def print_tailing(found: Tailing) -> None:
    low, high = (100 * (bound - 1) for bound in found.interval)
    step = f"{100 * (found.ratio - 1):+.2f} % [{low:+.2f}, {high:+.2f}] of a step of {found.step_ms:.1f} ms"
    print(f"tailing               {step}, {len(found.ratios)} pairs (goal: <= 0.5 %)")
    print(f"                      {100 * found.cpu_share:.2f} % of one core, in CPU seconds")


if __name__ == "__main__":
    main()
