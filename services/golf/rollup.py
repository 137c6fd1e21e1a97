"""Sums and means of changelog entries: by entry, day, subsystem, day and subsystem, or of all of them."""

import re
from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from statistics import mean
from typing import Any

from services.golf.changelog import LATEST, TIERS, Entry, to_cents

Row = dict[str, Any]


def day_of(entry: Entry) -> str:
    return entry.day.isoformat() if entry.day else LATEST.lower()


KEYS: dict[str, Callable[[Entry], Row]] = {
    "day": lambda entry: {"date": day_of(entry)},
    "subsystem": lambda entry: {"subsystem": entry.subsystem},
    "day-subsystem": lambda entry: {"date": day_of(entry), "subsystem": entry.subsystem},
    "overall": lambda entry: {},
}
GROUPINGS = ("entry", *KEYS)


def roll_up(entries: Sequence[Entry], by: str) -> list[Row]:
    """Rows in the order of their keys; entries in the order of the file. ValueError for an unknown grouping."""
    if by == "entry":
        return [entry_row(entry) for entry in entries]
    if by not in KEYS:
        raise ValueError(f"unknown grouping '{by}': choose one of {', '.join(GROUPINGS)}")
    groups: dict[tuple[tuple[str, str], ...], list[Entry]] = {}
    for entry in entries:
        groups.setdefault(tuple(KEYS[by](entry).items()), []).append(entry)
    rows: list[Row] = [{**dict(key), **group_row(members)} for key, members in sorted(groups.items())]
    if by == "overall":
        rows = [row | {"subsystem_count": len({entry.subsystem for entry in entries})} for row in rows]
    return rows


def entry_row(entry: Entry) -> Row:
    return {
        "date": day_of(entry),
        "commit": entry.commit or "",
        "subsystem": entry.subsystem,
        "summary": entry.summary,
        "header_score": float(entry.header_score),
        "computed_score": float(entry.score),
        "score_delta": float(entry.header_score - entry.score),
        "header_complexity": entry.header_complexity,
        "computed_complexity": entry.complexity,
        "complexity_delta": entry.header_complexity - entry.complexity,
        "top_level_bullet_count": entry.num_bullets,
        "total_points": entry.points,
        "total_nested_bonus": entry.nested,
        **tier_columns([entry]),
    }


def group_row(entries: Sequence[Entry]) -> Row:
    points, bullets = sum(entry.points for entry in entries), sum(entry.num_bullets for entry in entries)
    return {
        "commit_count": len(entries),
        "top_level_bullet_count": bullets,
        "total_points": points,
        "total_nested_bonus": sum(entry.nested for entry in entries),
        "mean_header_score": average(entry.header_score for entry in entries),
        "mean_computed_score": average(entry.score for entry in entries),
        "mean_score_per_bullet": float(to_cents(Fraction(points, bullets))) if bullets else 0.0,
        "mean_header_complexity": average(entry.header_complexity for entry in entries),
        "mean_computed_complexity": average(entry.complexity for entry in entries),
        "score_delta": float(sum(entry.header_score - entry.score for entry in entries)),
        "complexity_delta": sum(entry.header_complexity - entry.complexity for entry in entries),
        **tier_columns(entries),
    }


def average(values: Iterable[Fraction | int]) -> float:
    return float(to_cents(mean([Fraction(value) for value in values])))


def tier_columns(entries: Iterable[Entry]) -> Row:
    listed = list(entries)
    columns: Row = {}
    for tier, weight in TIERS.items():
        count = sum(entry.bullets[tier] for entry in listed)
        name = re.sub(r"[^a-z0-9]+", "_", tier.lower())
        columns |= {f"{name}_count": count, f"{name}_points": count * weight}
    return columns
