"""An idea is a run of its own in MLflow, with its seeds nested below it: their mean and its interval, not the best one.

One parent for each idea, hardware key, dataset, budget and rung, since only such runs compare. What it shows is what
counted as evidence when the newest of its children ended (shared/research/counted.py), said anew each time that one is
recorded.
"""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import sqrt
from statistics import mean, stdev
from time import time
from typing import TYPE_CHECKING

from pydantic import ValidationError

from shared.fleet.contracts import Counted
from shared.tracking.mlflow_mapping import COUNTED_TAG, IDEA_TAG, NOTE_TAG, PARENT_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

KEY, NESTED = "are.idea_key", "mlflow.parentRunId"
SHARED_TAGS = (IDEA_TAG, PARENT_TAG, NOTE_TAG, "hardware_key", "target", "engine", "dataset")
SHARED_PARAMS = ("preset", "budget", "recipe_sha", "rung_requested")
CONFIDENCE = 0.95
MOST_RUNS = 1000


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
    children = client.search_runs([experiment], below, order_by=order, max_results=MOST_RUNS)
    counted, running = newest(children), any(run.info.status == "RUNNING" for run in children)
    spread, known = spread_of(counted.values), client.get_run(parent)
    show(client, known, spread, counted.num_failed)
    name = run_name(known.data.tags, spread, counted.num_failed, len(children))
    client.set_tag(parent, "mlflow.runName", name)
    client.set_tag(parent, "status", "running" if running else "ok" if spread else "no number")
    client.set_terminated(parent, "FINISHED" if spread or running else "FAILED")


def newest(children: Sequence["Run"]) -> Counted:
    """What counted when the last of them ended. Nothing where no run says: it is of an older version, or its idea is in
    no book."""
    said = [run.data.tags[COUNTED_TAG] for run in children if COUNTED_TAG in run.data.tags]
    found = []
    for content in said:
        with suppress(ValidationError):
            found.append(Counted.model_validate_json(content))
    return max(found, key=lambda counted: counted.at, default=Counted(at=0.0))


def spread_of(values: Sequence[float]) -> Spread | None:
    if not values:
        return None
    if len(values) == 1:
        return Spread(values[0], 1, None)
    from scipy.stats import t

    quantile = t.ppf((1 + CONFIDENCE) / 2, len(values) - 1)
    return Spread(mean(values), len(values), float(quantile * stdev(values) / sqrt(len(values))))


def show(client: "MlflowClient", known: "Run", spread: Spread | None, num_failed: int) -> None:
    """Only what changed, so that the histories of these metrics are those of the idea."""
    numbers = {"num_failed": float(num_failed)} if num_failed else {}
    if spread:
        numbers |= {"val_bpb": spread.mean, "num_seeds": float(spread.num_seeds)}
    if spread and spread.half_width is not None:
        numbers |= {"val_bpb_low": spread.mean - spread.half_width, "val_bpb_high": spread.mean + spread.half_width}
    step = spread.num_seeds if spread else 0
    for name, value in numbers.items():
        if known.data.metrics.get(name) != value:
            client.log_metric(known.info.run_id, name, value, timestamp=round(1000 * time()), step=step)


def run_name(tags: Mapping[str, str], spread: Spread | None, num_failed: int, num_runs: int) -> str:
    """Outcome first, then how many seeds it rests on, then the idea in its own words."""
    note = tags.get(NOTE_TAG) or tags[IDEA_TAG]
    failed = f", {num_failed} failed" if num_failed else ""
    if spread is None:
        return f"no number yet, {num_runs} runs{failed}: {note}"[:200]
    interval = "" if spread.half_width is None else f" +-{spread.half_width:.4f}"
    return f"{spread.mean:.4f}{interval} n={spread.num_seeds}{failed}: {note}"[:200]
