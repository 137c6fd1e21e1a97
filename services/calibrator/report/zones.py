"""Where the recommended shape stands: beside a smaller one, a larger one, upstream's, and other machines' figures."""

from collections.abc import Sequence
from typing import Any, Literal

from services.calibrator.envelope_model import alike
from services.calibrator.hindsight import interval
from services.calibrator.report.contract import Beside, Zone
from services.calibrator.report.points import Point, Points
from services.calibrator.report.subject import Subject, ids_of, merged
from services.calibrator.space import FEWEST_STEPS
from services.calibrator.work import describe_shape
from shared.experiment.presets import PRESETS, preset_of
from shared.quality import PublishedRun, QualityRow, published_runs

REFERENCE = "upstream"
PUBLISHED_SECONDS = 300.0


def zones_of(subject: Subject, points: Points) -> tuple[Zone, ...]:
    return (
        _lower(subject, points),
        _recommended(subject, points),
        _upper(subject, points),
        _reference(subject, points),
    )


def _recommended(subject: Subject, points: Points) -> Zone:
    return _zone("recommended", points.winner, subject, points, subject.default.reason)


def _lower(subject: Subject, points: Points) -> Zone:
    """A smaller model that is better in hindsight, else the smallest that is within noise of the winner, else the next
    smaller one."""
    smaller = points.families[: points.families.index(points.winner.preset)]
    found = [point for name in smaller if (point := points.best(name))]
    if not found:
        return Zone(zone="lower", reason="the recommended model is the smallest that was asked for and fits")
    equal = subject.hindsight.equal
    if better := _better(subject, points, found):
        return _zone("lower", better, subject, points, f"a smaller model, {_said_of(better, subject, points)}")
    for point in found:
        if points.behind(point)[0] <= equal:
            reason = f"the smallest model that is within {equal:.4f} of the recommended one, which is no difference"
            return _zone("lower", point, subject, points, reason)
    reason = f"the next smaller model: less memory, and worse by more than {equal:.4f}"
    return _zone("lower", found[-1], subject, points, reason)


def _upper(subject: Subject, points: Points) -> Zone:
    larger = points.families[points.families.index(points.winner.preset) + 1 :]
    found = [point for name in larger if (point := points.best(name))]
    if better := _better(subject, points, found):
        return _zone("upper", better, subject, points, f"a larger model, {_said_of(better, subject, points)}")
    if found:
        return _zone("upper", found[0], subject, points, "the next larger model; it may pay with a longer budget")
    if not larger:
        return Zone(zone="upper", reason="the recommended model is the largest that was asked for")
    why = f"does not fit, or trains fewer than {FEWEST_STEPS} steps in {subject.target_s:g} s"
    return Zone(zone="upper", reason=f"{', '.join(larger)}: {why}")


def _better(subject: Subject, points: Points, found: Sequence[Point]) -> Point | None:
    """The best of those that are expected to be better than the winner by more than the noise of two runs."""
    better = [point for point in found if -points.behind(point)[0] > subject.hindsight.equal]
    return min(better, key=lambda point: points.behind(point)[0], default=None)


def _said_of(point: Point, subject: Subject, points: Points) -> str:
    """How much better than the recommended one, and why it is not recommended."""
    behind, spread = points.behind(point)
    low, high = interval(-behind, spread)
    confirmed = [one.probe.shape for one in subject.confirm.outcomes if one.is_ok]
    why = (
        "its confirming run did not show it" if any(alike(shape, point.shape) for shape in confirmed)
        else "no run confirmed it"
    )  # fmt: skip
    return (
        f"expected to be {-behind:.4f} BETTER than the recommended one (95 % interval {low:.4f} to {high:.4f}): the "
        f"search preferred the recommended one, later runs changed what is expected, and {why}; calibrate with more "
        "minutes"
    )


def _reference(subject: Subject, points: Points) -> Zone:
    shape = PRESETS[REFERENCE].shape
    here = points.here(shape)
    if here is None:
        return Zone(zone="reference", reason="upstream's model was not measured here, or does not fit")
    fitting, speed = here
    steps = speed * subject.target_s / fitting.total_batch_size
    if steps < 1:
        return Zone(zone="reference", reason=f"upstream's batch does not train one step in {subject.target_s:g} s here")
    point = points.of_shape(REFERENCE, fitting, speed)
    reason = f"upstream's model and batch, for comparison only: {steps:.0f} steps in {subject.target_s:g} s"
    return _zone("reference", point, subject, points, reason)


def _zone(
    zone: Literal["lower", "recommended", "upper", "reference"],
    point: Point,
    subject: Subject,
    points: Points,
    reason: str,
) -> Zone:
    corrected = subject.rungs.run_id if subject.correction else ""
    behind, behind_spread = points.behind(point)
    return Zone(
        zone=zone, reason=reason, preset=point.preset, shape=point.shape, val_bpb=point.val_bpb + subject.correction,
        spread=point.spread, behind=behind, behind_spread=behind_spread, tok_per_sec=point.tok_per_sec,
        memory_mb=point.memory_mb, band=point.band, how=point.how,
        sources=merged(point.sources, filter(None, [corrected])),
    )  # fmt: skip


def beside_of(subject: Subject, points: Points) -> tuple[Beside, ...]:
    return tuple(_beside(subject, points, run) for run in published_runs())


def _beside(subject: Subject, points: Points, run: PublishedRun) -> Beside:
    row = run.row
    theirs = row.num_tokens / PUBLISHED_SECONDS
    found: dict[str, Any] = dict(
        machine=row.hardware_key or "", source=row.source, preset=_preset_of(row), shape=row.shape,
        seconds=PUBLISHED_SECONDS, val_bpb=row.val_bpb, tok_per_sec=theirs, memory_mb=run.memory_mb,
    )  # fmt: skip
    source = subject.book.rows([row.source])
    here = points.here(row.shape)
    if here is None:
        return Beside(**found, reason="its model was not measured here, or does not fit", sources=source)
    fitting, speed = here
    memory_mb = subject.envelope.envelope.memory_of(fitting)
    numbers: dict[str, Any] = {"here_tok_per_sec": speed, "here_share": speed / theirs, "here_memory_mb": memory_mb}
    sources = merged(source, ids_of(subject.own_outcomes(fitting)), points.speed_sources(fitting))
    tokens = speed * PUBLISHED_SECONDS
    if tokens < fitting.total_batch_size:
        reason = f"one step of {fitting.total_batch_size:,} tokens takes longer than {PUBLISHED_SECONDS:g} s here"
        return Beside(**found, **numbers, reason=reason, sources=sources)
    said = subject.say(fitting, tokens)
    numbers |= {"here_val_bpb": said.val_bpb, "here_spread": said.spread}
    reason = "" if fitting == row.shape else f"here with {describe_shape(fitting)}"
    return Beside(**found, **numbers, reason=reason, sources=merged(sources, said.sources))


def _preset_of(row: QualityRow) -> str:
    """The preset whose shape it has but for the batch."""
    batch = {"device_batch_size", "total_batch_size"}
    own = row.shape.model_dump(exclude=batch)
    same = (name for name, preset in PRESETS.items() if preset.shape.model_dump(exclude=batch) == own)
    return preset_of(row.shape) or next(same, "")
