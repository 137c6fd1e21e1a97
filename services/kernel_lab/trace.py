"""The record of one judged size: kernel, workload, place and verdict (kernels/records.py)."""

from datetime import UTC, datetime

from kernels.records import Correctness, Environment, Evaluation, Performance, Status, Trace, Workload
from services.kernel_lab.subject import Subject
from services.kernel_lab.surroundings import Surroundings


def trace_of(
    subject: Subject,
    workload: Workload,
    around: Surroundings,
    status: Status,
    log: str,
    correctness: Correctness | None = None,
    performance: Performance | None = None,
) -> Trace:
    return Trace(
        definition=subject.op,
        workload=workload,
        solution=subject.solution.name,
        solution_sha256=subject.solution.sha256,
        evaluation=Evaluation(
            status=status,
            environment=Environment(hardware=around.hardware_key, libs=around.libs),
            timestamp=datetime.now(UTC),
            log=log,
            correctness=correctness,
            performance=performance,
        ),
    )
