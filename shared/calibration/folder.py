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
from shared.invalid import first_wrong
from shared.settings import settings


def fleet_rows_file() -> Path:
    """Where a worker puts the quality rows of the fleet: the calibrator has no network."""
    return settings().runs / "fleet-rows.json"


def calibration_file(folder: Path) -> Path:
    return folder / "calibration.json"


def lay_out(folder: Path, calibration: Calibration) -> None:
    """Writes calibration.json. ValueError when the folder holds another machine's calibration, or no calibration."""
    earlier = read_calibration(folder) if calibration_file(folder).exists() else None
    if earlier is not None and earlier.hardware_key != calibration.hardware_key:
        raise ValueError(
            f"{folder} holds a calibration of {earlier.hardware_key}, this machine is {calibration.hardware_key}: "
            "choose another --output-dir"
        )
    if earlier is None and folder.is_dir() and any(folder.iterdir()):
        raise ValueError(f"{folder} is not empty and holds no calibration: choose another --output-dir")
    folder.mkdir(parents=True, exist_ok=True)
    write_atomic(calibration_file(folder), calibration.model_dump_json(indent=2) + "\n")


def read_calibration(folder: Path) -> Calibration:
    """ValueError when there is none, or it is damaged."""
    path = calibration_file(folder)
    try:
        return Calibration.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{folder} holds no calibration") from None
    except ValidationError as error:
        what = first_wrong(error)
        raise ValueError(f"{path} is damaged ({what}): delete it, the measurements beside it are kept") from None
