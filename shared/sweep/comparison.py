"""Like with like, as for ideas: a point is held against the base where both ran on the same terms."""

from collections.abc import Iterator, Mapping, Sequence

from shared.contracts import RunResult
from shared.experiment.settings import may_differ
from shared.research.comparable import Key, key_of
from shared.sweep.plan import Point

SAID = {
    "hardware_key": "machine",
    "budget_seconds": "budget",
    "eval_signature": "evaluation",
}
LONGEST = 40
"""characters of a value, as it is said"""
ADVICE = (
    "name preset and dataset in the sweep file, and a target whose machines are alike, and begin it under another --tag"
)


def unlike(point: Point, results: Sequence[RunResult], base: Sequence[RunResult]) -> str:
    """What runs of a point do not have in common with the base's, or those of the base with each other: one line.

    Empty where they compare: one key of research (shared/research/comparable.py), and a shape and tuning that differ in
    nothing but what the point sets. A machine that was calibrated meanwhile gives others to whoever names no preset.
    """
    reference = next(iter(base or results), None)
    if reference is None:
        return ""
    found = dict.fromkeys(one for result in results for one in _differences(point, result, reference))
    of_whom = "the base" if base else "each other"
    return f"its runs do not compare with {of_whom}: {', '.join(found)}; {ADVICE}" if found else ""


def _differences(point: Point, result: RunResult, reference: RunResult) -> Iterator[str]:
    here, there = key_of(result), key_of(reference)
    for name in Key.model_fields if here and there else ():
        ours, theirs = getattr(here, name), getattr(there, name)
        if ours != theirs:
            yield f"{SAID.get(name, name)} {_said(ours)} instead of {_said(theirs)}"
    if result.shape and reference.shape:
        yield from _unset(point, result.shape.model_dump(), reference.shape.model_dump())
    if result.tuning and reference.tuning:
        yield from _unset(point, result.tuning, reference.tuning)


def _unset(point: Point, ours: Mapping[str, object], theirs: Mapping[str, object]) -> Iterator[str]:
    """What differs although the point does not set it."""
    set_here = may_differ(point.set)
    for name, value in ours.items():
        if name not in set_here and value != theirs.get(name):
            yield f"{name} {_said(value)} instead of {_said(theirs.get(name))}"


def _said(value: object) -> str:
    return str(value)[:LONGEST] or "an unknown one"
