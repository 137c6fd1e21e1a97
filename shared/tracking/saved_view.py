"""Pages that a person should see first: MLflow's table of runs with val_bpb as a sorted column, and its charts.

One of all runs, one of ideas alone, since MLflow nests seeds below their idea only where it sorts by time. Kept as
tags of the experiment in MLflow's own format for shared views (tried with 3.17), so nothing is set up in a browser.
Without one, a fresh browser shows no metric at all.
"""

import json
from typing import TYPE_CHECKING, Any

from shared.tracking import mlflow_mapping

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

RUNS, IDEAS = "autoresearch", "autoresearch-ideas"
FILTERS = {RUNS: "", IDEAS: "tags.`are.idea_key` LIKE 'i%'"}

# MLflow sorts metrics by name, so another one would push val_bpb out of sight
COLUMNS = (
    "attributes.`Created`",
    "metrics.`val_bpb`",
    "metrics.`val_bpb_unranked`",
    "tags.`status`",
    "tags.`hardware_key`",
    "tags.`rung`",
    "params.`preset`",
    "params.`seed`",
    "params.`budget`",
)
FIRST = "autoresearch-scores"
"""uuid of the section of charts that comes first"""
SECTIONS = (
    (FIRST, "val_bpb and loss"),
    ("autoresearch-curve", "curve"),
    ("autoresearch-train", "train"),
    ("autoresearch-time", "time"),
    ("autoresearch-recipe", "recipe"),
    ("autoresearch-other", "Model metrics"),
    ("autoresearch-system", "System metrics"),
)


def state(key: str = RUNS) -> dict[str, Any]:
    """MLflow's whole state of a page; what it does not find there it would not fill in."""
    return {
        "selectedColumns": list(COLUMNS),
        "columnOrder": [],
        "columnWidths": {},
        "orderByKey": "metrics.`val_bpb`",
        "orderByAsc": True,
        "searchFilter": FILTERS[key],
        "startTime": "ALL",
        "lifecycleFilter": "Active",
        "datasetsFilter": [],
        "modelVersionFilter": "All Runs",
        "runsExpanded": {},
        "runsPinned": [],
        "runsHidden": [],
        "runsVisibilityMap": {},
        "runsHiddenMode": "FIRST_20_RUNS",
        "viewMaximized": False,
        "runListHidden": False,
        "groupBy": None,
        "groupsExpanded": {},
        "useGroupedValuesInCharts": True,
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
        "isAccordionReordered": True,
        "globalLineChartConfig": {"xAxisKey": "step", "lineSmoothness": 0, "selectedXAxisMetricKey": ""},
        "compareRunSections": [section(uuid, name) for uuid, name in SECTIONS],
        "compareRunCharts": [
            chart("BAR", "val_bpb"),
            chart("LINE", "train/loss_ema"),
            chart("LINE", "curve/val_bpb"),
            chart("BAR", "val_bpb_unranked"),
        ],
    }


def section(uuid: str, name: str) -> dict[str, Any]:
    return {
        "uuid": uuid, "name": name, "display": True, "isReordered": False, "deleted": False, "isGenerated": True,
    }  # fmt: skip


def chart(kind: str, metric: str) -> dict[str, Any]:
    """In the first section. MLflow adds charts of the other metrics to the sections named like their prefixes."""
    common = {
        "uuid": f"autoresearch-{metric.replace('/', '-')}",
        "type": kind,
        "metricKey": metric,
        "metricSectionId": FIRST,
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": False,  # else MLflow turns bars into lines, as scores have a step
    }
    line = {
        "selectedMetricKeys": [metric],
        "lineSmoothness": 0,
        "scaleType": "linear",
        "xAxisKey": "step",
        "xAxisScaleType": "linear",
        "useGlobalXaxisKey": True,
        "useGlobalLineSmoothing": True,
        "selectedXAxisMetricKey": "",
    }
    return common | (line if kind == "LINE" else {})


def keep_view(client: "MlflowClient", experiment: "Experiment") -> None:
    """Writes the views unless the experiment has them as they are now. What people save has other keys and stays."""
    for key in FILTERS:
        wanted = json.dumps(state(key))
        if experiment.tags.get(tag(key)) != wanted:
            client.set_experiment_tag(experiment.experiment_id, tag(key), wanted)


def tag(key: str) -> str:
    return f"mlflow.sharedViewState.{key}"


def page(experiment_id: str, key: str = RUNS) -> str:
    """The part of the address after the server's. Without the last part a fresh browser opens the chat traces."""
    return f"#/experiments/{experiment_id}/runs?viewStateShareKey={key}&workflowType=machine_learning"


def views(client: "MlflowClient") -> list[tuple[str, str]]:
    """(target, page) of every kind of hardware that has runs, the one that ran last first; makes sure of the views."""
    named = f"name LIKE '{mlflow_mapping.EXPERIMENT_PREFIX}%'"
    found = [one for one in client.search_experiments(filter_string=named) if one.name != CALIBRATIONS]
    for experiment in found:
        keep_view(client, experiment)
    newest = sorted(found, key=lambda one: one.last_update_time or 0, reverse=True)
    return [(one.name.removeprefix(mlflow_mapping.EXPERIMENT_PREFIX), page(one.experiment_id)) for one in newest]


CALIBRATIONS = mlflow_mapping.experiment_name("calibration")
