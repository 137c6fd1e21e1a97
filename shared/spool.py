"""The spool: a folder through which a stage is handed to a process elsewhere, such as a container without a network.

    SpoolExecutor(folder).execute("trainer", [run_dir], watch)     the trusted side, in place of NativeExecutor
    python -m shared.spool FOLDER trainer                          takes one ticket, runs it, exits; then a fresh one

Both sides see the same files under the same paths. Each holds an OS lock while it lives, so the other notices its
death at once and without a clock: a stage dies with whoever asked for it, and a dead taker is an exit code.
"""

import secrets
import signal
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from filelock import FileLock, Timeout

from shared.contracts import Contract
from shared.executors import NativeExecutor, Stage, Watch
from shared.files import write_atomic
from shared.run_directory import read_record, write_record

POLL_S = 0.1
KILLED = -signal.SIGKILL


class Work(Contract):
    stage: Stage
    arguments: tuple[str, ...]


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

    def lock(self, side: str) -> FileLock:
        return FileLock(self.file(f"{side}.lock"), timeout=0)

    def is_held(self, side: str) -> bool:
        try:
            with self.lock(side):
                return False
        except Timeout:
            return True

    def remove(self) -> None:
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
            try:
                write_record(ticket.file("json"), Work(stage=stage, arguments=tuple(arguments)))
                done = self._wait(ticket, stage, watch)
            finally:
                ticket.remove()
        return done.code, done.line

    def _wait(self, ticket: Ticket, stage: Stage, watch: Watch) -> Done:
        give_up = time.monotonic() + self.take_timeout_s
        try:
            while (done := self._look(ticket)) is None:
                watch(stage)
                if not ticket.file("taken").exists() and time.monotonic() > give_up:
                    raise ValueError(
                        f"nobody took the {stage}'s ticket from {ticket.folder}: is its container running?"
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
        give_up = time.monotonic() + self.term_timeout_s
        while self._look(ticket) is None and time.monotonic() < give_up:
            time.sleep(POLL_S)


def take(folder: Path, stage: Stage) -> None:
    """Waits for one ticket and works on it."""
    tickets = folder / stage
    tickets.mkdir(parents=True, exist_ok=True)
    while (ticket := _claim(tickets)) is None:
        time.sleep(POLL_S)
    with ticket.lock("taker"):
        ticket.file("claimed").rename(ticket.file("taken"))
        done = _work(ticket, stage)
        if ticket.is_held("placer"):
            write_record(ticket.file("done"), done)
            return
    ticket.remove()


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
        code, line = NativeExecutor().execute(stage, work.arguments, watch)
    except Ended:
        return Done(code=-signal.SIGTERM, line="ended on request")
    except ValueError as error:
        return Done(code=2, line=str(error))
    return Done(code=code, line=line)


def main() -> int:
    if len(sys.argv) != 3 or sys.argv[2] not in get_args(Stage):
        print(f"usage: python -m shared.spool FOLDER {'|'.join(get_args(Stage))}", file=sys.stderr)
        return 2
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        take(Path(sys.argv[1]).resolve(), sys.argv[2])
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
