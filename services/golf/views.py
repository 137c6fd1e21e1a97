"""Rows of a rollup as a table for people, or as CSV or JSON for programs."""

import csv
import io
import json
from collections.abc import Sequence

from services.golf.rollup import Row

SHOWN = (
    "date", "commit", "subsystem", "commit_count", "top_level_bullet_count", "computed_score", "mean_computed_score",
    "mean_score_per_bullet", "computed_complexity", "mean_computed_complexity", "summary",
)  # fmt: skip
HEADINGS = {
    "commit_count": "entries",
    "top_level_bullet_count": "bullets",
    "computed_score": "score",
    "mean_computed_score": "score",
    "mean_score_per_bullet": "per bullet",
    "computed_complexity": "complexity",
    "mean_computed_complexity": "complexity",
}
FORMATS = ("table", "csv", "json")


def render(rows: Sequence[Row], form: str) -> str:
    """ValueError for an unknown form."""
    if form == "json":
        return json.dumps(rows, indent=2)
    if form == "csv":
        return as_csv(rows)
    if form == "table":
        return as_table(rows)
    raise ValueError(f"unknown format '{form}': choose one of {', '.join(FORMATS)}")


def as_csv(rows: Sequence[Row]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().rstrip("\n")


def as_table(rows: Sequence[Row]) -> str:
    """Columns that the rows have, of those that people read; numbers to the right, the last column uncut."""
    names = [name for name in SHOWN if rows and name in rows[0]]
    body = [[cell(row[name]) for name in names] for row in rows]
    table = [[HEADINGS.get(name, name) for name in names], *body]
    widths = [max(len(line[column]) for line in table) for column in range(len(names))]
    numeric = [not isinstance(rows[0][name], str) for name in names] if rows else []
    return "\n".join(aligned(line, widths, numeric) for line in table)


def cell(value: object) -> str:
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def aligned(line: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    cells = (
        text.rjust(width) if right else text.ljust(width)
        for text, width, right in zip(line, widths, numeric, strict=True)
    )
    return "  ".join(cells).rstrip()
