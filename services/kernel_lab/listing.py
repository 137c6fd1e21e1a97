"""list: every op, what it is for, its kernels, and what is promoted on this hardware."""

from typing import Any

from kernels import catalog
from services.kernel_lab.desk import Desk
from services.kernel_lab.promotions import promoted_here
from shared.kernel_lab.job import LabAnswer, LabStatus, ListOps


def answer(order: ListOps, desk: Desk) -> LabAnswer:
    here = desk.around(None).hardware_key
    promoted = promoted_here(here)
    rows = [_row(op, promoted.get(op)) for op in catalog.ops()]
    return LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{len(rows)} ops, {len(promoted)} with a kernel promoted on {here}",
        lines=tuple(_line(row) for row in rows),
        data={"hardware_key": here, "ops": rows},
    )


def _row(op: str, promoted: str | None) -> dict[str, Any]:
    of = catalog.definition(op)
    return {
        "op": op,
        "family": of.family,
        "description": of.description,
        "kernels": [one.name.split("/")[1] for one in catalog.solutions(op)],
        "promoted": promoted,
    }


def _line(row: dict[str, Any]) -> str:
    kernels = ", ".join(row["kernels"]) or "none yet"
    promoted = f"; promoted here: {row['promoted']}" if row["promoted"] else ""
    return f"- {row['op']} ({row['family'] or 'no family'}): {row['description']}. Kernels: {kernels}{promoted}"
