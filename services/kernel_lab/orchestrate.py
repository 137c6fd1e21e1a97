"""orchestrate: what to do next. Ranks ops by what they cost and how far their candidates have come."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kernels import catalog
from kernels.records import Language
from services.kernel_lab.costs import OpCost, read_costs
from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import Event, EventKind
from services.kernel_lab.promotions import is_promoted, promoted_here
from services.kernel_lab.states import WEIGHT, State, next_step, state_of
from services.kernel_lab.subject import Subject, find, of_catalog
from shared.kernel_lab.job import LabAnswer, LabStatus, Orchestrate
from shared.machine.hardware import Vendor


def answer(order: Orchestrate, desk: Desk) -> LabAnswer:
    around, events = desk.around(order.device), desk.ledger.read()
    here = around.hardware_key
    costs = {one.op: one for one in reversed(read_costs(order.profile))} if order.profile else {}
    promoted = promoted_here(here)
    rows = [
        row(subject, state_of(events, subject, here, is_promoted(subject, promoted)), costs)
        for subject in candidates(events, desk)
        if subject.language is not Language.METAL or around.hardware.vendor is Vendor.APPLE
    ]
    with_candidates = {one["op"] for one in rows}
    rows += [untouched(cost) for op, cost in costs.items() if op not in with_candidates]
    rows = sorted(rows, key=lambda one: -one["rank"])[: order.top_k]
    return LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"next on {here}: {rows[0]['next']}" if rows else "there is nothing to do: autoresearch lab list",
        lines=tuple(f"- {one['candidate'] or one['op']}: {one['state']}; {one['next']}{one['why']}" for one in rows),
        data={"hardware_key": here, "steps": rows},
    )


def candidates(events: Sequence[Event], desk: Desk) -> list[Subject]:
    """Kernels of the catalog, and workspaces that are still there."""
    found = [of_catalog(op, one.name.split("/")[1]) for op in catalog.ops() for one in catalog.solutions(op)]
    workspaces = dict.fromkeys(event.candidate for event in events if event.kind is EventKind.INIT)
    return found + [subject for name in workspaces if (subject := _still_there(name, desk)) is not None]


def _still_there(name: str, desk: Desk) -> Subject | None:
    """None also where its fixed files were edited: verify says so."""
    try:
        return find(name, desk.ledger) if Path(name).is_dir() else None
    except ValueError:
        return None


def row(subject: Subject, state: State, costs: dict[str, OpCost]) -> dict[str, Any]:
    cost = costs.get(subject.op)
    return {
        "op": subject.op,
        "candidate": subject.name,
        "state": state,
        "share": cost.share if cost else None,
        "rank": (cost.share if cost else 0.0) + WEIGHT[state],
        "next": next_step(state, subject),
        "why": f" ({cost.why})" if cost else "",
    }


def untouched(cost: OpCost) -> dict[str, Any]:
    """An op that costs time and has no candidate."""
    return {
        "op": cost.op,
        "candidate": None,
        "state": State.NO_EVIDENCE,
        "share": cost.share,
        "rank": cost.share,
        "next": f"autoresearch lab init {cost.op}",
        "why": f" ({cost.why})",
    }
