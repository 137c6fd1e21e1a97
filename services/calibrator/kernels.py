"""Kernels that were written where this device was not: asked of the kernel lab before one is tried in the trainer.

The lab verifies and measures in a process of its own. What it found before, for these very bytes on this hardware,
counts without being measured again.
"""

from collections.abc import Callable
from time import monotonic
from typing import Any

from kernels import catalog, promotion
from kernels.promotion import Promotion
from kernels.records import Language, Solution
from services.calibrator.experiments import OverLimit
from shared.calibration.job import Calibration
from shared.files import sha256_bytes
from shared.kernel_lab.job import Bench, Command, LabAnswer, LabJob, LabStatus, PromotionCheck, Verify, take_answer
from shared.machine.targets import find_target
from shared.runs.shipped import listed_kernels
from shared.stages.executors import Executor

STAGE = "kernel-lab"
ROUNDS = 7
"""pairs of a measurement; the trainer decides"""
NATIVE = {Language.TRITON: ("torch", "sm_"), Language.METAL: ("mlx", "metal")}
"""engine and beginning of the architectures a language is native to"""


def candidates(calibration: Calibration) -> list[str]:
    """OP/KERNEL of what could run here natively and is shipped, or promoted on this machine. A calibration compares
    speed alone: whether the trainer learns with a kernel is asked on the way to its promotion."""
    architecture, promoted = find_target(calibration.target).architectures[0], promotion.read(promotion.PROMOTED_FILE)
    return [
        one.name
        for op in catalog.ops()
        for one in catalog.solutions(op)
        if _is_native(one.spec.languages[0], calibration.engine, architecture)
        and (_is_shipped(one) or _is_promoted(one, promotion.find(op, calibration.hardware_key, promoted)))
    ]


def _is_shipped(one: Solution) -> bool:
    """With what it imports."""
    return {sha256_bytes(file.content.encode()) for file in one.sources} <= listed_kernels()


def _is_promoted(one: Solution, here: Promotion | None) -> bool:
    """As it is now."""
    op, kernel = one.name.split("/")
    return here is not None and here.kernel == kernel and here.signature == catalog.signature(op, kernel)


def _is_native(language: Language, engine: str, architecture: str) -> bool:
    wanted, beginning = NATIVE.get(language, ("", ""))
    return engine == wanted and architecture.startswith(beginning)


class Lab:
    """Asks the kernel lab about candidates. The calibration holds the device meanwhile."""

    def __init__(self, calibration: Calibration, executor: Executor, now: Callable[[], float] = monotonic):
        self.calibration, self.executor, self.now = calibration, executor, now

    def speedup(self, candidate: str, limit_s: float) -> float | None:
        """Times faster than the plain op; None where it is wrong, no faster, or could not be judged in time."""
        deadline, device = self.now() + limit_s, self.calibration.device
        known = self._ask(PromotionCheck(candidate=candidate, device=device), deadline)
        if known is None:
            return None
        verified, measured, _ = known.data["requirements"]
        is_right = verified["evidence"] is not None
        if not is_right and not _is_ok(self._ask(Verify(candidate=candidate, device=device), deadline)):
            return None
        if is_right and measured["evidence"] is not None:
            return _speedup_of(measured["details"]["bouts"])
        return _speedup(self._ask(Bench(candidate=candidate, device=device, rounds=ROUNDS), deadline))

    def _ask(self, command: Command, deadline: float) -> LabAnswer | None:
        """None when the lab ended without an answer, or had none in time."""
        job = LabJob(command=command, holds_device=True)

        def watch(stage: str) -> None:
            if self.now() > deadline:
                raise OverLimit

        try:
            code, _ = self.executor.execute(STAGE, [job.model_dump_json()], watch)
            return None if code else take_answer(job)
        except (OverLimit, ValueError):
            return None


def _is_ok(answer: LabAnswer | None) -> bool:
    return answer is not None and answer.status is LabStatus.OK


def _speedup(answer: LabAnswer | None) -> float | None:
    return _speedup_of(answer.data["bouts"]) if answer is not None and _is_ok(answer) else None


def _speedup_of(bouts: dict[str, Any]) -> float | None:
    """Inside torch.compile where that was measured, as the trainer runs it."""
    decisive = bouts.get("compiled") or bouts["eager"]
    return float(decisive["speedup"]["value"]) if decisive["verdict"] == "faster" else None


def proven(lab: Lab, allowance_s: float) -> tuple[dict[str, str], list[str]]:
    """({op: its fastest kernel}, what there was no time for)."""
    deadline, left_out = lab.now() + allowance_s, []
    best: dict[str, tuple[float, str]] = {}
    for candidate in candidates(lab.calibration):
        op, kernel = candidate.split("/")
        if (left_s := deadline - lab.now()) <= 0:
            left_out.append(f"kernel {op}={kernel}")
        elif (speedup := lab.speedup(candidate, left_s)) is not None and speedup > best.get(op, (0.0, ""))[0]:
            best[op] = speedup, kernel
    return {op: kernel for op, (_, kernel) in best.items()}, left_out
