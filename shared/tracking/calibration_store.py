"""Writes one calibration into MLflow: the default as parameters, what it expects as metrics, the report as artifacts.

In an experiment of its own, and under names of its own: what is expected is no result and is not sorted with results.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from shared.calibration.events import read_default_of
from shared.experiment.platform_default import PlatformDefault
from shared.tracking.mlflow_store import experiment_id, reachable_client

if TYPE_CHECKING:
    from mlflow import MlflowClient

EXPERIMENT = "calibration"
TAG = "are.calibration"
NOTE = (
    "Platform defaults: the shape that agents start from on each machine, as `autoresearch calibrate` found it. "
    "`expected_val_bpb` is a prediction for the default's budget, not a result."
)
ARTIFACTS = ("report.md", "report.json")
MEASURED_ARTIFACTS = ("plots/*.png", "promotion/*")
"""where nothing was measured these are of an earlier calibration in the folder"""


def store_calibration(folder: Path) -> None:
    """Once for each default; repeating it adds nothing. Unreachable when the server does not answer."""
    default = read_default_of(folder)
    with reachable_client() as client:
        experiment = experiment_id(client, EXPERIMENT, NOTE)
        name = f"{default.calibration} {default.made_at:%Y-%m-%dT%H:%M:%S}"
        if not client.search_runs([experiment], f"tags.`{TAG}` = '{name}' and attributes.status = 'FINISHED'"):
            _write(client, experiment, name, default, folder)


def _write(client: "MlflowClient", experiment: str, name: str, default: PlatformDefault, folder: Path) -> None:
    run_name = f"{default.family} {default.hardware_key} {default.engine}"
    run = client.create_run(experiment, tags={TAG: name, **tags(default)}, run_name=run_name)
    for key, value in params(default).items():
        client.log_param(run.info.run_id, key, value)
    for key, number in metrics(default).items():
        client.log_metric(run.info.run_id, key, number)
    patterns = (*ARTIFACTS, *(MEASURED_ARTIFACTS if default.is_measured else ()))
    for path in sorted(path for pattern in patterns for path in folder.glob(pattern)):
        below = path.parent.relative_to(folder)
        client.log_artifact(run.info.run_id, str(path), str(below) if below.parts else None)
    client.log_dict(run.info.run_id, default.model_dump(mode="json"), "platform_default.json")
    client.set_terminated(run.info.run_id)


def tags(default: PlatformDefault) -> dict[str, str]:
    named = {
        "hardware_key": default.hardware_key,
        "target": default.target,
        "engine": default.engine,
        "dataset": default.dataset.fingerprint,
        "confidence": default.confidence,
        "reason": default.reason,
        "mode": default.mode,
        "eval_signature": default.eval_signature,
    }
    return {name: str(value) for name, value in named.items()}


def params(default: PlatformDefault) -> dict[str, object]:
    return {
        "family": default.family,
        **default.shape.model_dump(),
        **default.tuning.model_dump(),
        "rung": default.rung.value,
        **({"eval_batch_size": default.eval_batch_size} if default.eval_batch_size else {}),
        "budget": f"{default.budget_seconds:g} s",
        "driver_version": default.driver_version,
        "framework": default.framework,
    }


def metrics(default: PlatformDefault) -> dict[str, float]:
    """None of them where nothing was measured."""
    expects = default.expects
    if expects is None:
        return {}
    numbers = {
        "expected_val_bpb": expects.val_bpb,
        "expected_spread": expects.spread,
        "tok_per_sec": expects.tok_per_sec,
        "peak_vram_mb": expects.memory_mb,
    }
    return numbers | ({"noise_sigma": default.noise.sigma} if default.noise else {})
