"""extract: a workspace for the op that stands at a rank of a profile."""

from services.kernel_lab import opening
from services.kernel_lab.costs import read_costs
from services.kernel_lab.desk import Desk
from shared.kernel_lab.job import Extract, Init, LabAnswer, LabStatus


def answer(order: Extract, desk: Desk) -> LabAnswer:
    costs = list({one.op: one for one in reversed(read_costs(order.profile))}.values())[::-1]
    if order.rank > len(costs):
        said = f"{order.profile} names {len(costs)} ops of kernels/: there is none at rank {order.rank}"
        return LabAnswer(command=order.command, status=LabStatus.INSUFFICIENT_TRACE_DATA, headline=said)
    chosen = costs[order.rank - 1]
    opened = opening.answer(Init(op=chosen.op, workspace=order.workspace), desk)
    return opened.model_copy(
        update={
            "command": order.command,
            "headline": f"{chosen.op}, rank {order.rank} ({chosen.why}): {opened.headline}",
            "data": {**opened.data, "share": chosen.share},
        }
    )
