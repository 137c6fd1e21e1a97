"""An idea is a run of its own in MLflow, with its seeds nested below it: their mean and its interval, not the best one.

One parent for each idea, hardware key, dataset, budget and rung, since only such runs compare. What it shows is
computed from its ranked children each time that one of them is recorded.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from time import time
from typing import TYPE_CHECKING

from shared.tracking.mlflow_mapping import IDEA_TAG, NOTE_TAG, PARENT_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY, NESTED = "are.idea_key", "mlflow.parentRunId"
SHARED_TAGS = (IDEA_TAG, PARENT_TAG, NOTE_TAG, "hardware_key", "target", "engine", "dataset")
SHARED_PARAMS = ("preset", "budget", "recipe_sha", "rung_requested")
CONFIDENCE = 0.95
MOST_SEEDS = 1000


@dataclass(frozen=True)
class Spread:
    mean: float
    num_seeds: int
    half_width: float | None
    """of the 95 % interval of the mean; None with one seed"""


def nest(client: "MlflowClient", experiment: str, run_id: str) -> None:
    """Puts a run below its idea, if it is of one, and computes anew what the idea shows."""
    run = client.get_run(run_id)
    if IDEA_TAG not in run.data.tags:
        return
    parent = find_or_create(client, experiment, run)
    if run.data.tags.get(NESTED) != parent:
        client.set_tag(run_id, NESTED, parent)
    refresh(client, experiment, parent)


def key_of(run: "Run") -> str:
    tags, params = run.data.tags, run.data.params
    parts = (tags[IDEA_TAG], tags.get("hardware_key"), tags.get("dataset"), params.get("budget"))
    named = " ".join(map(str, (*parts, params.get("rung_requested"))))
    return re.sub(r"[^A-Za-z0-9 ._-]", "_", named)  # it stands in a filter, and anybody may write into MLflow


def find_or_create(client: "MlflowClient", experiment: str, run: "Run") -> str:
    """Two hosts that record at the same moment may create it twice: then the older one counts."""
    wanted = f"tags.`{KEY}` = '{key_of(run)}'"
    found = client.search_runs([experiment], wanted, order_by=["attributes.start_time ASC"], max_results=1)
    if found:
        return found[0].info.run_id
    tags = {name: run.data.tags[name] for name in SHARED_TAGS if name in run.data.tags}
    made = client.create_run(experiment, start_time=run.info.start_time, tags={KEY: key_of(run), **tags})
    for name in SHARED_PARAMS:
        if name in run.data.params:
            client.log_param(made.info.run_id, name, run.data.params[name])
    return made.info.run_id


def refresh(client: "MlflowClient", experiment: str, parent: str) -> None:
    below = f"tags.`{NESTED}` = '{parent}'"
    order = ["attributes.start_time DESC"]
    children = client.search_runs([experiment], below, order_by=order, max_results=MOST_SEEDS)
    spread, running = spread_of(comparable(children)), any(run.info.status == "RUNNING" for run in children)
    known = client.get_run(parent)
    if spread:
        show(client, known, spread)
    name = run_name(known.data.tags, spread, len(children))
    client.set_tag(parent, "mlflow.runName", name)
    client.set_tag(parent, "status", "running" if running else "ok" if spread else "no number")
    client.set_terminated(parent, "FINISHED" if spread or running else "FAILED")


def comparable(children: Sequence["Run"]) -> list[float]:
    """Scores of the ranked ones that were scored as the newest of them, one for each seed."""
    ranked = [run for run in children if run.data.tags.get("ranked") == "true" and "val_bpb" in run.data.metrics]
    scored = [run for run in ranked if scoring(run) == scoring(ranked[0])]
    newest_of_seed = {run.data.params.get("seed"): run.data.metrics["val_bpb"] for run in reversed(scored)}
    return list(newest_of_seed.values())


def scoring(run: "Run") -> tuple[str | None, str | None]:
    return run.data.tags.get("rung"), run.data.tags.get("eval_signature")


def spread_of(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    if len(values) == 1:
        return Spread(values[0], 1, None)
    from scipy.stats import t

    quantile = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return Spread(mean(values), len(values), float(quantile * stdev(values) / sqrt(len(values))))


def show(client: "MlflowClient", known: "Run", spread: Spread) -> None:
    """Only what changed, so that the histories of these metrics are those of the idea."""
    half = spread.half_width
    numbers = {"val_bpb": spread.mean, "num_seeds": float(spread.num_seeds)}
    numbers |= {} if half is None else {"val_bpb_low": spread.mean - half, "val_bpb_high": spread.mean + half}
    for name, value in numbers.items():
        if known.data.metrics.get(name) != value:
            client.log_metric(known.info.run_id, name, value, timestamp=round(1000 * time()), step=spread.num_seeds)


def run_name(tags: Mapping[str, str], spread: Spread | None, num_runs: int) -> str:
    """Outcome first, then how many seeds it rests on, then the idea in its own words."""
    note = tags.get(NOTE_TAG) or tags[IDEA_TAG]
    if spread is None:
        return f"no number yet, {num_runs} runs: {note}"[:200]
    interval = "" if spread.half_width is None else f" +-{spread.half_width:.4f}"
    return f"{spread.mean:.4f}{interval} n={spread.num_seeds}: {note}"[:200]
