"""review-trace: somebody looked at a trace and says how much an op matters in it. The ledger keeps that."""

from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.trace_events import read_trace
from services.kernel_lab.trace_profile import by_family, kernel_rows
from shared.files import sha256_file
from shared.kernel_lab.job import LabAnswer, LabStatus, ReviewTrace


def answer(order: ReviewTrace, desk: Desk) -> LabAnswer:
    subject, here = desk.subject(order.candidate), desk.around(order.device).hardware_key
    families = by_family(kernel_rows(read_trace(order.trace)))[:3]
    said = ", ".join(f"{one['family']} {one['share']:.0%}" for one in families)
    answer = LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{subject.name} was found to matter: {order.relevance}{f' ({order.note})' if order.note else ''}",
        lines=(f"- the trace: {said}",),
        data={"relevance": order.relevance, "families": families},
    )
    desk.note(
        EventKind.TRACE_REVIEW, subject, here, answer, relevance=order.relevance, note=order.note,
        trace_sha256=sha256_file(order.trace), families=families,
    )  # fmt: skip
    return answer
