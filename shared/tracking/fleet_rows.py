"""The fleet's finished runs as rows of the quality table, read from MLflow for a calibrator that has no network."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.contracts import Integrity, Rung, Shape
from shared.evaluation.rungs import eval_signature
from shared.kernel_names import kernels_of
from shared.quality import QualityRow
from shared.runs.shipped import Trained, is_shipped
from shared.tracking import mlflow_mapping
from shared.tracking.mlflow_store import reachable_client
from shared.tracking.series import UNRANKED
from shared.unranked import BY_THE_MACHINE

if TYPE_CHECKING:
    from mlflow.entities import Run

NEWEST = 5000
SAID_BY_US = "attributes.status = 'FINISHED' and tags.status = 'ok' and tags.`metric.source` = 'trusted'"


def fleet_rows() -> list[QualityRow]:
    """Of shipped recipes as they are now with shipped kernels. Unreachable when MLflow does not answer."""
    with reachable_client() as client:
        named = f"name LIKE '{mlflow_mapping.EXPERIMENT_PREFIX}%'"
        experiments = [one.experiment_id for one in client.search_experiments(filter_string=named)]
        if not experiments:
            return []
        meant = f"{SAID_BY_US} and tags.eval_signature = '{eval_signature()}'"
        found = client.search_runs(experiments, meant, max_results=NEWEST)
    return [row for run in found if _counts(run) and (row := _row_of(run)) is not None]


def _counts(run: "Run") -> bool:
    """As of runs on a disk (shared/quality/rows.py)."""
    params, tags = run.data.params, run.data.tags
    charged = [one for one in tags.get("choices", "").split("; ") if one.startswith("recipe source = ")]
    return (
        is_shipped(Trained(params.get("recipe_sha", ""), kernels_of(params)))
        and all(one.startswith("recipe source = 0 bytes ") for one in charged)
        and tags.get("integrity") in (Integrity.FULL, Integrity.PARTIAL)
        and not BY_THE_MACHINE & set(tags.get("unranked", "").split(", "))
    )


def _row_of(run: "Run") -> QualityRow | None:
    """None for a run that is no row: smoke, or recorded by another version with other names."""
    params, metrics, tags = run.data.params, run.data.metrics, run.data.tags
    if tags.get("rung") == Rung.SMOKE:
        return None
    try:
        shape = Shape.model_validate({name: params[name] for name in Shape.model_fields})
        return QualityRow(
            source=tags[mlflow_mapping.RUN_ID_TAG],
            dataset=tags["dataset"],
            shape=shape,
            num_tokens=int(metrics["num_steps"]) * shape.total_batch_size,
            val_bpb=metrics.get("val_bpb") or metrics[f"val_bpb{UNRANKED}"],
            rung=Rung(tags["rung"]),
            hardware_key=tags["hardware_key"],
        )
    except (KeyError, ValueError, ValidationError):
        return None
