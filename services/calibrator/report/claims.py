"""What of the result was measured, what was inferred or predicted, and how sure each is."""

from collections.abc import Callable

from services.calibrator.envelope_model import Family
from services.calibrator.report.contract import Claim, How
from services.calibrator.report.points import Points
from services.calibrator.report.subject import Subject, id_of, ids_of, merged


def claims_of(subject: Subject, points: Points) -> tuple[Claim, ...]:
    parts: tuple[Callable[[Subject, Points], list[Claim]], ...] = (_quality, _speed, _memory, _batches, _noise, _rung)
    return tuple(claim for part in parts for claim in part(subject, points))


def _quality(subject: Subject, points: Points) -> list[Claim]:
    winner = points.winner
    longest = max((one.probe.seconds for one in subject.own_outcomes(winner.shape)), default=0.0)
    how: How = "inferred" if longest else "predicted"
    by = {"curve": "a curve through its own budgets", "table": "the quality table"}[subject.expected.source]
    trained = f"it was trained for at most {longest:g} s of {subject.target_s:g} s" if longest else "it was not trained"
    sure = f"+- {subject.expects.spread:.4f}, by {by}; {trained}"
    said = subject.say(winner.shape, winner.tok_per_sec * subject.target_s)
    now = f"+- {said.spread:.4f}, by the quality table with all runs of this calibration"
    sources = merged(winner.sources, said.sources)
    return [
        _claim("val_bpb at the target budget", subject.expects.val_bpb, "bits per byte", how, sure, winner.sources),
        _claim("the same, in hindsight", said.val_bpb + subject.correction, "bits per byte", how, now, sources),
    ]


def _speed(subject: Subject, points: Points) -> list[Claim]:
    winner = points.winner
    own = [one for one in subject.own_outcomes(winner.shape) if one.tok_per_sec]
    if not own:
        sure = "from other batches of this model and their FLOPs"
        return [_claim("speed", winner.tok_per_sec, "tokens/s", "inferred", sure, winner.sources)]
    speeds = [one.tok_per_sec or 0.0 for one in own]
    sure = f"{len(own)} runs, {min(speeds):,.0f} to {max(speeds):,.0f}"
    return [_claim("speed", winner.tok_per_sec, "tokens/s", "measured", sure, ids_of(own))]


def _memory(subject: Subject, points: Points) -> list[Claim]:
    winner = points.winner
    own = [one for one in subject.own_outcomes(winner.shape) if one.peak_memory_mb]
    peak = max((one.peak_memory_mb or 0.0 for one in own), default=None)
    seen = f"; its own runs peaked at {peak:,.0f} MiB" if peak is not None else ""
    share = winner.memory_mb / subject.envelope.envelope.memory_mb
    sure = f"a line through the family's probes, {share:.1%} of the device ({winner.band}){seen}"
    sources = merged(points.speed_sources(winner.shape), ids_of(own)) or winner.sources
    return [_claim("memory of training", winner.memory_mb, "MiB", "inferred", sure, sources)]


def _batches(subject: Subject, points: Points) -> list[Claim]:
    claims = []
    for family in subject.envelope.envelope.families:
        how: How = "measured" if _is_measured(subject, family) else "inferred"
        sources = subject.book.probes(family.probes) or ids_of(subject.found.outcomes())
        what, sure = f"largest pass of {family.preset}", _why_largest(subject, family)
        claims.append(_claim(what, float(family.largest_pass_tokens), "tokens", how, sure, sources))
    return claims


def _is_measured(subject: Subject, family: Family) -> bool:
    """Also where everything that was tried failed: then nothing is on offer."""
    return bool(subject.at_largest(family)) or (not family.largest_pass_tokens and not family.inferred)


def _why_largest(subject: Subject, family: Family) -> str:
    failed = [one for key in family.probes if (one := subject.book.outcome(key)) and not one.is_ok]
    if family.inferred:
        return "no probe of its own: from a smaller model's figures"
    if failed and not family.largest_pass_tokens:
        return f"all that was tried ended as {failed[-1].status}"
    if failed:
        return f"a larger one ended as {failed[-1].status}"
    if subject.at_largest(family):
        return "it ran; no larger one was tried, or more brought nothing"
    return "nothing so large was tried: by the memory line"


def _noise(subject: Subject, points: Points) -> list[Claim]:
    floor = subject.noise.floor
    if floor is None:
        return []
    weak = "weak: " if floor.weak else ""
    sure = f"{weak}{floor.num_seeds} seeds, 95 % interval {floor.low:.4f} to {floor.high:.4f}"
    good = [id_of(one) for one in subject.noise.outcomes if one.is_undisturbed]
    claims = [_claim("noise floor", floor.sigma, "bits per byte", "measured", sure, tuple(good))]
    if paired := subject.found.pairing and subject.found.pairing.pairing:
        both = merged(good, ids_of(subject.found.pairing.outcomes))
        what = "correlation of two shapes over seeds"
        claims.append(_claim(what, paired.rho, "", "measured", f"{paired.num_pairs} pairs; {paired.verdict}", both))
    return claims


def _rung(subject: Subject, points: Points) -> list[Claim]:
    cost = next((one for one in subject.rungs.costs if one.rung is subject.rungs.chosen), None)
    if cost is None:
        return []
    sure = f"one checkpoint; {subject.rungs.reason}"
    return [_claim(f"scoring on {cost.rung}", cost.seconds, "s", "measured", sure, (subject.rungs.run_id,))]


def _claim(what: str, value: float, unit: str, how: How, sure: str, sources: tuple[str, ...]) -> Claim:
    return Claim(what=what, value=value, unit=unit, how=how, sure=sure, sources=sources)
