"""The fleet's finished runs as rows of the quality table, read from MLflow for a calibrator that has no network."""

from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.contracts import Rung, Shape
from shared.evaluation.rungs import eval_signature
from shared.quality import QualityRow
from shared.runs.shipped import shipped_recipes
from shared.tracking import mlflow_mapping
from shared.tracking.mlflow_store import reachable_client
from shared.tracking.series import UNRANKED

if TYPE_CHECKING:
    from mlflow.entities import Run

NEWEST = 5000
SAID_BY_US = "attributes.status = 'FINISHED' and tags.status = 'ok' and tags.`metric.source` = 'trusted'"


def fleet_rows() -> list[QualityRow]:
    """Of shipped recipes as they are now, scored as today. Unreachable when MLflow does not answer."""
    recipes = shipped_recipes()
    with reachable_client() as client:
        named = f"name LIKE '{mlflow_mapping.EXPERIMENT_PREFIX}%'"
        experiments = [one.experiment_id for one in client.search_experiments(filter_string=named)]
        if not experiments:
            return []
        meant = f"{SAID_BY_US} and tags.eval_signature = '{eval_signature()}'"
        found = client.search_runs(experiments, meant, max_results=NEWEST)
    return [row for run in found if run.data.params.get("recipe_sha") in recipes and (row := _row_of(run)) is not None]


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
