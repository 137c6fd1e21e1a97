"""What dead attempts of this disk left behind: results nobody was told of, and jobs that wait for a lease to end."""

import logging
from contextlib import suppress

import psutil

from services.worker.attempt import deliver, is_void, note_file, notes, settle
from shared.fleet.contracts import AttemptRecord
from shared.fleet.store import FleetStore
from shared.run_directory import RunDirectory

log = logging.getLogger("rq.worker")


def settle_old_attempts(store: FleetStore, device: str) -> None:
    """Delivers results of attempts whose process is gone; has the others of this device started again at once."""
    for record in notes():
        if is_alive(record.pid):
            continue
        try:
            _settle(record, store, device)
        except (ValueError, OSError) as error:
            log.error("attempt %s cannot be settled: %s", record.run_id, error)


def is_alive(pid: int) -> bool:
    """A zombie is not: a container's first process may never collect it."""
    with suppress(psutil.Error):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


def _settle(record: AttemptRecord, store: FleetStore, device: str) -> None:
    directory = RunDirectory.of(record.run_id)
    result = directory.result() if directory.path.exists() and not directory.in_use() else None
    if result is not None and is_void(directory, result):
        settle(record, "void")
    elif result is not None:
        log.info("attempt %s: %s", record.run_id, deliver(record, result, store))
        store.end_lease(record.queue, record.job_id, record.execution)
    elif store.outcome(record.job_id) is not None or not store.is_newest(record.job_id, record.execution):
        note_file(record).unlink(missing_ok=True)
    elif record.device == device:
        store.end_lease(record.queue, record.job_id, record.execution)
