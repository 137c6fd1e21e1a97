"""An Optuna study in an append-only file that any writer may be killed over.

Optuna's own lock is a file that a killed process leaves behind for half a minute, and half a line at the end would make
its journal unreadable.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from filelock import FileLock

from shared.contracts import one_line

if TYPE_CHECKING:
    import optuna

STUDY = "search"


class KernelLock:
    """Gone with the process that holds it, unlike Optuna's, which it stands in for."""

    def __init__(self, journal: Path) -> None:
        self._lock = FileLock(journal.with_suffix(".lock"))

    def acquire(self) -> bool:
        self._lock.acquire()
        return True

    def release(self) -> None:
        self._lock.release()


def open_study(journal: Path, **options: Any) -> tuple["optuna.Study", str]:
    """The study, and a note that is empty unless the file could not be read and was set aside for a new one.

    `options` are those of optuna.create_study.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    journal.parent.mkdir(parents=True, exist_ok=True)
    try:
        return _opened(journal, options), ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        damaged = journal.replace(journal.with_suffix(".damaged"))
        note = f"{journal.name} could not be read ({one_line(str(error), 200)}) and is now {damaged.name}"
        return _opened(journal, options), note


def _opened(journal: Path, options: dict[str, Any]) -> "optuna.Study":
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    lock = KernelLock(journal)
    lock.acquire()
    try:
        _drop_torn_line(journal)
    finally:
        lock.release()
    storage = JournalStorage(JournalFileBackend(str(journal), lock_obj=cast(Any, lock)))
    return optuna.create_study(study_name=STUDY, storage=storage, load_if_exists=True, **options)


def _drop_torn_line(journal: Path) -> None:
    """Cuts what a killed writer left after the last line end."""
    with open(journal, "a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
