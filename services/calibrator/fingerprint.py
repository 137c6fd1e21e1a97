"""Phase fingerprint: which machine this is, whether anybody knows one like it, and what an earlier default is worth."""

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Literal

from services.calibrator.work import Work
from shared.contracts import Contract, Shape
from shared.experiment.platform_default import all_defaults, installed_framework, judge, read_default
from shared.quality import QualityRow

PACKAGES = ("torch", "mlx", "numpy", "optuna", "scipy")


class Fingerprint(Contract):
    known: Literal["exact", "near", "new"]
    """rows of this hardware key exist; of the same vendor and kind; none"""
    nearest: str
    """hardware key whose default or rows are nearest; empty when there is none"""
    nearest_shape: Shape | None
    """tried among the first"""
    standing: str
    """what the default that this machine had is worth, and why; empty when it had none"""
    versions: dict[str, str]


def fingerprint(work: Work) -> Fingerprint:
    calibration = work.calibration
    earlier, standing = None, ""
    try:
        earlier = read_default(calibration.hardware_key, calibration.engine)
    except ValueError:
        standing = "it was damaged"
    if earlier is not None:
        judgement = judge(
            earlier,
            datetime.now(UTC),
            driver_version=calibration.driver_version,
            recipe_sha=calibration.recipe_sha,
            framework=installed_framework(calibration.engine),
        )
        standing = f"{judgement.standing}: {judgement.reason}"
    known, key = _nearest(work)
    shape = earlier.shape if earlier and earlier.is_measured else _shape_of(work, key)
    return Fingerprint(known=known, nearest=key, nearest_shape=shape, standing=standing, versions=versions())


def versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    return found | {name: text for name in PACKAGES if (text := _version(name)) is not None}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _nearest(work: Work) -> tuple[Literal["exact", "near", "new"], str]:
    """By name: keys say vendor, generation, product and memory in that order."""
    mine = work.calibration.hardware_key
    keys = {key for key in (row.hardware_key for row in work.table.rows) if key}
    keys |= {default.hardware_key for default in all_defaults() if default.is_measured}
    if mine in keys:
        return "exact", mine
    shared = {key: _common_parts(mine, key) for key in keys}
    best = max(shared, key=lambda key: (shared[key], key), default="")
    return ("near", best) if best and shared[best] else ("new", "")


def _common_parts(first: str, second: str) -> int:
    count = 0
    for one, other in zip(first.split("-"), second.split("-"), strict=False):
        if one != other:
            break
        count += 1
    return count


def _shape_of(work: Work, key: str) -> Shape | None:
    """The default of that machine, else the shape with which it scored lowest."""
    for default in all_defaults():
        if default.hardware_key == key and default.is_measured:
            return default.shape
    rows: list[QualityRow] = [row for row in work.table.rows if row.hardware_key == key]
    return min(rows, key=lambda row: row.val_bpb).shape if rows else None
