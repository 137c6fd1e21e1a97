"""Whether an experiment's artifacts go where they may. Whoever reaches MLflow can make an experiment under the name
that runs are recorded by, and chooses its location: MLflow's client writes there, on this machine's disk or to any
host.
"""

from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from shared.settings import settings

if TYPE_CHECKING:
    from mlflow.entities import Experiment

FOLDER = "mlflow-artifacts"


def own_folder() -> Path:
    """Of the local store, below ARE_RUNS."""
    return settings().runs.absolute() / FOLDER


def check_location(experiment: "Experiment") -> None:
    """ValueError unless the server keeps the artifacts itself, or they go to the local store's own folder."""
    if is_allowed(experiment.artifact_location):
        return
    advice = "rename or delete the experiment in MLflow; what waits is recorded after that"
    raise ValueError(
        f"MLflow's experiment '{experiment.name}' keeps artifacts in {experiment.artifact_location[:120]}, "
        f"where nothing is written from here: {advice}"
    )


def is_allowed(location: str) -> bool:
    try:
        parts = urlsplit(location)
    except ValueError:
        return False
    if parts.netloc:
        return False
    if parts.scheme == "mlflow-artifacts":
        return True
    path = Path(unquote(parts.path) if parts.scheme else location)
    if parts.scheme not in ("", "file") or not path.is_absolute():
        return False
    return path.resolve().is_relative_to(own_folder().resolve())
