"""A seeded storm over a hub: jobs of a fraction of a second on several devices while processes and Redis are killed,
frozen and cut off. `Storm.run` gives back the tally: lost, recorded twice, overlapping, not ended.

The stock worker goes through the same storm as a control: a suite that nothing fails proves nothing.
"""

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil

from shared.settings import CHECKOUT
from tests.chaos.tally import ENDED, Tally, count
from tests.fleet import FAST_WORKER, RedisServer, WorkerProcess, horses_of
from tests.mlflow_server import MlflowServer
from tests.recipes import HONEST
from tests.wire import Wire

STOCK_WORKER = CHECKOUT / "tests" / "chaos" / "stock_worker.py"
RECORDER = [sys.executable, "-m", "services.worker.recorder"]
DEVICES = ["device0", "device1"]
# how often each is drawn
BLOWS = {"worker": 4, "horse": 4, "stage": 4, "redis": 3, "freeze": 1, "tree": 1, "silence": 1, "wire": 2, "disk": 1}
RECORDING_BLOWS = {"mlflow": 3, "recorder": 2}
JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny"}


class Storm:
    """`mlflow`: also record, in a server that is killed too; as the fleet does, by a process beside each worker."""

    def __init__(
        self, folder: Path, runs: Path, seed: int, *, stock: bool = False, mlflow: MlflowServer | None = None
    ):  # fmt: skip
        self.dice = random.Random(seed)
        self.runs, self.stock, self.mlflow = runs, stock, mlflow
        self.redis = RedisServer(folder / "redis")
        self.wires = {device: Wire(self.redis.port) for device in DEVICES}
        self.workers: dict[str, WorkerProcess] = {}
        self.recorders: dict[str, subprocess.Popen] = {}
        self.blows: Counter = Counter()
        self.later: list[tuple[float, Callable[[], object]]] = []

    def run(self, jobs: int, mean_pause_s: float, storm_s: float, longest_s: float, *, freeze_s: float = 30.0) -> Tally:
        began = time.monotonic()
        try:
            if self.mlflow:
                self.mlflow.start()
            names = [self._enqueue(number) for number in range(jobs)]
            next_blow = began + 2.0
            while time.monotonic() - began < longest_s:
                self._keep_workers()
                self._undo()
                if self._all_over(names):
                    break
                if time.monotonic() > next_blow and time.monotonic() - began < storm_s:
                    self._strike(freeze_s)
                    next_blow = time.monotonic() + self.dice.expovariate(1 / mean_pause_s)
                time.sleep(0.1)
            self._settle()
            return count(self, names, time.monotonic() - began)
        finally:
            self.end()

    def _enqueue(self, number: int) -> str:
        seconds = self.dice.uniform(0.05, 0.8)
        name = f"job-{number:03d}"
        if self.stock:
            kwargs = {"job_id": name, "seconds": seconds, "runs": str(self.runs)}
            return self.redis.queue().enqueue_call("stock_worker.job", kwargs=kwargs, job_id=name, timeout=60).id
        return self.redis.enqueue(job_id=name, time_budget=seconds, seed=number, **JOB)

    def _keep_workers(self) -> None:
        """What systemd or Docker would do."""
        for device in DEVICES:
            worker = self.workers.get(device)
            if worker is None or worker.process.poll() is not None:
                self.workers[device] = self._start(device)
            recorder = self.recorders.get(device)
            if self.mlflow and (recorder is None or recorder.poll() is not None):
                self.recorders[device] = self._start_recorder()

    def _start(self, device: str) -> WorkerProcess:
        program = STOCK_WORKER if self.stock else FAST_WORKER
        places = {"ARE_RUNS": str(self.runs), "ARE_REDIS_URL": self.wires[device].url}
        return WorkerProcess(self.redis, device, program=program, **places)

    def _start_recorder(self) -> subprocess.Popen:
        environment = {**os.environ, "ARE_RUNS": str(self.runs), "ARE_TRACKING_URI": self.mlflow.uri}
        with open(self.redis.folder / "recorders.log", "ab") as log:
            return subprocess.Popen(RECORDER, cwd=CHECKOUT, env=environment, stdout=subprocess.DEVNULL, stderr=log)

    # blows

    def _strike(self, freeze_s: float) -> None:
        blows = BLOWS | (RECORDING_BLOWS if self.mlflow else {})
        name = self.dice.choices(list(blows), list(blows.values()))[0]
        worker = self.workers[self.dice.choice(DEVICES)]
        with suppress(psutil.Error, ProcessLookupError, IndexError):
            getattr(self, f"_strike_{name}")(worker, freeze_s)
            self.blows[name] += 1

    def _strike_worker(self, worker: WorkerProcess, _: float) -> None:
        worker.process.kill()

    def _strike_horse(self, worker: WorkerProcess, _: float) -> None:
        horses_of(worker)[0].kill()

    def _strike_stage(self, worker: WorkerProcess, _: float) -> None:
        psutil.Process(worker.pid).children(recursive=True)[-1].kill()

    def _strike_redis(self, *_: object) -> None:
        self.redis.kill()
        time.sleep(self.dice.uniform(0.2, 4.0))
        self.redis.start()

    def _strike_freeze(self, worker: WorkerProcess, freeze_s: float) -> None:
        """Worker, horse and stage, longer than the lease: a laptop that is closed and opened."""
        for process in (psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True)):
            process.suspend()
            self._in(freeze_s, partial(os.kill, process.pid, signal.SIGCONT))

    def _strike_tree(self, worker: WorkerProcess, _: float) -> None:
        """The machine goes away."""
        for process in reversed((psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True))):
            process.kill()

    def _strike_silence(self, *_: object) -> None:
        """Redis neither answers nor hangs up for a while."""
        self.redis.process.send_signal(signal.SIGSTOP)
        time.sleep(self.dice.uniform(1.0, 5.0))
        self.redis.process.send_signal(signal.SIGCONT)

    def _strike_wire(self, worker: WorkerProcess, _: float) -> None:
        """Every packet of one worker is dropped for a while; its connections may be dead for good after that."""
        wire = next(self.wires[device] for device, found in self.workers.items() if found is worker)
        wire.cut()
        self._in(self.dice.uniform(0.5, 8.0), partial(wire.mend, lose_connections=self.dice.random() < 0.5))

    def _strike_mlflow(self, *_: object) -> None:
        self.mlflow.kill()
        self._in(self.dice.uniform(0.0, 8.0), self.mlflow.launch)

    def _strike_recorder(self, *_: object) -> None:
        self.recorders[self.dice.choice(DEVICES)].kill()

    def _strike_disk(self, *_: object) -> None:
        """Nothing new can be written below runs/attempts for a moment, as on a full disk."""
        notes = self.runs / "attempts"
        if notes.is_dir():
            away = notes.with_name("attempts-away")
            notes.rename(away)
            notes.write_text("no space left")
            time.sleep(0.3)
            notes.unlink()
            away.rename(notes)

    def _in(self, seconds: float, action: Callable[[], object]) -> None:
        self.later.append((time.monotonic() + seconds, action))

    def _undo(self, at_once: bool = False) -> None:
        due = [entry for entry in self.later if at_once or time.monotonic() > entry[0]]
        self.later = [entry for entry in self.later if entry not in due]
        for _, action in due:
            with suppress(ProcessLookupError):
                action()

    # the end

    def _all_over(self, names: list[str]) -> bool:
        if self.later:
            return False
        with suppress(Exception):
            statuses = {self.redis.status(name) for name in names}
            accepted = self.stock or all(map(self.redis.store.outcome, names))
            return statuses <= ENDED and accepted and (self.mlflow is None or self._is_recorded())
        return False

    def _is_recorded(self) -> bool:
        """Nothing waits, and nothing half-done is left."""
        waits = any(next((self.runs / name).glob("*.json"), None) for name in ("attempts", "outbox"))
        return not waits and all(run.info.status != "RUNNING" for run in self.mlflow.runs())

    def _settle(self) -> None:
        """Whoever still holds something back says it now."""
        self._undo(at_once=True)
        if self.mlflow:
            self.mlflow.start()
        time.sleep(2.0)

    def end(self) -> None:
        self._undo(at_once=True)
        for worker in self.workers.values():
            worker.end()
        for recorder in self.recorders.values():
            recorder.kill()
            recorder.wait()
        if self.mlflow:
            self.mlflow.kill()
        self.redis.process.send_signal(signal.SIGCONT)
        self.redis.kill()
        for wire in self.wires.values():
            wire.close()
