"""promote: one line of kernels/promoted.toml, when every requirement is met. Recipes use it here from then on."""

from kernels import catalog
from kernels.promotion import Promotion
from services.kernel_lab.desk import Desk
from services.kernel_lab.ledger import EventKind
from services.kernel_lab.promotions import adopt, write
from services.kernel_lab.states import requirements
from shared.kernel_lab.job import LabAnswer, LabStatus, Promote
from shared.runs.shipped import other_kernels


def answer(order: Promote, desk: Desk) -> LabAnswer:
    subject, here = desk.subject(order.candidate), desk.around(order.device).hardware_key
    needed = requirements(desk.ledger.read(), subject, here)
    missing = [one for one in needed if not one.is_met]
    if missing:
        said = f"{subject.name} may not be promoted on {here}: it lacks {missing[0].what} ({missing[0].detail})"
        lines = tuple(f"- it lacks {one.what}: {one.detail}" for one in missing)
        return LabAnswer(command=order.command, status=LabStatus.FAILED, headline=said, lines=lines)
    name, decided = adopt(subject), needed[-1].evidence or ""
    line = Promotion(
        op=subject.op, hardware_key=here, kernel=name, evidence=decided, signature=catalog.signature(subject.op, name)
    )
    write(line)
    answer = LabAnswer(
        command=order.command,
        status=LabStatus.OK,
        headline=f"{subject.op} uses {name} on {here} from now on, by {decided}: commit kernels/promoted.toml",
        lines=_until_it_is_listed(subject.op, name),
        data={"promotion": line.model_dump(mode="json"), "evidence": [one.evidence for one in needed]},
    )
    desk.note(EventKind.PROMOTE, subject, here, answer, evidence=[one.evidence for one in needed], kernel=name)
    return answer


def _until_it_is_listed(op: str, name: str) -> tuple[str, ...]:
    if catalog.folder(op) / f"{name}.py" not in other_kernels():
        return ()
    said = f"- kernels/{op}/{name}.py is new: its text counts as a part of every recipe's source until you have read it"
    return (f"{said}, said so with `make kernel-list`, and committed it",)
