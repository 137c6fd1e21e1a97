"""The spool: a folder through which a stage is handed to a process elsewhere, such as a container without a network.

    SpoolExecutor(folder).execute("trainer", [run_dir], watch)     the trusted side, in place of NativeExecutor
    python -m services.executor FOLDER trainer                     runs one work item, exits; then a fresh one

The executor sees FOLDER/trainer and nothing else of the trusted side, so the files it needs are staged
there (shared/stages/staging.py). Each side holds an OS lock while it lives, so the other notices its death at once and
without a clock: a stage dies with whoever asked for it, and a dead runner is an exit code.
"""

import secrets
import shutil
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from filelock import FileLock, Timeout
from pydantic import AfterValidator

from shared.contracts import Contract
from shared.files import write_atomic
from shared.runs.directory import RunDirectory, read_record, write_record
from shared.runs.evaluating import NAME as EVALUATING
from shared.settings import settings
from shared.stages.bell import listening, ring
from shared.stages.executors import Watch
from shared.stages.staging import MetricsMirror, read_small, stage_in, stage_out
from shared.stages.table import find_stage

POLL_S = 0.1
"""how often a submitter calls its watch; a bell tells it at once that the stage has ended"""
BELL = ".bell"
"""of a stage's folder: there is work"""
STAGED = "staged.json"
KILLED = -signal.SIGKILL

Wait = Callable[[float], None]
StageName = Annotated[str, AfterValidator(lambda name: find_stage(name).name)]


class WorkRequest(Contract):
    """NAME.json: what is to be run."""

    stage: StageName
    run: str | None
    """name of the run directory whose copy lies beside the item; None: the stage works on none"""
    arguments: tuple[str, ...]


class Staged(Contract):
    """staged.json in the run directory, while a copy of it is at work."""

    stage: StageName
    item: str


class WorkResult(Contract):
    """NAME.done: how it ended, as Executor.execute says it."""

    code: int
    line: str


@dataclass(frozen=True)
class WorkItem:
    """The files of one stage: NAME.json is taken by renaming it to NAME.running."""

    folder: Path
    name: str

    def file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"

    def run_copy(self, run: str) -> Path:
        return self.file("run") / run

    def lock(self, side: str) -> FileLock:
        return FileLock(self.file(f"{side}.lock"), timeout=0)

    def is_held(self, side: str) -> bool:
        try:
            with self.lock(side):
                return False
        except Timeout:
            return True

    def remove(self) -> None:
        shutil.rmtree(self.file("run"), ignore_errors=True)
        for file in self.folder.glob(f"{self.name}.*"):
            file.unlink(missing_ok=True)


class SpoolExecutor:
    def __init__(self, folder: Path, start_timeout_s: float = 120.0, term_timeout_s: float = 15.0):
        self.folder = folder.resolve()  # as the executors name it, in whose lines the run's path is put back
        self.start_timeout_s, self.term_timeout_s = start_timeout_s, term_timeout_s

    def execute(self, stage: str, arguments: Sequence[str], watch: Watch) -> tuple[int, str]:
        """As NativeExecutor's. ValueError when no executor takes it in time."""
        items = self.folder / stage
        items.mkdir(parents=True, exist_ok=True)
        item = WorkItem(items, f"{time.time_ns()}-{secrets.token_hex(4)}")
        with item.lock("submitter"), listening(item.file("bell")) as wait:
            if find_stage(stage).has_run:
                done = self._with_run(item, stage, Path(arguments[0]), arguments[1:], watch, wait)
            else:
                done = self._without_run(item, stage, arguments, watch, wait)
        return done.code, done.line

    def reclaim(self) -> None:
        """Stages out what submitters that died had staged in, once their stages are over."""
        for staged_file in settings().runs.glob("*/staged.json"):
            staged, run = read_record(staged_file, Staged), RunDirectory(staged_file.parent)
            item = WorkItem(self.folder / staged.stage, staged.item)
            if not item.run_copy(run.path.name).exists() or item.is_held("submitter"):
                continue  # staged through the spool of another device's stack, or still at work
            self._await_end(item)
            _unstage(run, item, staged.stage)

    def _without_run(
        self, item: WorkItem, stage: str, arguments: Sequence[str], watch: Watch, wait: Wait
    ) -> WorkResult:
        try:
            return self._submit(item, WorkRequest(stage=stage, run=None, arguments=tuple(arguments)), watch, wait)
        finally:
            item.remove()

    def _with_run(
        self, item: WorkItem, stage: str, path: Path, arguments: Sequence[str], watch: Watch, wait: Wait
    ) -> WorkResult:
        run, place = RunDirectory(path), item.run_copy(path.name)
        write_record(path / STAGED, Staged(stage=stage, item=item.name))
        mirror = MetricsMirror(run, place)

        def watch_and_mirror(stage: str) -> None:
            mirror.look()
            watch(stage)

        try:
            stage_in(run, place, stage)
            work = WorkRequest(stage=stage, run=path.name, arguments=tuple(arguments))
            done = self._submit(item, work, watch_and_mirror, wait)
        finally:
            _unstage(run, item, stage)
        return done.model_copy(update={"line": done.line.replace(str(place), str(path))})

    def _submit(self, item: WorkItem, work: WorkRequest, watch: Watch, wait: Wait) -> WorkResult:
        write_record(item.file("json"), work)
        ring(item.folder / BELL)
        give_up = time.monotonic() + self.start_timeout_s
        try:
            while (done := self._look(item)) is None:
                watch(work.stage)
                if not item.file("running").exists() and time.monotonic() > give_up:
                    raise ValueError(
                        f"nobody took the {work.stage}'s work item from {item.folder}: is its container running?"
                    )
                wait(POLL_S)
        except BaseException:
            self._end(item)
            raise
        return done

    def _look(self, item: WorkItem) -> WorkResult | None:
        """A runner that is gone without a word was killed, and its stage with it."""
        dead = item.file("running").exists() and not item.is_held("runner")
        with suppress(FileNotFoundError):
            return WorkResult.model_validate_json(read_small(item.file("done")))
        return WorkResult(code=KILLED, line="the executor died") if dead else None

    def _end(self, item: WorkItem) -> None:
        """The runner lets the stage write its record and ends its processes."""
        item.file("json").unlink(missing_ok=True)
        if not item.file("running").exists():
            return
        write_atomic(item.file("cancel"), "")
        self._await_end(item)

    def _await_end(self, item: WorkItem) -> None:
        give_up = time.monotonic() + self.term_timeout_s
        while item.file("running").exists() and self._look(item) is None and time.monotonic() < give_up:
            time.sleep(POLL_S)


def _unstage(run: RunDirectory, item: WorkItem, stage: str) -> None:
    stage_out(run, item.run_copy(run.path.name), stage)
    item.remove()
    (run.path / EVALUATING).unlink(missing_ok=True)
    (run.path / STAGED).unlink(missing_ok=True)
