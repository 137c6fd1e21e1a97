"""What the commands about ideas ask of the book: which key is meant, what is noisy there, what waits."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from services.console.defaults import wide
from services.console.research import Place
from shared import time_budget
from shared.research.comparable import Evidence, Key
from shared.research.history import Row, rows
from shared.research.idea import Idea
from shared.research.judge import noise_at
from shared.research.known import Known
from shared.research.noise import Noise

MOST_NAMED = 3


def key_at(known: Known, hardware: str | None) -> Key | None:
    """The latest key, on one machine if it is named. ValueError when nothing that counts ran there."""
    keys = [key for key in known.all_keys() if hardware in (None, key.hardware_key)]
    if hardware is not None and not keys:
        ran = ", ".join(sorted({key.hardware_key for key in known.all_keys()})) or "none"
        raise ValueError(f"no idea has a run that counts on {hardware}; hardware keys with runs: {ran}")
    return keys[0] if keys else None


def noise_of(place: Place, known: Known, key: Key) -> Noise | None:
    """As the best idea's children will be judged."""
    best = known.best(key)
    return noise_at(known, key, place.default(key), known.pool(best[0], key) if best else Evidence())


def print_json(document: Any) -> None:
    print(json.dumps(document, default=str))


def print_history(found: Sequence[Row], several_keys: bool = False) -> None:
    columns = ("idea", "parent", "verdict", "val_bpb", "steps", "effect", "runs", "what")
    table = Table(*columns, *(["hardware key", "budget"] if several_keys else []), box=None, pad_edge=False)
    for row in found:
        scores = (_said(row.val_bpb), _said(row.num_steps, "g"), _said(row.effect, "+.6f"))
        runs = f"{row.num_runs}{f' ({row.num_failed} failed)' if row.num_failed else ''}"
        where = [row.key.hardware_key, time_budget.said(row.key.budget_seconds)] if row.key and several_keys else []
        table.add_row(
            row.idea.id, row.idea.parent or "", row.state, *scores, runs, Text(row.idea.note or row.idea.kind), *where
        )
    wide().print(table)
    for line in (line for row in found for line in _not_counted(row)):
        print(line)


def number_of(known: Known, idea: Idea, key: Key) -> str:
    """Which runs the score of a start or a kept idea is of."""
    while idea.kind == "ablation" and idea.parent:
        idea = known.ideas[idea.parent]
    row = next(row for row in rows(known, key) if row.idea.id == idea.id)
    return row.val_bpb_of


def why_lower(known: Known, found: Sequence[Row]) -> list[str]:
    """A line for each key where discards have a lower number than the best: it is not of the same kind of runs."""
    lines = []
    for key in dict.fromkeys(row.key for row in found if row.key):
        best = known.best(key)
        lower = [row.idea.id for row in found if best and row.key == key and _is_discard_below(row, best[1])]
        if best and lower:
            named = f"{', '.join(lower[:MOST_NAMED])}{' and others' if len(lower) > MOST_NAMED else ''}"
            number = f"{best[1]:.6f} is {number_of(known, best[0], key)}"
            lines.append(
                f"lower     {named} than the best, {best[0].id}: its {number}, theirs are of all their runs, "
                "lucky seeds too; verdicts compare ideas, these numbers do not"
            )
    return lines


def _is_discard_below(row: Row, score: float) -> bool:
    return row.state == "discard" and row.val_bpb is not None and row.val_bpb < score


def _not_counted(row: Row) -> list[str]:
    return [
        f"not counted  {row.idea.id}  {one.val_bpb:.6f}  {one.why}  (run {one.run_id}, compared with nothing)"
        for one in row.not_counted
    ]


def resolves_said(resolves: Mapping[str, float]) -> str:
    return ", ".join(f"{effect:.6f} in {count}" for count, effect in resolves.items()) + " runs"


def _said(value: float | None, form: str = ".6f") -> str:
    return "" if value is None else f"{value:{form}}"
