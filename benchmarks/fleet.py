"""What the fleet costs, measured in one run: `python -m benchmarks.fleet`. Needs redis-server and the dataset `stdlib`.

enqueue to start      a plain RQ client, until the job function is entered (warm worker, idle)
worker overhead       from enqueue to the recorded outcome, training and evaluation left out (their stages take no time)
tailing               a training step while the worker's thread reads the telemetry, against one while it does not
"""

import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from services.worker.watch import PROGRESS_EVERY_S
from shared.run_listing import last_step
from shared.settings import settings
from tests.fleet import RedisServer, WorkerProcess, wait_for
from tests.recipes import HONEST
from tests.shared.finished_runs import make_steps

JOBS = 30


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="are-bench-") as folder:
        os.environ["ARE_RUNS"] = str(Path(folder) / "runs")
        settings.cache_clear()
        redis = RedisServer(Path(folder) / "redis")
        worker = WorkerProcess(redis).ready()
        try:
            print_starts(starts(redis))
            print_overheads(overheads(redis))
        finally:
            worker.end()
            redis.kill()
        print_tailing(tailing_s(Path(folder)))


def starts(redis: RedisServer) -> list[float]:
    """Milliseconds. `lab` is answered at once, so its RQ start is the start of its function."""
    found = []
    for _ in range(JOBS):
        asked = time.time()
        job_id = redis.enqueue("lab")
        redis.outcome(job_id, 10)
        wait_for(partial(is_finished, redis, job_id))
        job = redis.queue().fetch_job(job_id)
        found.append(1000 * (job.started_at.timestamp() - asked))
    return found


def is_finished(redis: RedisServer, job_id: str) -> bool:
    return redis.status(job_id) == "finished"


def overheads(redis: RedisServer) -> list[float]:
    """Seconds beside what the stages took by their own records."""
    found = []
    for seed in range(10):
        asked = time.monotonic()
        arguments = {"recipe": HONEST, "dataset": "stdlib", "preset": "m5-tiny", "time_budget": 0.2, "seed": seed}
        outcome = redis.outcome(redis.enqueue(**arguments), 30)
        assert outcome.status == "ok", outcome.reason
        found.append(time.monotonic() - asked - 0.2)
    return found


def tailing_s(folder: Path) -> float:
    """Seconds of one look at the telemetry of a long run."""
    metrics = folder / "metrics.jsonl"
    metrics.write_text("".join(step.model_dump_json() + "\n" for step in make_steps(5000)))
    began = time.process_time()
    for _ in range(200):
        assert last_step(metrics) is not None
    return (time.process_time() - began) / 200


def print_starts(found: list[float]) -> None:
    deciles = statistics.quantiles(found, n=20)
    print(f"enqueue to start      p50 {statistics.median(found):.0f} ms, p95 {deciles[-1]:.0f} ms (goal: p50 <= 50 ms)")


def print_overheads(found: list[float]) -> None:
    print(f"worker overhead       median {statistics.median(found):.2f} s, worst {max(found):.2f} s (goal: <= 1.5 s)")


def print_tailing(one_look_s: float) -> None:
    share = 100 * one_look_s / PROGRESS_EVERY_S
    look = f"{1e6 * one_look_s:.0f} us of CPU a look, one a second"
    print(f"tailing               {look}: {share:.3f} % of one core (goal: 0.5 %)")


if __name__ == "__main__":
    main()
