"""Phase tune: attention backend, compilation and kernels, by measuring one shape with each. Shapes are compared later.

Nothing is chosen that is not at least 3 % faster than what the engine takes by itself. On a CPU compiling counts as
training time (services/trainer/limits.py), so there what it takes longer is missing from RUN_S.
"""

from services.calibrator.kernels import candidates, proven
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.work import Work
from shared.calibration.job import SHORTEST_PROBE_S
from shared.contracts import Contract, Rung, Shape
from shared.experiment.platform_default import Tuning
from shared.experiment.presets import find_preset
from shared.machine.device import Device
from shared.machine.targets import find_target

SECONDS = 5.0
FASTER = 1.03
RUN_S = 300.0
"""the budget that settings are chosen for"""
FIRST_LIMIT = 0.25
"""of all minutes, for a probe of which nothing is known"""
COMPILING = 4.0
"""times the first probe's wall-clock, which one that compiles may take"""


class Tuned(Contract):
    tuning: Tuning
    reason: str
    tried: tuple[Outcome, ...]
    left_out: tuple[str, ...] = ()
    """what there was no time for"""


def tune(work: Work, allowance_s: float) -> Tuned:
    preset = work.presets_by_size()[0]
    shape = find_preset(preset).shape
    tried = [work.measure(_probe(preset, shape, Tuning()), limit_s=first_limit_s(work))]
    left_out: list[str] = []
    spent_s = tried[0].wall_seconds
    for tuning in alternatives(work):
        expected_s = tried[0].wall_seconds * (COMPILING if tuning.compile in ("on", "graphs", "step") else 1.0)
        if not tried[0].is_ok or spent_s + expected_s > allowance_s:
            left_out.append(describe(tuning))
            continue
        tried.append(work.measure(_probe(preset, shape, tuning), limit_s=2 * expected_s))
        spent_s += tried[-1].wall_seconds
    if tried[0].is_ok:
        spent_s += _try_kernels(work, tried, left_out, allowance_s - spent_s)
    return concluded(tried, left_out, compiling_counts=Device.parse(work.calibration.device).is_cpu)


def first_limit_s(work: Work) -> float:
    """Of a probe of which nothing is known: others must get their chance too, but the quickest takes its time."""
    return max(SHORTEST_PROBE_S, FIRST_LIMIT * work.clock.total_s)


def _try_kernels(work: Work, tried: list[Outcome], left_out: list[str], allowance_s: float) -> float:
    """What the lab found right and faster than the plain op here, all together, on top of the fastest setting."""
    if work.lab is None or not candidates(work.calibration):
        return 0.0
    first, fastest = tried[0], max(tried, key=_speed)
    kernels, unproven = proven(work.lab, allowance_s - COMPILING * first.wall_seconds)
    left_out += unproven
    if not kernels:
        return 0.0
    tuning = fastest.probe.tuning.model_copy(update={"kernels": kernels})
    probe = _probe(first.probe.preset, first.probe.shape, tuning)
    tried.append(work.measure(probe, limit_s=2 * COMPILING * first.wall_seconds))
    return tried[-1].wall_seconds


def alternatives(work: Work) -> list[Tuning]:
    """Other than what the engine takes by itself; compilation first, because it matters most."""
    device, engine = Device.parse(work.calibration.device), work.calibration.engine
    if engine == "mlx":
        modes, backends = ["off" if device.is_apple else "on"], ["sdpa"]
    else:
        modes = ["off", "graphs", "step"] if device.is_cuda else ["on"]
        backends = list(find_target(work.calibration.target).attention[1:])
    changes = [{"compile": mode} for mode in modes] + [{"attention": name} for name in backends]
    return [Tuning.model_validate(change) for change in changes]


def describe(tuning: Tuning) -> str:
    settings = tuning.model_dump(exclude={"kernels"}).items()
    values = [f"{key} {value}" for key, value in settings if value not in ("auto", {})]
    values += [f"kernel {op}={kernel}" for op, kernel in tuning.kernels.items()]
    return ", ".join(values) or "the engine's own choice"


def _probe(preset: str, shape: Shape, tuning: Tuning) -> Probe:
    return Probe(preset=preset, shape=shape, seconds=SECONDS, rung=Rung.SMOKE, tuning=tuning)


def concluded(tried: list[Outcome], left_out: list[str], *, compiling_counts: bool = False) -> Tuned:
    ok = [outcome for outcome in tried if outcome.is_ok and outcome.tok_per_sec]
    if not ok:
        reason = f"no setting came to a number ({tried[0].status}: {tried[0].reason})"
        return Tuned(tuning=Tuning(), reason=reason, tried=tuple(tried), left_out=tuple(left_out))
    own = next((outcome for outcome in ok if outcome is tried[0]), None)
    usual_s = own.wall_seconds if own and compiling_counts else float("inf")
    best = max(ok, key=lambda outcome: _over_a_run(outcome, usual_s))
    if own is None or _over_a_run(best, usual_s) >= FASTER * _speed(own):
        than = f", {_over_a_run(best, usual_s) / _speed(own) - 1:+.0%} against the engine's own choice" if own else ""
        reason = f"{describe(best.probe.tuning)}: {_speed(best):,.0f} tok/s{than}"
        return Tuned(tuning=best.probe.tuning, reason=reason, tried=tuple(tried), left_out=tuple(left_out))
    beside = f"nothing tried is {FASTER - 1:.0%} faster" if len(tried) > 1 else "nothing else was tried"
    reason = f"the engine's own choice, {_speed(own):,.0f} tok/s; {beside}"
    return Tuned(tuning=Tuning(), reason=reason, tried=tuple(tried), left_out=tuple(left_out))


def _over_a_run(outcome: Outcome, usual_s: float) -> float:
    """tok/s over RUN_S, of which the start takes what this outcome's wall-clock is beyond the usual one."""
    return _speed(outcome) * max(0.0, 1 - max(0.0, outcome.wall_seconds - usual_s) / RUN_S)


def _speed(outcome: Outcome) -> float:
    return outcome.tok_per_sec or 0.0
