"""What dead attempts of this disk left behind: results nobody was told of, and jobs that wait for a lease to end."""

import logging
import time
from contextlib import suppress
from pathlib import Path

import psutil

from services.worker.attempt import Attempt, deliver, is_void, notes, settle
from shared.fleet.contracts import AttemptRecord, Verdict
from shared.fleet.store import FleetStore
from shared.machine.births import birth_of
from shared.runs.directory import RunDirectory

STAGE_TIMEOUT_S = 15.0
CLOCK_SLACK_S = 2.0

log = logging.getLogger("rq.worker")


def settle_old_attempts(store: FleetStore, device: str) -> None:
    """Delivers results of attempts whose process is gone; has the others of this device started again at once."""
    for record in notes():
        if is_alive(record):
            continue
        try:
            _settle(record, store, device)
        except (ValueError, OSError) as error:
            log.error("attempt %s cannot be settled: %s", record.run_id, error)


def end_stages_of_dead_attempts(attempt: Attempt) -> None:
    """A stage outlives its horse by as long as it takes to end its children: the next one waits that long."""
    own = attempt.record
    dead = [RunDirectory.of(r.run_id).path for r in notes() if r.device == own.device and r.run_id != own.run_id]
    deadline = time.monotonic() + STAGE_TIMEOUT_S
    while dead and (stages := [process for path in dead for process in _stages_of(path)]):
        if time.monotonic() > deadline:
            for process in stages:
                process.kill()
        time.sleep(0.02)


def _stages_of(run: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if str(run) in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def is_alive(record: AttemptRecord) -> bool:
    """Whether its process is: not a zombie, which a container's first process may never collect, and not a younger one
    of the same id, as the next container's processes are.
    """
    with suppress(psutil.Error):
        process = psutil.Process(record.pid)
        return process.status() != psutil.STATUS_ZOMBIE and _is_the_same(process, record)
    return False


def _is_the_same(process: psutil.Process, record: AttemptRecord) -> bool:
    """By the wall clock, which may be set meanwhile, only where the system tells nothing better."""
    if record.birth:
        return birth_of(process.pid) == record.birth
    return process.create_time() <= record.started_at + CLOCK_SLACK_S


def _settle(record: AttemptRecord, store: FleetStore, device: str) -> None:
    directory = RunDirectory.of(record.run_id)
    result = directory.result() if directory.path.exists() and not directory.in_use() else None
    if result is not None and is_void(result):
        settle(record, Verdict.VOID)
    elif result is not None:
        log.info("attempt %s: %s", record.run_id, deliver(record, result, store))
        store.end_lease(record.queue, record.job_id, record.execution)
    elif (outcome := store.outcome(record.job_id)) is not None:
        if outcome.run_id != record.run_id:  # its own result is delivered when its run directory is free
            settle(record, Verdict.LATE)
    elif not store.is_newest(record.job_id, record.execution):
        settle(record, Verdict.SUPERSEDED)
    elif record.device == device:
        store.end_lease(record.queue, record.job_id, record.execution)
