"""The spool: a folder through which a stage is handed to a process elsewhere, such as a container without a network.

    SpoolExecutor(folder).execute("trainer", [run_dir], watch)     the trusted side, in place of NativeExecutor
    python -m shared.stages.spool FOLDER trainer                   takes one ticket, runs it, exits; then a fresh one

The executor sees FOLDER/trainer and nothing else of the trusted side, so the run is lent to it there
(shared/stages/staging.py). Each side holds an OS lock while it lives, so the other notices its death at once and
without a clock: a stage dies with whoever asked for it, and a dead taker is an exit code.
"""

import secrets
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from filelock import FileLock, Timeout

from shared import sandbox
from shared.contracts import Contract
from shared.files import write_atomic
from shared.runs.directory import RunDirectory, read_record, write_record
from shared.settings import settings
from shared.stages.executors import NativeExecutor, Stage, Watch
from shared.stages.staging import LentTo, MetricsMirror, lend, take_back

POLL_S = 0.1
LOAN = "lent.json"
KILLED = -signal.SIGKILL


class Work(Contract):
    stage: Stage
    lent: str | None
    """name of the run directory, which lies beside the ticket; a preparation has none"""
    arguments: tuple[str, ...]


class Loan(Contract):
    """lent.json in the run directory, while a ticket has a copy of it."""

    stage: LentTo
    ticket: str


class Done(Contract):
    code: int
    line: str


class Ended(Exception):
    """Whoever asked for the stage is gone, or wants no more of it."""


@dataclass(frozen=True)
class Ticket:
    """The files of one stage: NAME.json is taken by renaming it to NAME.taken."""

    folder: Path
    name: str

    def file(self, kind: str) -> Path:
        return self.folder / f"{self.name}.{kind}"

    def place(self, run: str) -> Path:
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
    def __init__(self, folder: Path, take_timeout_s: float = 120.0, term_timeout_s: float = 15.0):
        self.folder, self.take_timeout_s, self.term_timeout_s = folder, take_timeout_s, term_timeout_s

    def execute(self, stage: Stage, arguments: Sequence[str], watch: Watch) -> tuple[int, str]:
        """As NativeExecutor's. ValueError when nobody takes the ticket in time."""
        tickets = self.folder / stage
        tickets.mkdir(parents=True, exist_ok=True)
        ticket = Ticket(tickets, f"{time.time_ns()}-{secrets.token_hex(4)}")
        with ticket.lock("placer"):
            if stage == "prepare":
                done = self._prepare(ticket, arguments, watch)
            else:
                done = self._lend(ticket, stage, Path(arguments[0]), arguments[1:], watch)
        return done.code, done.line

    def reclaim(self) -> None:
        """Brings home what callers that died had lent, once their stages are over."""
        for loan_file in settings().runs.glob("*/lent.json"):
            loan, run = read_record(loan_file, Loan), RunDirectory(loan_file.parent)
            ticket = Ticket(self.folder / loan.stage, loan.ticket)
            if not ticket.place(run.path.name).exists() or ticket.is_held("placer"):
                continue  # lent through the spool of another device's stack, or still at work
            self._await_end(ticket)
            _end_loan(run, ticket, loan.stage)

    def _prepare(self, ticket: Ticket, arguments: Sequence[str], watch: Watch) -> Done:
        try:
            return self._hand_over(ticket, Work(stage="prepare", lent=None, arguments=tuple(arguments)), watch)
        finally:
            ticket.remove()

    def _lend(self, ticket: Ticket, stage: LentTo, path: Path, arguments: Sequence[str], watch: Watch) -> Done:
        run, place = RunDirectory(path), ticket.place(path.name)
        write_record(path / LOAN, Loan(stage=stage, ticket=ticket.name))
        mirror = MetricsMirror(run, place)

        def watch_and_mirror(stage: Stage) -> None:
            mirror.look()
            watch(stage)

        try:
            lend(run, place, stage)
            work = Work(stage=stage, lent=path.name, arguments=tuple(arguments))
            done = self._hand_over(ticket, work, watch_and_mirror)
        finally:
            _end_loan(run, ticket, stage)
        return done.model_copy(update={"line": done.line.replace(str(place), str(path))})

    def _hand_over(self, ticket: Ticket, work: Work, watch: Watch) -> Done:
        write_record(ticket.file("json"), work)
        give_up = time.monotonic() + self.take_timeout_s
        try:
            while (done := self._look(ticket)) is None:
                watch(work.stage)
                if not ticket.file("taken").exists() and time.monotonic() > give_up:
                    raise ValueError(
                        f"nobody took the {work.stage}'s ticket from {ticket.folder}: is its container running?"
                    )
                time.sleep(POLL_S)
        except BaseException:
            self._end(ticket)
            raise
        return done

    def _look(self, ticket: Ticket) -> Done | None:
        """A taker that is gone without a word was killed, and its stage with it."""
        dead = ticket.file("taken").exists() and not ticket.is_held("taker")
        if ticket.file("done").exists():
            return read_record(ticket.file("done"), Done)
        return Done(code=KILLED, line="the executor died") if dead else None

    def _end(self, ticket: Ticket) -> None:
        """The taker lets the stage write its record and ends its processes."""
        ticket.file("json").unlink(missing_ok=True)
        if not ticket.file("taken").exists():
            return
        write_atomic(ticket.file("cancel"), "")
        self._await_end(ticket)

    def _await_end(self, ticket: Ticket) -> None:
        give_up = time.monotonic() + self.term_timeout_s
        while ticket.file("taken").exists() and self._look(ticket) is None and time.monotonic() < give_up:
            time.sleep(POLL_S)


