"""Phase envelope: what fits and how fast it is, one family (a preset's depth, width and heads) after the other.

A batch fits when a whole experiment with it came to its end: real steps, hand-over of the weights and evaluation. The
batch grows fourfold until memory is full or more of it brings nothing. Families for which there is no time are inferred
from smaller ones, and say so.
"""

import math
from collections.abc import Sequence

import numpy as np

from services.calibrator.envelope_model import BAND_LIMITS, Band, Envelope, Family, Line, pass_tokens
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.tune import first_limit_s
from services.calibrator.work import Work
from shared.calibration.job import SHORTEST_PROBE_S
from shared.contracts import Contract, Rung, Shape, Status
from shared.experiment.platform_default import Tuning
from shared.experiment.presets import find_preset
from shared.quality.model_size import model_size

SECONDS = {"fast": 5.0, "full": 10.0}
GROWTH = 4
LARGEST_PASS_TOKENS = 131_072
WORTH_IT = 1.05
"""tokens/s that four times the batch must bring for the next one to be tried"""
TRAINING_BYTES_PER_PARAMETER = 16
"""weights, gradients and optimizer state in float32"""
SCORED_TOKENS = 2 * 8192 // 3
"""what evaluating on the smoke rung costs, in tokens of training"""
WARM_UP_STEPS = 3


class EnvelopeFound(Contract):
    envelope: Envelope
    outcomes: tuple[Outcome, ...]


def measure_envelope(work: Work, tuning: Tuning, known: Sequence[Outcome], allowance_s: float) -> EnvelopeFound:
    """`known`: outcomes of the phase before, which tell what a probe costs."""
    outcomes: list[Outcome] = []
    families: list[Family] = []
    end_s = work.clock.spent_s + allowance_s
    names = work.presets_by_size()
    for place, name in enumerate(names):
        left_s = _left_s(work, end_s, [*known, *outcomes])
        share_s = left_s / (len(names) - place) * 1.5
        found = _measure_family(work, name, tuning, [*known, *outcomes], min(share_s, left_s))
        outcomes += found
        families.append(fit_family(work, name, found) if found else infer_family(work, name, families))
    return EnvelopeFound(
        envelope=Envelope(memory_mb=work.machine.memory_mb, families=tuple(families)), outcomes=tuple(outcomes)
    )


def _left_s(work: Work, end_s: float, known: Sequence[Outcome]) -> float:
    """While nothing has run here no other phase can do anything: then their minutes count too."""
    return end_s - work.clock.spent_s if any(one.is_ok for one in known) else work.clock.remaining_s


def _measure_family(
    work: Work, name: str, tuning: Tuning, known: Sequence[Outcome], allowance_s: float
) -> list[Outcome]:
    """What was measured of it before counts: tuning has timed one family."""
    found = [one for one in known if one.probe.preset == name and one.probe.tuning == tuning]
    rows = _next_rows(work, name, found) if found else find_preset(name).shape.device_batch_size
    end_s, seconds = work.clock.spent_s + allowance_s, SECONDS[work.calibration.mode]
    while rows:
        shape = probed_shape(work, name, rows, seconds, [*known, *found])
        expected_s, left_s = expected_cost(work, shape, seconds, [*known, *found]), end_s - work.clock.spent_s
        if max(expected_s, SHORTEST_PROBE_S) > left_s:
            break
        probe = Probe(preset=name, shape=shape, seconds=seconds, rung=Rung.SMOKE, tuning=tuning)
        found.append(work.measure(probe, limit_s=_limit_s(work, expected_s, left_s)))
        rows = _next_rows(work, name, found)
    return found


