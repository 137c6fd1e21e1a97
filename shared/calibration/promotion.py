"""Promotion bundles: a platform default with its quality rows, as a calibration leaves it and other machines take it.

The default goes into ARE_HOME/platform like one that was calibrated here; the rows into a file beside, from which later
calibrations predict. `autoresearch defaults promote` takes a bundle over.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from shared.experiment.platform_default import PlatformDefault
from shared.invalid import first_wrong
from shared.quality.rows import QualityRow, RowsRead, read_rows, write_rows
from shared.settings import settings

BUNDLE = "promotion"
DEFAULT_FILE, ROWS_FILE, RUNGS_FILE = "platform_default.json", "quality-rows.json", "rung_calibration.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Bundle:
    default: PlatformDefault
    rows: tuple[QualityRow, ...]
    notes: tuple[str, ...]
    """one line for each row that could not be read and is left out"""


def read_bundle(path: Path) -> Bundle:
    """A bundle's folder, or the file of a default alone. ValueError, in one line, for anything else."""
    if not path.is_dir():
        return Bundle(read_default_file(path), (), ())
    default = read_default_file(path / DEFAULT_FILE)
    file = path / ROWS_FILE
    read = read_rows(file) if file.exists() else None
    return Bundle(default, read.rows if read else (), read.notes if read else ())


def check_measured(bundle: Bundle) -> None:
    """ValueError for a default of which nothing was measured: it would take the place of a better one."""
    default = bundle.default
    if not default.is_measured:
        raise ValueError(
            f"nothing of this default was measured on {default.hardware_key}, so it says nothing to other machines: "
            "calibrate that machine again (autoresearch calibrate), then promote what comes of it"
        )


def read_default_file(path: Path) -> PlatformDefault:
    """ValueError names what is wrong with it: it is not there, damaged, or of another version of this program."""
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} does not exist: name a promotion folder or a platform default's file") from None
    except ValueError as error:
        raise ValueError(f"{path} is damaged (no JSON: {error}): copy it again") from None
    version = content.get("schema_version") if isinstance(content, dict) else None
    if version is not None and version != SCHEMA_VERSION:
        raise ValueError(f"{path} has schema version {version}, this program reads {SCHEMA_VERSION}: calibrate again")
    try:
        return PlatformDefault.model_validate_json(path.read_bytes())
    except ValidationError as error:
        raise ValueError(f"{path} is no platform default ({first_wrong(error, 'it')}): copy it again") from None


def promoted_rows_file() -> Path:
    return settings().home / "platform" / ROWS_FILE


def promoted_rows() -> tuple[QualityRow, ...]:
    """Of all bundles that were promoted here. ValueError when their file is damaged."""
    return read_promoted().rows


def read_promoted() -> RowsRead:
    """The same, with a note for each row that could not be read and is left out."""
    path = promoted_rows_file()
    if not path.exists():
        return RowsRead(())
    try:
        return read_rows(path)
    except ValueError:
        raise ValueError(f"{path} is damaged: delete it and promote the bundles again") from None


def add_rows(rows: Sequence[QualityRow]) -> int:
    """Into the file of promoted rows, each source once, the latest of it; how many were not there before."""
    before = {row.source: row for row in promoted_rows()}
    after = before | {row.source: row for row in rows}
    if after != before:
        promoted_rows_file().parent.mkdir(parents=True, exist_ok=True)
        write_rows(promoted_rows_file(), list(after.values()))
    return len(after) - len(before)