def _end_loan(run: RunDirectory, ticket: Ticket, stage: LentTo) -> None:
    take_back(run, ticket.place(run.path.name), stage)
    ticket.remove()
    (run.path / LOAN).unlink(missing_ok=True)


def take(folder: Path, stage: Stage) -> None:
    """Waits for one ticket and works on it."""
    tickets = folder / stage
    tickets.mkdir(parents=True, exist_ok=True)
    while (ticket := _claim(tickets)) is None:
        time.sleep(POLL_S)
    with ticket.lock("taker"):
        ticket.file("claimed").rename(ticket.file("taken"))
        done = _work(ticket, stage)
        write_record(ticket.file("done"), done)
    if not ticket.file("run").exists() and not ticket.is_held("placer"):
        ticket.remove()  # nobody comes back for it; a lent run is reclaimed


def _claim(tickets: Path) -> Ticket | None:
    """Oldest first; renaming is what two takers cannot both do."""
    for file in sorted(tickets.glob("*.json")):
        ticket = Ticket(tickets, file.stem)
        try:
            file.rename(ticket.file("claimed"))
        except FileNotFoundError:
            continue
        return ticket
    return None


def _work(ticket: Ticket, stage: Stage) -> Done:
    def watch(_: Stage) -> None:
        if ticket.file("cancel").exists() or not ticket.is_held("placer"):
            raise Ended

    try:
        work = read_record(ticket.file("taken"), Work)
        watch(stage)
        if work.stage != stage:
            return Done(code=2, line=f"this executor runs {stage}, not {work.stage}")
        lent = [str(ticket.place(work.lent).absolute())] if work.lent else []
        code, line = NativeExecutor().execute(stage, [*lent, *work.arguments], watch)
    except Ended:
        return Done(code=-signal.SIGTERM, line="ended on request")
    except ValueError as error:
        return Done(code=2, line=str(error))
    return Done(code=code, line=line)


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[2] not in get_args(Stage):
        print(f"usage: python -m shared.stages.spool FOLDER {'|'.join(get_args(Stage))}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    fence = sandbox.describe()
    if fence.chosen == "none" and sys.argv[2] != "prepare" and settings().sandbox == "on":
        print(f"recipes would run unfenced here: {fence.reason}", file=sys.stderr)
        return 2
    try:
        take(Path(sys.argv[1]).resolve(), sys.argv[2])
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
