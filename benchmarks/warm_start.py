"""Start-up of a second run of an edited recipe against the first one's: `python -m benchmarks.warm_start`.

Each round edits a number that the compiler sees and trains two seeds with compile on. The ratio is of the two starts of
one round, right after each other. Where shipped recipes have compiled before, seed 1 begins with what they share, so
use an ARE_HOME without a cache. Not a test: it prints what it measured on this machine. Runs stay in ARE_RUNS.
"""

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from statistics import median
from time import time_ns

from services.trainer.supervisor import supervise
from shared.contracts import Status, TrainingRecord
from shared.experiment.request import TrainRequest, build_job
from shared.runs.directory import RunDirectory
from shared.runs.shipped import default_recipe

GOAL = 0.25
SEEN_BY_THE_COMPILER = "SOFTCAP = 15.0"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="m5-tiny")
    parser.add_argument("--dataset", default="stdlib")
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    print(f"Python {platform.python_version()}, torch {installed('torch')}, triton {installed('triton')}")
    ratios = []
    for _ in range(arguments.rounds):
        request = TrainRequest(preset=arguments.preset, dataset=arguments.dataset, smoke=True, set={"compile": "on"})
        source = edited_recipe()
        eager = start(request.model_copy(update={"set": {"compile": "off"}}), source)
        first, second = (start(request.model_copy(update={"seed": seed}), source) for seed in (1, 2))
        ratios.append(second.startup_seconds / first.startup_seconds)
        seconds = ", ".join(f"{record.startup_seconds:.1f} s" for record in (first, second, eager))
        print(f"seed 1, seed 2, without compilation: {seconds}; seed 2 / seed 1 = {ratios[-1]:.0%}", flush=True)
    print(f"seed 2 starts in {median(ratios):.0%} of the time of seed 1 (goal <= {GOAL:.0%})")


def edited_recipe() -> bytes:
    """The shipped one with a number that no run had before."""
    source = default_recipe("torch").read_text()
    assert SEEN_BY_THE_COMPILER in source
    return source.replace(SEEN_BY_THE_COMPILER, f"SOFTCAP = 15.{time_ns() % 10**9:09}").encode()


def start(request: TrainRequest, source: bytes) -> TrainingRecord:
    job, source = build_job(request, source)
    run = RunDirectory.of(job.run_id)
    run.create(job, source)
    record = supervise(run)
    if record.status is not Status.OK:
        raise SystemExit(f"run {job.run_id} ended as {record.status}: {record.reason}")
    return record


def installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "is not installed"


if __name__ == "__main__":
    main()
