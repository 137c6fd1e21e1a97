"""A worker whose stages take no time: `python tests/fleet_worker.py DEVICE`. DEVICE is any name; it is the CPU. On
macOS, where horses are new processes, it starts itself with --horse for them.

Everything else is the worker of services/worker, without the process that records in MLflow. How long the machine
has slept is what the file FAST_ASLEEP says, if there is one.
"""

import os
import sys
from pathlib import Path
from unittest import mock

from services.worker import __main__ as main
from services.worker import jobs, watch
from services.worker.fleet_worker import FleetWorker, Post
from services.worker.spawn_worker import SpawnFleetWorker, horse
from services.worker.worker_lock import only_worker
from shared.machine import device_lock
from shared.settings import CHECKOUT
from shared.stages.executors import NativeExecutor


class FastExecutor(NativeExecutor):
    def __init__(self):
        super().__init__(poll_s=0.02)

    def command(self, stage, arguments):
        return [sys.executable, "-I", "-S", str(CHECKOUT / "tests" / "fleet_stage.py"), stage, *arguments]


class SpawnWorker(SpawnFleetWorker):
    horse_command = (*sys.argv[:2], "--horse")


def seconds_asleep() -> float:
    file = Path(os.environ.get("FAST_ASLEEP", ""))
    return float(file.read_text()) if file.is_file() else 0.0


if __name__ == "__main__":
    device = os.environ["FAST_DEVICE"] = sys.argv[1]
    # many devices on a machine that has one
    naming = mock.patch.object(device_lock, "_physical_name", return_value=device)
    on_cpu = mock.patch.object(jobs, "with_defaults_of", lambda _, given: {"target": "cpu", "device": "cpu", **given})
    asleep = mock.patch.object(watch, "seconds_asleep", seconds_asleep)
    with naming, on_cpu, asleep:
        if sys.argv[2:] == ["--horse"]:
            horse(FastExecutor())
        else:
            worker_class = SpawnWorker if main.worker_class() is SpawnFleetWorker else FleetWorker
            with only_worker("cpu"):
                post = Post(target="cpu", device=device, url=main.take_url(), executor=FastExecutor())
                worker_class.at(post, f"{device}-{os.getpid()}").work()
