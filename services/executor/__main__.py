"""Runs one stage for the other side of a spool, then ends: `python -m services.executor FOLDER STAGE`.

A container's first process. Whoever starts it starts a fresh one afterwards (`restart: always`), so nothing of a
stage outlives it; nothing untrusted is loaded while it waits. The trusted side: shared/stages/spool.py.
"""

import os
import signal
import sys
from pathlib import Path

from services.executor.lifetime import long_enough
from services.executor.orphans import collect_orphans
from shared import sandbox
from shared.runs.directory import read_record, write_record
from shared.settings import settings
from shared.stages.bell import listening, ring
from shared.stages.executors import NativeExecutor
from shared.stages.spool import BELL, WorkItem, WorkRequest, WorkResult
from shared.stages.table import STAGES, Stage, find_stage

LOOK_EVERY_S = 1.0
"""for work that nobody rang for"""


class Ended(Exception):
    """Whoever asked for the stage is gone, or wants no more of it."""


def run_one(folder: Path, stage: str) -> None:
    """Waits for one work item and runs it."""
    items = folder / stage
    items.mkdir(parents=True, exist_ok=True)
    with listening(items / BELL) as wait:
        while (item := _claim(items)) is None:
            wait(LOOK_EVERY_S)
    with item.lock("runner"):
        item.file("claimed").rename(item.file("running"))
        done = _work(item, stage)
        write_record(item.file("done"), done)
        ring(item.file("bell"))
    if not item.file("run").exists() and not item.is_held("submitter"):
        item.remove()  # nobody comes back for it; a staged run is reclaimed


def _claim(items: Path) -> WorkItem | None:
    """Oldest first; renaming is what two runners cannot both do."""
    for file in sorted(items.glob("*.json")):
        item = WorkItem(items, file.stem)
        try:
            file.rename(item.file("claimed"))
        except FileNotFoundError:
            continue
        return item
    return None


def _work(item: WorkItem, stage: str) -> WorkResult:
    executor = NativeExecutor()

    def watch(_: str) -> None:
        if os.getpid() == 1:
            collect_orphans(executor.pid)
        if item.file("cancel").exists() or not item.is_held("submitter"):
            raise Ended

    try:
        work = read_record(item.file("running"), WorkRequest)
        watch(stage)
        if work.stage != stage:
            return WorkResult(code=2, line=f"this executor runs {stage}, not {work.stage}")
        run = [str(item.run_copy(work.run).absolute())] if work.run else []
        code, line = executor.execute(stage, [*run, *work.arguments], watch)
    except Ended:
        return WorkResult(code=-signal.SIGTERM, line="ended on request")
    except ValueError as error:
        return WorkResult(code=2, line=str(error))
    return WorkResult(code=code, line=line)


def main() -> int:
    if len(sys.argv) != 3:
        print(f"usage: python -m services.executor FOLDER {'|'.join(stage.name for stage in STAGES)}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        stage, folder = find_stage(sys.argv[2]), Path(sys.argv[1]).resolve()
        check_sandbox(stage)
        with long_enough(folder / stage.name):
            run_one(folder, stage.name)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


def check_sandbox(stage: Stage) -> None:
    """ValueError where untrusted code would run unfenced and nobody asked for that."""
    fence = sandbox.describe()
    if stage.runs_untrusted_code and fence.chosen == sandbox.SandboxKind.NONE and settings().sandbox == "on":
        raise ValueError(f"recipes would run unfenced here: {fence.reason}")


if __name__ == "__main__":
    sys.exit(main())
