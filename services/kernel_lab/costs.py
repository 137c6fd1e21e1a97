"""Which ops cost most, from a profile or an estimate: the JSON of `lab profile`, `trace-profile` or `estimate`."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kernels import catalog


@dataclass(frozen=True)
class OpCost:
    op: str
    share: float
    """of the step"""
    why: str


def read_costs(path: Path) -> list[OpCost]:
    """Most expensive first; only ops of the catalog. ValueError for another file."""
    try:
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: autoresearch lab profile --json > {path}") from None
    except (ValueError, RecursionError):
        raise ValueError(f"{path} is no JSON document") from None
    try:
        costs = _of_estimate(document) if "sides" in document else _of_profile(document["data"]["families"])
    except (KeyError, TypeError, IndexError, ValueError, AttributeError):
        raise ValueError(f"{path} is the JSON neither of lab profile, lab trace-profile nor lab estimate") from None
    return sorted(costs, key=lambda one: -one.share)


def _of_estimate(document: dict[str, Any]) -> list[OpCost]:
    """By op, as the estimate counts them."""
    side, known = document["sides"][0], set(catalog.ops())
    total = float(side["seconds"])
    return [
        OpCost(one["name"], float(one["seconds"]) / total, f"{1e3 * float(one['seconds']):.2f} ms of a step, estimated")
        for one in side["ops"]
        if one["name"] in known
    ]


def _of_profile(families: list[dict[str, Any]]) -> list[OpCost]:
    """A family's share counts for every op that belongs to it: nobody can tell them apart by the names of kernels."""
    return [
        OpCost(op, float(one["share"]), f"{float(one['share']):.0%} of the time is in {one['family']}")
        for one in families
        for op in catalog.ops()
        if one["catalog_family"] is not None and catalog.definition(op).family == one["catalog_family"]
    ]