def probed_shape(work: Work, name: str, rows: int, seconds: float, known: Sequence[Outcome]) -> Shape:
    """The preset with another device batch: as many passes in a step as the preset has, fewer where a step would take
    more than half of the probe; one while nothing is known but that a probe took too long."""
    base = find_preset(name).shape
    tokens = rows * base.seq_len
    passes = max(1, base.total_batch_size // tokens)
    if rate := _flops_rate(work, known):
        passes = max(1, min(passes, int(rate * seconds / 2 / (tokens * work.flops_per_token(base)))))
    elif any(one.status is Status.TIMED_OUT for one in known):
        passes = 1
    return base.model_copy(update={"device_batch_size": rows, "total_batch_size": passes * tokens})


def _limit_s(work: Work, expected_s: float, left_s: float) -> float:
    """Where nothing has run yet, other models must get their chance too."""
    return max(60.0, 3.0 * expected_s) if expected_s else min(first_limit_s(work), left_s)


def expected_cost(work: Work, shape: Shape, seconds: float, known: Sequence[Outcome]) -> float:
    """Wall-clock seconds of a probe, from the start-up and the FLOP/s that others had; 0 when nothing is known."""
    rate = _flops_rate(work, known)
    if not rate:
        return 0.0
    overhead_s = float(np.median([_overhead_s(outcome) for outcome in known if outcome.is_ok]))
    flops = work.flops_per_token(shape)
    step_s = shape.total_batch_size * flops / rate
    return overhead_s + WARM_UP_STEPS * step_s + max(seconds, step_s) + SCORED_TOKENS * flops / rate


def _flops_rate(work: Work, known: Sequence[Outcome]) -> float:
    """The most FLOP/s that a probe reached; 0 when nothing is known."""
    ok = [outcome for outcome in known if outcome.is_ok]
    return max(((one.tok_per_sec or 0.0) * work.flops_per_token(one.probe.shape) for one in ok), default=0.0)


def _overhead_s(outcome: Outcome) -> float:
    """Of a small model: what every probe takes beside its own work."""
    return max(0.0, outcome.wall_seconds - outcome.training_seconds - 2 * outcome.eval_seconds)


def _next_rows(work: Work, name: str, found: Sequence[Outcome]) -> int:
    """The next device batch to try; 0 when the edge, or the point where more brings nothing, is known."""
    good = [outcome for outcome in found if outcome.is_ok]
    bad = [outcome.probe.shape.device_batch_size for outcome in found if not outcome.is_ok]
    if not good:
        return min(bad) // GROWTH
    largest = max(outcome.probe.shape.device_batch_size for outcome in good)
    if bad:
        between = math.isqrt(largest * min(bad))
        return between if largest < between and len(bad) < 2 else 0
    rows, seq_len = largest * GROWTH, find_preset(name).shape.seq_len
    if rows * seq_len > LARGEST_PASS_TOKENS or _has_levelled(good):
        return 0
    fits = fit_memory(work, name, good).at(rows * seq_len) <= BAND_LIMITS[Band.PRESSURED] * work.machine.memory_mb
    return rows if fits else 0


def _has_levelled(good: Sequence[Outcome]) -> bool:
    speeds = [outcome.tok_per_sec or 0.0 for outcome in good]
    return len(speeds) > 1 and speeds[-1] < WORTH_IT * speeds[-2]


def fit_family(work: Work, name: str, found: Sequence[Outcome]) -> Family:
    """One of which no probe came to a number does not fit, whatever the reason was."""
    good = [outcome for outcome in found if outcome.is_ok and outcome.tok_per_sec]
    shape = find_preset(name).shape
    if not good:
        return _nothing_fits(name, work.flops_per_token(shape), [outcome.probe.key for outcome in found])
    tokens = [pass_tokens(outcome.probe.shape) for outcome in good]
    seconds = [count / (outcome.tok_per_sec or 1.0) for count, outcome in zip(tokens, good, strict=True)]
    memory = fit_memory(work, name, good)
    return Family(
        preset=name,
        depth=shape.depth,
        d_model=shape.d_model,
        heads=shape.heads,
        memory_mb=memory,
        pass_seconds=fit_line(tokens, seconds, base=0.0),
        flops_per_token=work.flops_per_token(shape),
        largest_pass_tokens=_largest_pass(work, memory, found),
        probes=tuple(outcome.probe.key for outcome in found),
    )


def _largest_pass(work: Work, memory: Line, found: Sequence[Outcome]) -> int:
    """What survived. Where nothing failed and more brought more: as far as memory is predicted to reach, at most four
    times that. Larger passes would push out those on offer that train faster (services/calibrator/space.py)."""
    good = [outcome for outcome in found if outcome.is_ok]
    survived = max(pass_tokens(outcome.probe.shape) for outcome in good)
    if len(good) < len(found) or _has_levelled(good):
        return survived
    room = BAND_LIMITS[Band.PRESSURED] * work.machine.memory_mb - memory.base
    return max(survived, min(GROWTH * survived, int(room / memory.slope) if memory.slope else GROWTH * survived))


def fit_memory(work: Work, name: str, good: Sequence[Outcome]) -> Line:
    """MiB over tokens of a pass."""
    measured = [outcome for outcome in good if outcome.peak_memory_mb]
    params = model_size(find_preset(name).shape, work.vocab_size).num_params
    base = TRAINING_BYTES_PER_PARAMETER * params / 2**20
    if not measured:
        return Line(base=base, slope=0.0)
    tokens = [pass_tokens(outcome.probe.shape) for outcome in measured]
    return fit_line(tokens, [outcome.peak_memory_mb or 0.0 for outcome in measured], base=base)


def fit_line(x: Sequence[float], y: Sequence[float], base: float) -> Line:
    """Least squares, neither base nor slope negative; through `base` when there is one point."""
    if len(set(x)) < 2:
        base = min(base, float(np.mean(y)))
        return Line(base=base, slope=(float(np.mean(y)) - base) / float(np.mean(x)))
    slope, intercept = np.polyfit(x, y, 1)
    if intercept < 0:
        slope, intercept = float(np.dot(x, y) / np.dot(x, x)), 0.0
    if slope < 0:
        slope, intercept = 0.0, float(np.max(y))
    return Line(base=float(intercept), slope=float(slope))


def infer_family(work: Work, name: str, smaller: Sequence[Family]) -> Family:
    """From the largest family that was measured, by FLOPs, parameters and width times depth."""
    shape = find_preset(name).shape
    size, flops = model_size(shape, work.vocab_size), work.flops_per_token(shape)
    known = next((family for family in reversed(smaller) if family.largest_pass_tokens), None)
    if known is None:
        return _nothing_fits(name, flops, ())
    other = model_size(find_preset(known.preset).shape, work.vocab_size)
    wider = shape.depth * shape.d_model / (known.depth * known.d_model)
    memory = Line(base=known.memory_mb.base * size.num_params / other.num_params, slope=known.memory_mb.slope * wider)
    more = flops / known.flops_per_token
    room = int((BAND_LIMITS[Band.WARM] * work.machine.memory_mb - memory.base) / memory.slope) if memory.slope else 0
    return Family(
        preset=name,
        depth=shape.depth,
        d_model=shape.d_model,
        heads=shape.heads,
        memory_mb=memory,
        pass_seconds=Line(base=known.pass_seconds.base * more, slope=known.pass_seconds.slope * more),
        flops_per_token=flops,
        largest_pass_tokens=max(0, min(room, known.largest_pass_tokens)),
        inferred=True,
        probes=known.probes,
    )


def _nothing_fits(name: str, flops: float, probes: Sequence[str]) -> Family:
    shape = find_preset(name).shape
    return Family(
        preset=name,
        depth=shape.depth,
        d_model=shape.d_model,
        heads=shape.heads,
        memory_mb=Line(base=0, slope=0),
        pass_seconds=Line(base=1, slope=0),
        flops_per_token=flops,
        largest_pass_tokens=0,
        inferred=not probes,
        probes=tuple(probes),
    )
