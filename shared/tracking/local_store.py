"""The sqlite store in ARE_RUNS: made beside its place and renamed when it is whole, so that no kill leaves half of one.

A store that another MLflow left half-made or with other tables is kept under another name, and every finished run of
this disk is noted for recording again: run directories are the record, MLflow is a view of them.
"""

import logging
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from shared.runs.directory import RunDirectory
from shared.tracking.notes import write_note

SCHEME = "sqlite:///"

_whole: set[Path] = set()
"""stores that this process has looked at"""


def make_whole(uri: str) -> None:
    """Sees to it that a local store has all its tables. Only with the recorder's lock. sqlite3.Error when locked."""
    if not uri.startswith(SCHEME):
        return
    path = Path(uri.removeprefix(SCHEME))
    if path in _whole and path.exists():
        return
    if path.exists() and not is_whole(path):
        _set_aside(path)
    if not path.exists():
        _make(path)
    _whole.add(path)


def is_whole(path: Path) -> bool:
    """Whether its tables are those of the MLflow that is installed."""
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=5)) as store:
            found = store.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError as error:
        if "locked" in str(error):
            raise
        return False  # no such table
    except sqlite3.DatabaseError:
        return False
    return [version for (version,) in found] == _newest_version()


def _newest_version() -> list[str]:
    import mlflow.store.db_migrations
    from alembic.script import ScriptDirectory

    (folder,) = mlflow.store.db_migrations.__path__
    return list(ScriptDirectory(folder).get_heads())


def _make(path: Path) -> None:
    from mlflow import MlflowClient

    for name in ("alembic", "mlflow.store.db.utils"):
        logging.getLogger(name).setLevel(logging.ERROR)
    path.parent.mkdir(parents=True, exist_ok=True)
    for left in path.parent.glob(f".{path.name}.*.making*"):
        left.unlink(missing_ok=True)  # by a maker that was killed: there is one at a time
    making = path.with_name(f".{path.name}.{os.getpid()}.making")
    MlflowClient(tracking_uri=f"{SCHEME}{making}").search_experiments(max_results=1)
    making.replace(path)


def _set_aside(path: Path) -> None:
    kept = path.with_name(f"{path.name}.{time.strftime('%Y%m%d-%H%M%S')}.aside")
    path.replace(kept)
    finished = sorted(path.parent.glob("*/result.json"), key=lambda file: file.stat().st_mtime_ns)
    for file in finished:
        write_note(file.parent.name, "run_directory", RunDirectory(file.parent).path)
    print(
        f"MLflow's store {path} was made in part, or by another version of MLflow: it is kept as {kept.name}, and "
        f"{len(finished)} runs are recorded again from their directories",
        file=sys.stderr,
        flush=True,
    )
