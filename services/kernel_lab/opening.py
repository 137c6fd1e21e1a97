"""init: a workspace for an op, and a first event in the ledger that remembers what was fixed."""

from pathlib import Path

from services.kernel_lab.desk import Desk
from services.kernel_lab.fixed import digest
from services.kernel_lab.ledger import Event, EventKind
from services.kernel_lab.subject import read_candidate
from services.kernel_lab.workspace import KERNEL, WorkspaceRecord, create
from shared.files import sha256_bytes
from shared.kernel_lab.job import Init, LabAnswer, LabStatus

KEPT = "the workspace keeps it, and what is fixed is taken as it is now: evidence from before counts no more"


def answer(order: Init, desk: Desk) -> LabAnswer:
    folder, record = create(order)
    said = _answer(folder, record, order.refresh)
    desk.ledger.append(
        Event(
            kind=EventKind.INIT,
            status=LabStatus.OK,
            op=record.op,
            candidate=str(folder),
            candidate_sha256=sha256_bytes(read_candidate(folder / KERNEL)),
            fixed_sha256=digest(record.fixed),
            hardware_key=desk.around(None).hardware_key,
            headline=said.headline,
        )
    )
    return said


def _answer(folder: Path, record: WorkspaceRecord, refreshed: bool) -> LabAnswer:
    began = f"it starts from {record.started_from}"
    return LabAnswer(
        command="init",
        status=LabStatus.OK,
        headline=f"{folder / KERNEL} is the one file to edit; {KEPT if refreshed else began}",
        lines=(
            f"- it defines `{record.function}`, called with the inputs of kernels/{record.op}/definition.py in order",
            f"- next: autoresearch lab verify {folder}",
        ),
        data={"workspace": str(folder), "kernel": str(folder / KERNEL), **record.model_dump(mode="json")},
    )
