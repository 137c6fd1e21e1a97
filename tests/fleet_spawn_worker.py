"""The macOS worker on whatever this is, with real stages: `python tests/fleet_spawn_worker.py DEVICE`."""

import os
import sys

from services.worker import __main__ as main
from services.worker.fleet_worker import Post
from services.worker.spawn_worker import SpawnFleetWorker
from shared.stages.executors import NativeExecutor

if __name__ == "__main__":
    post = Post(target="cpu", device=sys.argv[1], url=main.take_url(), executor=NativeExecutor())
    SpawnFleetWorker.at(post, f"spawn-{os.getpid()}").work()
