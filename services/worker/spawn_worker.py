"""The worker for macOS, where a fork after anything of Apple's was used is not safe: horses are new processes.

RQ's SpawnWorker puts the connection, password included, into the horse's command line; here everything the horse
needs comes through a pipe.
"""

import json
import os
import sys
from pathlib import Path

from rq.executions import Execution
from rq.serializers import JSONSerializer

from services.worker.fleet_job import FleetJob, FleetQueue
from services.worker.fleet_worker import FleetWorker, Post
from shared.fleet.store import Answer, Begun
from shared.sandbox.parent_death import exit_with_parent
from shared.settings import CHECKOUT
from shared.stages.executors import Executor, NativeExecutor
from shared.stages.spool import SpoolExecutor


class SpawnFleetWorker(FleetWorker):
    horse_command: tuple[str, ...] = ("-m", "services.worker.spawn_worker")

    def fork_work_horse(self, job: FleetJob, queue: FleetQueue) -> None:
        """posix_spawn, in a process group of its own as RQ's stop command expects."""
        read_end, write_end = os.pipe()
        try:
            argv = [sys.executable, *self.horse_command]
            inherit = [(os.POSIX_SPAWN_DUP2, read_end, 0), (os.POSIX_SPAWN_CLOSE, write_end)]
            environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
            self._horse_pid = os.posix_spawn(sys.executable, argv, environment, setpgroup=0, file_actions=inherit)
            os.write(write_end, json.dumps(self._letter(job)).encode())
        finally:
            os.close(read_end)
            os.close(write_end)

    def _letter(self, job: FleetJob) -> dict:
        """A pipe holds 64 KiB; this is some hundred bytes."""
        spool = self.post.executor.folder if isinstance(self.post.executor, SpoolExecutor) else None
        return {
            "post": {"target": self.post.target, "device": self.post.device, "url": self.post.url},
            "spool": spool and str(spool),
            "name": self.name,
            "worker_pid": os.getpid(),
            "job": job.id,
            "execution": next(iter(self.executions)),
            "begun": self.begun and vars(self.begun),
        }


def horse(native: Executor | None = None) -> None:
    """In the new process: the worker as its parent sees it, then the job."""
    exit_with_parent()
    letter = json.loads(sys.stdin.buffer.read())
    executor = SpoolExecutor(Path(letter["spool"])) if letter["spool"] else native or NativeExecutor()
    worker = SpawnFleetWorker.at(Post(**letter["post"], executor=executor), letter["name"])
    worker.pid, begun = letter["worker_pid"], letter["begun"]
    worker.begun = begun and Begun(Answer(begun["answer"]), begun["number"])
    job = FleetJob.fetch(letter["job"], connection=worker.connection, serializer=JSONSerializer)
    execution = Execution.fetch(letter["execution"], job.id, connection=worker.connection)
    worker.executions[execution.id] = execution
    worker.main_work_horse(job, worker.queues[0])


if __name__ == "__main__":
    horse()
