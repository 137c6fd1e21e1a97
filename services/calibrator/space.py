"""What the search chooses among: every shape of the named presets' models that the envelope says fits.

To the sampler a shape is five numbers: preset, row length, windows, tokens in a step, and how many sizes its passes
are below the largest that fits.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from services.calibrator.envelope_model import Band, Envelope, model_of
from shared.contracts import Shape
from shared.quality.model_size import model_size, window_sizes

SEQ_LENS = (256, 512, 1024, 2048)
STEP_TOKENS = tuple(sorted([2**power for power in range(12, 21)] + [3 * 2**power for power in range(11, 19)]))
"""tokens in a step"""
SMALLER_PASSES = 4
"""sizes of pass below the largest that fits which are on offer: they train slower and leave memory free"""
FEWEST_STEPS = 40
"""that the target budget must train"""

Params = dict[str, str | int]


class NothingFits(ValueError):
    """No shape of the presets can be trained on this machine for the target budget."""


@dataclass(frozen=True)
class Candidate:
    """One shape on offer and what the envelope says of it."""

    preset: str
    shape: Shape
    tok_per_sec: float
    memory_mb: float
    band: Band

    def tokens(self, seconds: float) -> int:
        """Trained in so many seconds."""
        return round(self.tok_per_sec * seconds)


class Space:
    """NothingFits when nothing of the presets does."""

    def __init__(
        self, envelope: Envelope, presets: Mapping[str, Shape], *, vocab_size: int, target_s: float,
        seq_lens: Sequence[int] = SEQ_LENS,
    ) -> None:  # fmt: skip
        self.envelope, self.presets, self.vocab_size = envelope, _models(presets), vocab_size
        self.target_s, self.seq_lens = target_s, tuple(sorted(seq_lens))
        windows = sorted({"L", *(shape.window_pattern for shape in presets.values())})
        self.distributions: dict[str, BaseDistribution] = {
            "preset": CategoricalDistribution([*self.presets]),
            "seq_len": IntDistribution(0, len(seq_lens) - 1),
            "windows": CategoricalDistribution(windows),
            "step": IntDistribution(0, len(STEP_TOKENS) - 1),
            "smaller": IntDistribution(0, SMALLER_PASSES),
        }
        self.offers: dict[tuple[str | int, ...], Candidate] = {}
        """by the values of the parameters; those that are missing do not fit or are too slow"""
        self._offer_all(windows)
        self._params = {one.shape: values for values, one in reversed(self.offers.items())}
        self.candidates: dict[Shape, Candidate] = {one.shape: one for one in self.offers.values()}
        """each shape once"""
        if not self.offers:
            names = ", ".join(presets)
            raise NothingFits(f"no shape of {names} fits and trains {FEWEST_STEPS} steps in {target_s:g} s")

    def candidate(self, params: Mapping[str, str | int]) -> Candidate | None:
        """None where no pass of that shape fits, or the target budget is too short for it."""
        return self.offers.get(tuple(params[name] for name in self.distributions))

    def params(self, shape: Shape) -> Params:
        """The sampler's numbers of a candidate's shape."""
        return dict(zip(self.distributions, self._params[shape], strict=True))

    def siblings(self, shape: Shape) -> list[Candidate]:
        """It and what differs from it only in the size of its passes, largest first."""
        *model, _ = self._params[shape]
        found = (self.offers.get((*model, smaller)) for smaller in range(SMALLER_PASSES + 1))
        return [one for one in found if one]

    @cached_property
    def alike(self) -> list[list[Candidate]]:
        """All candidates, those together that differ only in the size of their passes."""
        taken: set[Shape] = set()
        groups = []
        for shape in self.candidates:
            if shape not in taken:
                groups.append(self.siblings(shape))
                taken.update(one.shape for one in groups[-1])
        return groups

    def nearest(self, shape: Shape) -> Candidate | None:
        """The offer closest to a shape that was good elsewhere; None: its model is not on offer."""
        like = [one for one in self.candidates.values() if model_of(one.shape) == model_of(shape)]
        return min(like, key=lambda one: _distance(one.shape, shape), default=None)

    def _offer_all(self, windows: Sequence[str]) -> None:
        """Window patterns that are the same in a model are one candidate."""
        first: dict[tuple[Shape, tuple[int, ...]], Candidate] = {}
        for preset, place, pattern, step in product(
            self.presets, range(len(self.seq_lens)), windows, range(len(STEP_TOKENS))
        ):
            for smaller, shape in enumerate(self._shapes(preset, self.seq_lens[place], pattern, STEP_TOKENS[step])):
                if candidate := self._judged(preset, shape):
                    alike = shape.model_copy(update={"window_pattern": "L"}), tuple(window_sizes(shape))
                    self.offers[preset, place, pattern, step, smaller] = first.setdefault(alike, candidate)

    def _shapes(self, preset: str, seq_len: int, pattern: str, step_tokens: int) -> list[Shape]:
        """Largest passes first."""
        model = self.presets[preset]
        family = self.envelope.family(model)
        fits = (family.largest_pass_tokens if family else 0) // seq_len
        batches = device_batches(step_tokens // seq_len, fits)[: SMALLER_PASSES + 1]
        change = {"seq_len": seq_len, "window_pattern": pattern, "total_batch_size": step_tokens}
        return [model.model_copy(update=change | {"device_batch_size": rows}) for rows in batches]

    def _judged(self, preset: str, shape: Shape) -> Candidate | None:
        rate = self.envelope.tok_per_sec(shape, model_size(shape, self.vocab_size).flops_per_token)
        band = self.envelope.band(shape)
        if band is Band.TOO_LARGE or rate * self.target_s < FEWEST_STEPS * shape.total_batch_size:
            return None
        return Candidate(preset, shape, rate, self.envelope.memory_of(shape), band)


def _models(presets: Mapping[str, Shape]) -> dict[str, Shape]:
    """Presets whose models are the same are one: the first."""
    first: dict[tuple[int, int, int], str] = {}
    for name, shape in presets.items():
        first.setdefault(model_of(shape), name)
    return {name: presets[name] for name in first.values()}


def device_batches(rows: int, most: int) -> list[int]:
    """Rows of a pass, largest first: 2^k and 3 x 2^k that divide a step's rows, at most `most`."""
    sizes = {base << power for base in (1, 3) for power in range(20)}
    return sorted((size for size in sizes if rows % size == 0 and size <= most), reverse=True)


def _distance(offer: Shape, shape: Shape) -> tuple[float, ...]:
    """In the order that matters to quality."""
    apart = abs(offer.total_batch_size / shape.total_batch_size - 1)
    windows = abs(sum(window_sizes(offer)) / offer.seq_len - sum(window_sizes(shape)) / shape.seq_len)
    return abs(offer.seq_len / shape.seq_len - 1), apart, windows, -offer.device_batch_size
