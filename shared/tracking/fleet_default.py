"""A machine's platform default, read from MLflow on another one: its noise floor judges ideas that ran there."""

import re
import tempfile
from pathlib import Path

from pydantic import ValidationError

from shared.experiment.platform_default import Confidence, PlatformDefault
from shared.tracking import mlflow_mapping
from shared.tracking.calibration_store import EXPERIMENT
from shared.tracking.mlflow_store import reachable_client

PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,119}")


def fleet_default(hardware_key: str, engine: str) -> PlatformDefault | None:
    """The newest that was measured. None where nobody calibrated. Unreachable when MLflow does not answer."""
    if not PLAIN.fullmatch(hardware_key) or not PLAIN.fullmatch(engine):
        return None
    meant = (
        f"tags.hardware_key = '{hardware_key}' and tags.engine = '{engine}' and "
        f"tags.confidence != '{Confidence.NONE}' and attributes.status = 'FINISHED'"
    )
    with reachable_client() as client:
        experiment = client.get_experiment_by_name(mlflow_mapping.experiment_name(EXPERIMENT))
        if experiment is None:
            return None
        order = ["attributes.start_time DESC"]
        found = client.search_runs([experiment.experiment_id], meant, max_results=1, order_by=order)
        if not found:
            return None
        with tempfile.TemporaryDirectory(prefix="are-default-") as folder:
            file = client.download_artifacts(found[0].info.run_id, "platform_default.json", folder)
            content = Path(file).read_bytes()
    try:
        default = PlatformDefault.model_validate_json(content)
    except ValidationError:
        return None  # of another version
    return default if default.hardware_key == hardware_key else None
