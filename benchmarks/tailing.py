"""A training step while the worker's thread looks into Redis and tells the progress, against one while it does not.

One run of the real trainer; the thread looks in one half of every pair of blocks, by the toss of a seeded coin, so
what else the machine does falls on both. Called by benchmarks/fleet.py.
"""

import random
import statistics
import threading
import time
from dataclasses import dataclass

from services.worker.attempt import Attempt
from services.worker.watch import Watcher
from shared.experiment.request import TrainRequest, build_job
from shared.fleet.contracts import AttemptRecord
from shared.fleet.store import FleetStore
from shared.runs.directory import RunDirectory
from shared.stages.executors import NativeExecutor

BLOCK_S, SEED = 1.0, 1
SHAPE = {"device_batch_size": "4", "total_batch_size": "1024"}  # one small batch a step: many steps in a block
RESAMPLES = 2000


@dataclass(frozen=True)
class Tailing:
    ratios: list[float]
    """of the mean step while it looks to that while it does not, one a pair of blocks"""
    step_ms: float
    """median while it does not look"""
    cpu_share: float
    """of one core that looking costs this process, measured in CPU seconds"""

    @property
    def ratio(self) -> float:
        return statistics.geometric_mean(self.ratios)

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by bootstrap over the pairs."""
        dice = random.Random(SEED)
        means = sorted(
            statistics.geometric_mean(dice.choices(self.ratios, k=len(self.ratios))) for _ in range(RESAMPLES)
        )
        return means[int(0.025 * RESAMPLES)], means[int(0.975 * RESAMPLES)]


class Alternating(Watcher):
    """The worker's own, except that it looks only in half of the blocks."""

    def __init__(self, attempt: Attempt, pairs: int):
        super().__init__(attempt)
        dice = random.Random(SEED)
        coins = [dice.random() < 0.5 for _ in range(pairs)]
        self.looks = [look for coin in coins for look in (coin, not coin)]
        self.cpu_s = [0.0] * len(self.looks)
        self.began_at = 0.0

    def block(self, at: float) -> int | None:
        """None before the first step and after the last block."""
        number = int((at - self.began_at) // BLOCK_S) if self.began_at else -1
        return number if 0 <= number < len(self.looks) else None

    def tick(self, stage: str) -> None:
        super().tick(stage)
        if not self.began_at:
            self.began_at = clock_origin(self.attempt.directory)

    def _look_once(self) -> None:
        block, before = self.block(time.time()), time.thread_time()
        if block is not None and self.looks[block]:
            super()._look_once()
            self.cpu_s[block] += time.thread_time() - before


def measure(store: FleetStore, pairs: int) -> Tailing:
    attempt = make_attempt(store, (2 * pairs + 1) * BLOCK_S)
    watcher = Alternating(attempt, pairs)
    thread = threading.Thread(target=watcher.look, daemon=True)
    thread.start()
    code, line = attempt.executor.execute("trainer", [str(attempt.directory.path)], watcher.tick)
    watcher.over.set()
    thread.join()
    if code:
        raise SystemExit(f"the trainer ended with {code}: {line or attempt.directory.training()}")
    pairs_of_ms = [pair for pair in by_pair(watcher, attempt.directory) if all(pair)]
    ratios = [statistics.fmean(on) / statistics.fmean(off) for on, off in pairs_of_ms]
    step_ms = statistics.median(step for _, off in pairs_of_ms for step in off)
    return Tailing(ratios, step_ms, sum(watcher.cpu_s) / (pairs * BLOCK_S))


def make_attempt(store: FleetStore, budget_s: float) -> Attempt:
    """With its run directory laid out."""
    record = AttemptRecord(
        job_id=f"tailing-{time.time_ns()}", number=1, execution="x", worker="benchmark", pid=0,
        queue="cpu", device="cpu", started_at=time.time(),
    )  # fmt: skip
    request = TrainRequest(preset="m5-tiny", dataset="stdlib", device="cpu", time_budget=budget_s, set=SHAPE)
    job, source = build_job(request)
    RunDirectory.of(record.run_id).create(job.model_copy(update={"run_id": record.run_id}), source)
    return Attempt(record, "cpu", 0, store, store, NativeExecutor())


def clock_origin(run: RunDirectory) -> float:
    """When the budget began, in seconds since the epoch, by the first telemetry; 0 before there is any."""
    steps = list(run.steps())
    return run.metrics_file.stat().st_mtime - steps[-1].train_seconds if steps else 0.0


def by_pair(watcher: Alternating, run: RunDirectory) -> list[tuple[list[float], list[float]]]:
    """Milliseconds of the steps while it looked and while it did not; steps across the end of a block are left out."""
    blocks: list[list[float]] = [[] for _ in watcher.looks]
    for step in run.steps():
        ended_at = watcher.began_at + step.train_seconds
        block = watcher.block(ended_at)
        if block is not None and block == watcher.block(ended_at - step.step_ms / 1000):
            blocks[block].append(step.step_ms)
    pairs = zip(blocks[::2], blocks[1::2], watcher.looks[::2], strict=True)
    return [(first, second) if first_looks else (second, first) for first, second, first_looks in pairs]
