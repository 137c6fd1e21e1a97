"""Where no probe came to a number: the shape to start from, why it is that one, and what to do next.

It is what is known of the machine without its probes: an earlier default that was measured here, or a run elsewhere on
the same hardware. Where nothing is known it is the smallest model that was asked for: the likeliest to run.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from services.calibrator.envelope_model import model_of, pass_tokens
from services.calibrator.findings import Findings
from services.calibrator.measurement import Outcome
from services.calibrator.outlook import Failures
from services.calibrator.work import Work
from shared.contracts import Shape, Status, one_line
from shared.experiment.platform_default import PlatformDefault, Tuning
from shared.experiment.presets import find_preset
from shared.quality import QualityRow

LONGEST_REASON = 160
"""characters of a probe's reason that are told in a line; the report has all of them"""
ADVICE = {
    Status.TIMED_OUT: "if the machine is only slow give more minutes (--budget), else find out what hangs",
    Status.OUT_OF_MEMORY: "end whatever else uses the device's memory",
    Status.DIVERGED: "find out why training comes to no number here, perhaps with --set dtype=fp32",
}
"""by how most probes ended; any other end is a fault to be found"""


@dataclass(frozen=True)
class Start:
    preset: str
    shape: Shape
    tuning: Tuning
    why: str


def start_of(work: Work, found: Findings, kept: PlatformDefault | None) -> Start:
    """`kept`: the earlier default that was measured on this machine, which stays in use."""
    if kept is not None:
        why = f"the shape is that of the default of {kept.made_at:%Y-%m-%d}, which was measured here and stays in use"
        return Start(kept.family, kept.shape, kept.tuning, why)
    failed = found.outcomes()
    return _known(work, failed) or _smallest(work, failed)


def _known(work: Work, failed: Sequence[Outcome]) -> Start | None:
    """What scored lowest on this very hardware elsewhere or before, unless a probe speaks against it. The hardware key
    names the memory, so what ran there fits here."""
    presets = {model_of(find_preset(name).shape): name for name in reversed(work.presets_by_size())}
    failures = Failures(failed)

    def is_open(row: QualityRow) -> bool:
        preset = presets.get(model_of(row.shape))
        here = row.hardware_key == work.calibration.hardware_key
        return here and preset is not None and not failures.speak_against(preset, row.shape)

    row = min(filter(is_open, work.table.rows), key=lambda one: one.val_bpb, default=None)
    if row is None:
        return None
    why = f"the shape is what scored lowest before on this hardware ({row.source})"
    return Start(presets[model_of(row.shape)], row.shape, Tuning(), why)


def _smallest(work: Work, failed: Sequence[Outcome]) -> Start:
    """The smallest preset, one row a pass where larger ones did not fit: the step and so the training stay the same."""
    name = work.presets_by_size()[0]
    shape = find_preset(name).shape
    full = [one.probe.shape for one in failed if one.status is Status.OUT_OF_MEMORY and one.probe.preset == name]
    if any(pass_tokens(one) <= pass_tokens(shape) for one in full):
        shape = shape.model_copy(update={"device_batch_size": 1})
    return Start(name, shape, Tuning(), "the shape is the smallest that was asked for, as nothing is known here")


def reason_of(work: Work, found: Findings, start: Start) -> str:
    """Why nothing was measured, and why it is this shape."""
    failed = found.outcomes()
    firsts = {one.status: one_line(one.reason, LONGEST_REASON) for one in reversed(failed)}
    told = [f"{count} {_end(status, firsts[status], count)}" for status, count in _ends(failed)]
    return f"no probe came to a number ({'; '.join(told)}); {start.why}"


def next_step(work: Work, found: Findings) -> str:
    """By how most probes ended."""
    ends, calibration = _ends(found.outcomes()), work.calibration
    first = ADVICE.get(ends[0][0], "find out what is wrong") if ends else "calibrate with more minutes (--budget)"
    one_run = (
        f"autoresearch train --smoke --preset {work.presets_by_size()[0]} --engine {calibration.engine} "
        f"--device {calibration.device}"
    )
    return f"{first}: `autoresearch doctor` and `{one_run}` show more; then run autoresearch calibrate again"


def _ends(failed: Sequence[Outcome]) -> list[tuple[Status, int]]:
    """The commonest first."""
    return Counter(one.status for one in failed).most_common()


def _end(status: Status, first: str, count: int) -> str:
    why = f"{', first' if count > 1 else ''}: {first}" if first else ""
    return status.replace("_", " ") + why
