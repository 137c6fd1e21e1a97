"""A seeded storm over a hub: jobs of a fraction of a second on several devices while processes and Redis are killed,
frozen and cut off. `Storm.run` gives back what is left to count: lost, recorded twice, overlapping, not ended.

The stock worker goes through the same storm as a control: a suite that nothing fails proves nothing.
"""

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from shared.settings import CHECKOUT
from tests.fleet import FAST_WORKER, RedisServer, WorkerProcess, intervals, overlaps
from tests.recipes import HONEST

STOCK_WORKER = CHECKOUT / "tests" / "chaos" / "stock_worker.py"
JOB = {"recipe": HONEST, "dataset": "words", "preset": "m5-tiny"}


@dataclass
class Tally:
    jobs: int
    ended: Counter = field(default_factory=Counter)
    blows: Counter = field(default_factory=Counter)
    not_ended: list[str] = field(default_factory=list)
    recorded_twice: list[str] = field(default_factory=list)
    completed_twice: list[str] = field(default_factory=list)
    overlapping: list[tuple[str, str]] = field(default_factory=list)
    starts: int = 0
    seconds: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.not_ended or self.recorded_twice or self.overlapping)

    def __str__(self) -> str:
        return (
            f"{self.jobs} jobs, {self.starts} starts, {self.seconds:.0f} s, blows {dict(self.blows)}: "
            f"ended {dict(self.ended)}, lost or not ended {len(self.not_ended)}, recorded twice "
            f"{len(self.recorded_twice)}, completed twice {len(self.completed_twice)}, "
            f"overlapping {len(self.overlapping)}"
        )


class Storm:
    def __init__(self, folder: Path, runs: Path, seed: int, devices: int = 2, stock: bool = False):
        self.dice = random.Random(seed)
        self.runs, self.stock = runs, stock
        self.redis = RedisServer(folder / "redis")
        self.devices = [f"device{number}" for number in range(devices)]
        self.workers: dict[str, WorkerProcess] = {}
        self.blows: Counter = Counter()
        self.frozen: dict[int, float] = {}

    def run(self, jobs: int, mean_pause_s: float, storm_s: float, longest_s: float, *, freeze_s: float = 25.0) -> Tally:
        began = time.monotonic()
        try:
            names = [self._enqueue(number) for number in range(jobs)]
            next_blow = began + 2.0
            while time.monotonic() - began < longest_s:
                self._keep_workers()
                self._thaw()
                if self._all_over(names):
                    break
                if time.monotonic() > next_blow and time.monotonic() - began < storm_s:
                    self._strike(freeze_s)
                    next_blow = time.monotonic() + self.dice.expovariate(1 / mean_pause_s)
                time.sleep(0.1)
            self._settle()
            return self._count(names, time.monotonic() - began)
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
        for device in self.devices:
            worker = self.workers.get(device)
            if worker is None or worker.process.poll() is not None:
                self.workers[device] = self._start(device)

    def _start(self, device: str) -> WorkerProcess:
        program = STOCK_WORKER if self.stock else FAST_WORKER
        return WorkerProcess(self.redis, device, program=program, ARE_RUNS=str(self.runs))

    # blows

    def _strike(self, freeze_s: float) -> None:
        blows = {"worker": 4, "horse": 4, "stage": 4, "redis": 3, "freeze": 1, "tree": 1, "half-open": 1, "disk": 1}
        name = self.dice.choices(list(blows), list(blows.values()))[0]
        worker = self.workers[self.dice.choice(self.devices)]
        with suppress(psutil.Error, ProcessLookupError, IndexError):
            getattr(self, f"_strike_{name.replace('-', '_')}")(worker, freeze_s)
            self.blows[name] += 1

    def _strike_worker(self, worker: WorkerProcess, _: float) -> None:
        worker.process.kill()

    def _strike_horse(self, worker: WorkerProcess, _: float) -> None:
        psutil.Process(worker.pid).children()[0].kill()

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
            self.frozen[process.pid] = time.monotonic() + freeze_s

    def _strike_tree(self, worker: WorkerProcess, _: float) -> None:
        """The machine goes away."""
        for process in reversed((psutil.Process(worker.pid), *psutil.Process(worker.pid).children(recursive=True))):
            process.kill()

    def _strike_half_open(self, *_: object) -> None:
        """Redis neither answers nor hangs up for a while."""
        self.redis.process.send_signal(signal.SIGSTOP)
        time.sleep(self.dice.uniform(1.0, 5.0))
        self.redis.process.send_signal(signal.SIGCONT)

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

    def _thaw(self, at_once: bool = False) -> None:
        for pid, until in list(self.frozen.items()):
            if at_once or time.monotonic() > until:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGCONT)
                del self.frozen[pid]

    # the count

    def _all_over(self, names: list[str]) -> bool:
        with suppress(Exception):
            statuses = {self.redis.status(name) for name in names}
            recorded = self.stock or all(map(self.redis.store.outcome, names))
            return statuses <= {"finished", "failed", "stopped"} and recorded and not self.frozen
        return False

    def _settle(self) -> None:
        """Whoever still holds something back says it now."""
        self._thaw(at_once=True)
        time.sleep(2.0)

    def _count(self, names: list[str], seconds: float) -> Tally:
        tally = Tally(len(names), blows=self.blows, seconds=seconds)
        completions = Counter(file.read_text() for file in (self.runs / "completions").glob("*"))
        tally.completed_twice = [name for name in names if completions[name] > 1]
        tally.overlapping = overlaps(self.runs)
        tally.starts = len(intervals(self.runs))
        for name in names:
            status = self.redis.status(name)
            outcome = None if self.stock else self.redis.store.outcome(name)
            if status not in ("finished", "failed", "stopped") or (outcome is None and not self.stock):
                tally.not_ended.append(f"{name}: {status}")
            tally.ended[str(outcome.status) if outcome else status] += 1
        tally.recorded_twice = self._recorded_twice(names)
        return tally

    def _recorded_twice(self, names: list[str]) -> list[str]:
        """Ours: accepted verdicts on disk, which is what reaches MLflow. Stock: successful results in Redis."""
        if self.stock:
            results = {name: self.redis.connection.xrange(f"rq:results:{name}") for name in names}
            good = {
                name: [entry for entry in found if entry[1].get(b"type") == b"1"] for name, found in results.items()
            }
            return [name for name, found in good.items() if len(found) > 1]
        notes = Counter(file.stem.rpartition("-a")[0] for file in (self.runs / "outbox").glob("*.json"))
        return [name for name in names if notes[name] > 1]

    def end(self) -> None:
        self._thaw(at_once=True)
        for worker in self.workers.values():
            worker.end()
        self.redis.process.send_signal(signal.SIGCONT)
        self.redis.kill()
