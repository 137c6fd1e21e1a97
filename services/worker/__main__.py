"""The worker of one device: `python -m services.worker --target TARGET --device DEVICE` (`autoresearch worker`).

SIGTERM lets the attempt end first; a second one ends it now and hands the job back. When the queue is gone too, the
first one ends the worker at once. Exit code 2 when it cannot start (0 as a service of launchd, which would start it
again).
"""

import argparse
import os
import socket
import sys
import uuid
from pathlib import Path

from redis.exceptions import RedisError

from services.worker.connection import quick
from services.worker.fleet_worker import FleetWorker, Post
from services.worker.recorder_process import RecorderProcess
from services.worker.spawn_worker import SpawnFleetWorker
from services.worker.worker_lock import only_worker
from shared.fleet.platform_defaults import publish_own
from shared.machine.hardware import detect
from shared.machine.targets import find_target
from shared.settings import settings
from shared.stages.executors import NativeExecutor
from shared.stages.spool import SpoolExecutor

CREDENTIALS = ("ARE_WORKER_REDIS_URL", "ARE_REDIS_URL", "RQ_REDIS_URL")


def main() -> int:
    arguments = parse_arguments()
    try:
        hardware = detect(arguments.device)
        target = find_target(arguments.target or hardware.target).name
        executor = SpoolExecutor(arguments.spool.resolve()) if arguments.spool else NativeExecutor()
        post = Post(target=target, device=hardware.device, url=take_url(), executor=executor)
        work(post, hardware.hardware_key, burst=arguments.burst)
    except ValueError as error:
        print(f"worker: {error}", file=sys.stderr)
        return 0 if arguments.service else 2
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m services.worker")
    parser.add_argument("--target", help="the queue to work on; default: what this machine is")
    parser.add_argument("--device", help="cuda:N, metal or cpu; default: the best there is")
    parser.add_argument("--spool", type=Path, help="hand stages to executors that watch this folder (containers)")
    parser.add_argument("--burst", action="store_true", help="end when the queue is empty")
    parser.add_argument("--service", action="store_true", help="exit code 0 after bad input, so that launchd rests")
    return parser.parse_args()


def take_url() -> str:
    """The address of the queue, taken out of the environment that children get."""
    url = settings().worker_redis_url or settings().redis_url
    for name in CREDENTIALS:
        os.environ.pop(name, None)
    return url


def work(post: Post, hardware_key: str, burst: bool = False) -> None:
    """ValueError when another worker has the device."""
    stack = settings().runs if isinstance(post.executor, SpoolExecutor) else None
    with only_worker(post.device, stack):
        say_when_there_is_no_hub(post.url)
        with RecorderProcess(post.device):
            worker = worker_class().at(post, worker_name(post))
            publish_own(worker.connection, hardware_key)
            worker.work(burst=burst)


def say_when_there_is_no_hub(url: str) -> None:
    """It may come: a worker that is started with its machine waits for it, for as long as a connection does."""
    try:
        quick(url).ping()
    except RedisError as error:
        address = url.rpartition("@")[2].removeprefix("redis://").partition("/")[0]
        advice = "start one with `make hub`, or copy the hub's .env into this checkout"
        print(
            f"worker: no hub answers at {address} yet ({error}): {advice}; waiting for it", file=sys.stderr, flush=True
        )


def worker_class() -> type[FleetWorker]:
    """Forked horses where that is safe: 20 ms from queue to start instead of 400."""
    return SpawnFleetWorker if sys.platform == "darwin" else FleetWorker


def worker_name(post: Post) -> str:
    device = post.device.replace(":", "-")
    return f"{post.target}.{socket.gethostname()[:40]}.{device}.{uuid.uuid4().hex[:6]}"


if __name__ == "__main__":
    sys.exit(main())
