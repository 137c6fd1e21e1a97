"""Runs one stage for the other side of a spool, then ends: `python -m services.executor FOLDER STAGE`.

A container's first process. Whoever starts it starts a fresh one afterwards (`restart: always`), so nothing of a
stage outlives it; nothing untrusted is loaded while it waits. The trusted side: shared/stages/spool.py.
"""

import signal
import sys
import time
from pathlib import Path
from typing import get_args

from shared import sandbox
from shared.runs.directory import read_record, write_record
from shared.settings import settings
from shared.stages.executors import NativeExecutor, Stage
from shared.stages.spool import POLL_S, Done, Ticket, Work


class Ended(Exception):
    """Whoever asked for the stage is gone, or wants no more of it."""


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
        print(f"usage: python -m services.executor FOLDER {'|'.join(get_args(Stage))}", file=sys.stderr)
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
