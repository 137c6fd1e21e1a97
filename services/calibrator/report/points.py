"""Single shapes at the target budget: the chosen one, the best of each family, a shape that somebody else trained."""

from dataclasses import dataclass
from functools import cached_property
from statistics import median

from services.calibrator.envelope_model import Band, model_of
from services.calibrator.hindsight import Timed
from services.calibrator.report.contract import How
from services.calibrator.report.subject import Subject, ids_of, merged
from services.calibrator.space import device_batches
from shared.contracts import Shape
from shared.experiment.presets import find_preset
from shared.quality.model_size import model_size

LATER = 10.0
"""budgets: how far ahead the scaling candidate is looked for"""


@dataclass(frozen=True)
class Point:
    """One shape on this machine, with what the table expects of it at the target budget in hindsight."""

    preset: str
    shape: Shape
    val_bpb: float
    """on the rung that probes are scored on"""
    spread: float
    tok_per_sec: float
    memory_mb: float
    band: Band
    how: How
    sources: tuple[str, ...]

    @property
    def timed(self) -> Timed:
        return Timed(self.shape, self.tok_per_sec)


class Points:
    def __init__(self, subject: Subject):
        self.subject = subject
        self.winner = self.of_shape(subject.chosen.preset, subject.chosen.shape, subject.chosen.tok_per_sec)

    @cached_property
    def families(self) -> list[str]:
        """One preset for each model that was asked for, smallest first; the winner's by its own name."""
        models: dict[tuple[int, int, int], str] = {model_of(self.winner.shape): self.winner.preset}
        for name in self.subject.work.calibration.presets:
            models.setdefault(model_of(find_preset(name).shape), name)
        return sorted(models.values(), key=lambda name: self.subject.params(find_preset(name).shape))

    def best(self, preset: str) -> Point | None:
        """The family's best at the target budget; None where no shape of it fits or trains enough steps."""
        return self._best.get(preset)

    def best_later(self, preset: str) -> Point | None:
        """Likewise, or where the target budget is too short for it the best of a budget ten times as long."""
        return self.best(preset) or self._best_in(preset, LATER)

    @cached_property
    def _best(self) -> dict[str, Point]:
        found = {name: point for name in self.families if (point := self._best_in(name, 1.0))}
        return {**found, self.winner.preset: self.winner}

    def _best_in(self, preset: str, budgets: float) -> Point | None:
        """In hindsight, among everything that fits and trains enough steps in so many budgets."""
        hindsight = self.subject.hindsight
        best = hindsight.best(model_of(find_preset(preset).shape), budgets)
        return self.of_shape(preset, best.shape, hindsight.timed(best, budgets).tok_per_sec) if best else None

    def behind(self, point: Point) -> tuple[float, float]:
        """val_bpb above the winner's at the target, expected, and that difference's standard deviation."""
        ahead, spread = self.subject.hindsight.ahead(point.timed, self.winner.timed)
        return -ahead, spread

    def of_shape(self, preset: str, shape: Shape, tok_per_sec: float) -> Point:
        """Of a shape whose model is in the envelope."""
        subject, envelope = self.subject, self.subject.envelope.envelope
        said = subject.say(shape, tok_per_sec * subject.target_s)
        own = subject.own_outcomes(shape)
        return Point(
            preset=preset, shape=shape, val_bpb=said.val_bpb, spread=said.spread, tok_per_sec=tok_per_sec,
            memory_mb=envelope.memory_of(shape), band=envelope.band(shape), how="inferred" if own else "predicted",
            sources=merged(ids_of(own), self.speed_sources(shape), said.sources),
        )  # fmt: skip

    def speed_sources(self, shape: Shape) -> tuple[str, ...]:
        """Probes behind the family's memory and speed."""
        family = self.subject.envelope.envelope.family(shape)
        return self.subject.book.probes(family.probes) if family else ()

    def here(self, shape: Shape) -> tuple[Shape, float] | None:
        """The shape and its tokens/s as it ran, else with the largest passes that fit and what the family's line says;
        None where the model does not fit."""
        if speeds := [one.tok_per_sec for one in self.subject.own_outcomes(shape) if one.tok_per_sec]:
            return shape, median(speeds)
        envelope = self.subject.envelope.envelope
        family = envelope.family(shape)
        fits = family.largest_pass_tokens // shape.seq_len if family else 0
        batches = device_batches(shape.total_batch_size // shape.seq_len, fits)
        if not batches:
            return None
        fitting = shape.model_copy(update={"device_batch_size": batches[0]})
        speed = envelope.tok_per_sec(fitting, model_size(fitting, self.subject.vocab_size).flops_per_token)
        return fitting, speed
