"""The folder of a calibration, where a later one of the same machine finds what was measured.

calibration.json     the last one that was asked for (Calibration)
events.jsonl         what people are told (shared/calibration/events.py)
phase-NAME.json      results of phases; probes-*.jsonl, search-*.journal: of probes (services/calibrator)
report.md, report.json, plots/, promotion/
"""

from pathlib import Path

from pydantic import ValidationError

from shared.calibration.job import Calibration
from shared.files import write_atomic
from shared.settings import settings


def fleet_rows_file() -> Path:
    """Where a worker puts the quality rows of the fleet: the calibrator has no network."""
    return settings().runs / "fleet-rows.json"


def calibration_file(folder: Path) -> Path:
    return folder / "calibration.json"


def lay_out(folder: Path, calibration: Calibration) -> str:
    """Writes calibration.json. Returns what was wrong with the one that was there; empty when nothing was.

    ValueError when the folder holds another machine's calibration, or something else.
    """
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{folder} is no folder: choose another --output-dir")
    path = calibration_file(folder)
    if not path.exists() and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no calibration: choose another --output-dir")
    earlier, damage = _read(path)
    if earlier is not None and earlier.hardware_key != calibration.hardware_key:
        raise ValueError(
            f"{folder} holds a calibration of {earlier.hardware_key}, this machine is {calibration.hardware_key}: "
            "choose another --output-dir"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(path, calibration.model_dump_json(indent=2) + "\n")
    return damage


def _read(path: Path) -> tuple[Calibration | None, str]:
    """Of a damaged one nothing is needed: measurements are found by what they depend on."""
    try:
        return Calibration.model_validate_json(path.read_bytes()), ""
    except FileNotFoundError:
        return None, ""
    except ValidationError:
        return None, f"{path.name} is damaged and is made again"
