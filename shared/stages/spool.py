"""The spool: a folder through which a stage is handed to a process elsewhere, such as a container without a network.

    SpoolExecutor(folder).execute("trainer", [run_dir], watch)     the trusted side, in place of NativeExecutor
    python -m services.executor FOLDER trainer                     takes one ticket, runs it, exits; then a fresh one

The executor sees FOLDER/trainer and nothing else of the trusted side, so the run is lent to it there
(shared/stages/staging.py). Each side holds an OS lock while it lives, so the other notices its death at once and
without a clock: a stage dies with whoever asked for it, and a dead taker is an exit code.
"""

import secrets
import shutil
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from shared.contracts import Contract
from shared.files import write_atomic
from shared.runs.directory import RunDirectory, read_record, write_record
from shared.settings import settings
from shared.stages.executors import Stage, Watch
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
