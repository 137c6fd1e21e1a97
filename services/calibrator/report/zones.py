"""Where the recommended shape stands: beside a smaller one, a larger one, upstream's, and other machines' figures."""

from typing import Any, Literal

from services.calibrator.report.contract import Beside, Zone
from services.calibrator.report.points import Point, Points
from services.calibrator.report.subject import Subject, merged
from services.calibrator.space import FEWEST_STEPS
from services.calibrator.work import describe_shape
from shared.experiment.presets import PRESETS, preset_of
from shared.quality import QualityRow, published_rows

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
    """The smallest family whose best is within noise of the winner's; else the next smaller one."""
    smaller = points.families[: points.families.index(points.winner.preset)]
    found = [point for name in smaller if (point := points.best(name))]
    equal = _equal(subject)
    for point in found:
        if point.val_bpb - points.winner.val_bpb <= equal:
            reason = f"the smallest model that is within {equal:.4f} of the recommended one, which is no difference"
            return _zone("lower", point, subject, points, reason)
    if found:
        reason = f"the next smaller model: less memory, and worse by more than {equal:.4f}"
        return _zone("lower", found[-1], subject, points, reason)
    return Zone(zone="lower", reason="the recommended model is the smallest that was asked for and fits")


def _upper(subject: Subject, points: Points) -> Zone:
    larger = points.families[points.families.index(points.winner.preset) + 1 :]
    for name in larger:
        if point := points.best(name):
            return _zone("upper", point, subject, points, "the next larger model; it may pay with a longer budget")
    if not larger:
        return Zone(zone="upper", reason="the recommended model is the largest that was asked for")
    why = f"does not fit, or trains fewer than {FEWEST_STEPS} steps in {subject.target_s:g} s"
    return Zone(zone="upper", reason=f"{', '.join(larger)}: {why}")


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
    return Zone(
        zone=zone, reason=reason, preset=point.preset, shape=point.shape, val_bpb=point.val_bpb + subject.correction,
        spread=point.spread, behind=point.val_bpb - points.winner.val_bpb, tok_per_sec=point.tok_per_sec,
        memory_mb=point.memory_mb, band=point.band, how=point.how,
        sources=merged(point.sources, filter(None, [corrected])),
    )  # fmt: skip


def _equal(subject: Subject) -> float:
    """Difference in val_bpb below which two shapes are equals: that of the noise of two runs."""
    floor = subject.noise.floor
    noise = floor.sigma if floor else subject.search.noise
    return max(subject.search.margin, 2**0.5 * noise)


def beside_of(subject: Subject, points: Points) -> tuple[Beside, ...]:
    return tuple(_beside(subject, points, row) for row in published_rows())


def _beside(subject: Subject, points: Points, row: QualityRow) -> Beside:
    theirs = row.num_tokens / PUBLISHED_SECONDS
    found: dict[str, Any] = dict(
        machine=row.hardware_key or "", source=row.source, preset=_preset_of(row), shape=row.shape,
        seconds=PUBLISHED_SECONDS, val_bpb=row.val_bpb, tok_per_sec=theirs,
    )  # fmt: skip
    source = subject.book.rows([row.source])
    here = points.here(row.shape)
    if here is None:
        return Beside(**found, reason="its model was not measured here, or does not fit", sources=source)
    fitting, speed = here
    numbers: dict[str, Any] = {"here_tok_per_sec": speed, "here_share": speed / theirs}
    sources = merged(source, points.speed_sources(fitting))
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
