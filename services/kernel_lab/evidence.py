"""evidence: what the ledger knows of the candidates of an op, on this hardware or another."""

from typing import Any

from kernels import catalog
from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import Event
from shared.kernel_lab.job import Evidence, LabAnswer, LabStatus


def answer(order: Evidence, desk: Desk) -> LabAnswer:
    if order.op is not None:
        catalog.folder(order.op)  # ValueError names the known ones
    key = order.hardware_key or desk.around(order.device).hardware_key
    events = [one for one in desk.ledger.read() if _is_asked(one, order.op, key)]
    torn = f"; {desk.ledger.unreadable} unreadable lines were passed over" if desk.ledger.unreadable else ""
    return LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{len(events)} events of {order.op or 'all ops'} on {key}{torn}",
        lines=tuple(map(_line, events)),
        data={"hardware_key": key, "events": list(map(_data, events)), "unreadable_lines": desk.ledger.unreadable},
    )


def _is_asked(event: Event, op: str | None, key: str) -> bool:
    return op in (None, event.op) and key in ("all", event.hardware_key)


def _line(event: Event) -> str:
    when = f"{event.created_at:%Y-%m-%d %H:%M}"
    return f"- {event.id} {when} {event.kind} {event.status} [{event.candidate_sha256[:8]}]: {event.headline}"


def _data(event: Event) -> dict[str, Any]:
    return event.model_dump(mode="json")
