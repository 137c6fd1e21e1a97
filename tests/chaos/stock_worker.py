"""The control: RQ's own worker with a retry, as its documentation would have it, running a stage of the same length."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

STAGE = """
import sys, time
until = time.monotonic() + float(sys.argv[2])
with open(sys.argv[1], "a") as file:
    while time.monotonic() < until:
        file.write(f"{time.time():.4f}\\n"); file.flush(); time.sleep(0.01)
"""


def job(job_id: str, seconds: float, runs: str) -> str:
    device = os.environ["FAST_DEVICE"]
    place, ends = Path(runs) / "intervals", Path(runs) / "completions"
    place.mkdir(exist_ok=True)
    ends.mkdir(exist_ok=True)
    file = place / f"{job_id}@{device}@{os.getpid()}.txt"
    subprocess.run([sys.executable, "-I", "-S", "-c", STAGE, str(file), str(seconds)], check=True)
    (ends / uuid.uuid4().hex).write_text(job_id)
    return job_id


if __name__ == "__main__":
    from redis import Redis
    from rq import Worker
    from rq.serializers import JSONSerializer

    sys.path.insert(0, str(Path(__file__).parent))
    os.environ["FAST_DEVICE"] = sys.argv[1]
    connection = Redis.from_url(os.environ["ARE_REDIS_URL"])
    # the lease is RQ's shortest; with its defaults the storm would be over before anybody noticed anything
    worker = Worker(
        ["cpu"],
        connection=connection,
        serializer=JSONSerializer,
        worker_ttl=30,
        maintenance_interval=10,
        job_monitoring_interval=5,
        name=f"{sys.argv[1]}-{os.getpid()}-{time.time_ns()}",
    )
    worker.work()
