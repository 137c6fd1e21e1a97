"""Compiled kernels of edited recipes, kept for their next runs: each set for one key, written once.

A set is what one run had compiled just before it was given the rows, so that nothing of them can be in it, and whether
there is one says nothing of them either. It lies in $ARE_HOME/cache/edited, which no recipe's process may open, apart
from the cache of the shipped recipes. docs/security.md says what could be left in it. Everything may be deleted.
"""

import errno
import hashlib
import json
import os
import platform
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from filelock import FileLock

from shared.bounds import one_line
from shared.contracts import Contract, Job, RunId, Seconds
from shared.files import sha256_bytes, sha256_file
from shared.runs.directory import read_record, write_record
from shared.sandbox.strangers_folder import Copying, copy_folder
from shared.settings import CHECKOUT, settings

MOST_FILES, MOST_BYTES = 20_000, 512 << 20
"""of one set; a small model on a CPU leaves 170 files of 8 MB"""
LONGEST_COPY_S = 20.0  # the recipe's process waits for 60 s
LOCK_TIMEOUT_S = 30.0
HOUR_S = 3600.0
PACKAGES = ("torch", "triton", "numpy", "flash-attn-4", "nvidia-cutlass-dsl")
CODE = ("kernels", "shared/engines", "services/trainer")


class Kept(Contract):
    """What is known of a set."""

    run_id: RunId
    """of the run that compiled it"""
    startup_seconds: Seconds
    """of that run, until all of it was copied"""
    early_seconds: Seconds
    """of that run before its clock, as far as they may have been training"""
    num_files: int
    num_bytes: int


def folder() -> Path:
    return settings().home / "cache" / "edited"


def key_of(job: Job) -> str:
    """Names everything that a kernel may depend on, and the recipe: nothing goes from one recipe to another."""
    asked = job.model_dump(
        mode="json",
        include={
            "recipe_sha", "engine", "device", "dtype", "compile", "attention", "kernels", "target", "hardware_key",
            "shape", "dataset",
        },
    )  # fmt: skip
    found = {"python": platform.python_version(), "packages": _versions(), "code": _code()}
    return sha256_bytes(json.dumps({**asked, **found}, sort_keys=True).encode())


def _versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        with suppress(PackageNotFoundError):
            found[package] = version(package)
    return found


@cache
def _code() -> str:
    """Of the files of ours that a recipe's kernels come from, and that decide what is compiled before the clock."""
    digest = hashlib.sha256()
    for path in sorted(path for place in CODE for path in (CHECKOUT / place).rglob("*.py")):
        digest.update(f"{path.relative_to(CHECKOUT)} {sha256_file(path)}\n".encode())
    return digest.hexdigest()


class Damaged(ValueError):
    """What a set holds is not what was kept, as its message says. The set is removed."""


def take(key: str, target: Path) -> Kept | None:
    """Copies the set into `target`, a new folder. None when there is none.

    Damaged removes the set; OSError, a full disk for example, leaves it where it is. Neither leaves a `target`.
    """
    place = folder() / key
    if not place.exists():
        return None
    with _locked():
        if not place.exists():  # somebody else made room
            return None
        try:
            kept = _checked(place)
            shutil.copytree(place / "files", target)
        except Damaged:
            shutil.rmtree(place, ignore_errors=True)
            raise
        except OSError:
            shutil.rmtree(target, ignore_errors=True)
            raise
        os.utime(place / "kept.json")
    return kept


def _checked(place: Path) -> Kept:
    """The set's record. Damaged unless all of its files are there, each as long as it was in sum."""
    try:
        kept = read_record(place / "kept.json", Kept)
    except (FileNotFoundError, ValueError) as error:
        raise Damaged(f"its record kept.json cannot be read ({one_line(str(error), 200)})") from None
    num_files, num_bytes = _size(place / "files")
    if (num_files, num_bytes) != (kept.num_files, kept.num_bytes):
        raise Damaged(
            f"of {kept.num_files} files with {kept.num_bytes} bytes, {num_files} with {num_bytes} bytes are there"
        )
    return kept


def keep(key: str, cache_folder: int, run_id: str, started: float, deadline: float, early_s: float) -> bool:
    """Copies the open folder `cache_folder` of a run whose recipe has no rows yet. False: it is empty.

    The first set of a key stays, whoever comes later. started, deadline: seconds of the monotonic clock. early_s: as
    Kept.early_seconds.
    Refused says what is wrong with it; OSError when the disk is.
    """
    most = min(MOST_BYTES, _room())
    copying = Copying(MOST_FILES, most, min(deadline, time.monotonic() + LONGEST_COPY_S))
    folder().mkdir(parents=True, exist_ok=True)
    making = folder() / f".{secrets.token_hex(8)}"
    making.mkdir(mode=0o700)
    try:
        copy_folder(cache_folder, making / "files", copying)
        if not copying.num_files:
            return False
        kept = Kept(
            run_id=run_id,
            startup_seconds=time.monotonic() - started,
            early_seconds=early_s,
            num_files=copying.num_files,
            num_bytes=copying.num_bytes,
        )
        write_record(making / "kept.json", kept)
        with _locked():
            _publish(making, folder() / key)
            _make_room()
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return True


def _publish(making: Path, place: Path) -> None:
    """A folder that is there and not empty is never replaced."""
    try:
        making.rename(place)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise


def _room() -> int:
    return int(settings().keep_kernels_gb * 1e9)


def _make_room() -> None:
    """Removes what was used longest ago, until the rest is within ARE_KEEP_KERNELS_GB, and what a killed run left."""
    left = _room()
    for place in _newest_first():
        left -= _size(place / "files")[1]
        if left < 0:
            shutil.rmtree(place, ignore_errors=True)
    for unfinished in folder().glob(".*/"):
        if time.time() - unfinished.stat().st_mtime > HOUR_S:
            shutil.rmtree(unfinished, ignore_errors=True)


def _newest_first() -> list[Path]:
    records = folder().glob("[0-9a-f]*/kept.json")
    return [path.parent for path in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True)]


def _size(target: Path) -> tuple[int, int]:
    sizes = [path.stat().st_size for path in target.rglob("*") if path.is_file()]
    return len(sizes), sum(sizes)


@contextmanager
def _locked() -> Iterator[None]:
    """Nobody removes a set while another one copies it."""
    with FileLock(folder() / ".lock", timeout=LOCK_TIMEOUT_S):
        yield
