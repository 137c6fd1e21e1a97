"""Everything that follows from the outcomes so far: what is still on offer, what may be best, what could be tried."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property

from pydantic import Field

from services.calibrator.envelope_model import Envelope, alike, pass_tokens
from services.calibrator.gain import Beliefs, Option, plausible
from services.calibrator.measurement import Outcome, Tuning
from services.calibrator.probe_costs import ProbeCosts
from services.calibrator.projection import FEWEST_PROBE_STEPS, Projections, is_row, went_astray
from services.calibrator.ranking import Ranked
from services.calibrator.space import SEQ_LENS, SMALLER_PASSES, STEP_TOKENS, Candidate, Params, Space
from shared.contracts import Contract, Rung, Shape, Status
from shared.evaluation.costs import signature
from shared.quality import QualityTable

BUDGET_SHARES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1.0)
"""of the target, each a completed run of its own"""
LARGEST_MARGIN = 0.003
"""of val_bpb: on a noisy machine one sigma would promise too little"""
LARGEST_RESERVE = 0.1
"""of the allowance, for trying the choice itself: where few probes can be paid, all of them search"""
LARGEST_OPENING = 0.3
"""of the allowance, for the first probe of a model: on a slow machine a large one would take most of it"""
MOST_FAILURES = 2
"""of a model of which nothing ran"""
POOL, BEST = 40, 6
"""shapes that are compared jointly, with the smaller passes of the best; what was measured or proposed comes on top"""


class SearchInputs(Contract):
    """What decides what is measured, except the table."""

    envelope: Envelope
    presets: dict[str, Shape] = Field(min_length=1)
    allowance_s: float = Field(gt=0)
    """wall-clock seconds that all probes of the journal may cost together"""
    target_s: float = Field(default=300.0, gt=0)
    tuning: Tuning = Tuning()
    rung: Rung = Rung.CHEAP
    vocab_size: int = Field(default=8192, gt=0)
    seq_lens: tuple[int, ...] = SEQ_LENS
    starts: tuple[Shape, ...] = ()
    """measured first, as near as this machine can: the prior's best, the nearest known default"""
    seed: int = 0
    probe_seed: int = 42

    def space(self) -> Space:
        """ValueError when nothing fits."""
        return Space(
            self.envelope, self.presets, vocab_size=self.vocab_size, target_s=self.target_s, seq_lens=self.seq_lens
        )

    @property
    def journal(self) -> str:
        """File name of the journal whose trials mean the same."""
        asked = self.model_dump(mode="json", exclude={"allowance_s", "starts"})
        forms = {"outcome": Outcome.model_json_schema(), "steps": STEP_TOKENS, "smaller": SMALLER_PASSES}
        return f"search-{signature(**asked, **forms)[:12]}.journal"


Propose = Callable[[Sequence[float | None]], list[Params]]
"""from today's projections of the outcomes, None where there was no number"""


class Outlook:
    def __init__(
        self, inputs: SearchInputs, space: Space, table: QualityTable, known: Sequence[Outcome],
        outcomes: Sequence[Outcome], propose: Propose,
    ) -> None:  # fmt: skip
        self.inputs, self.space, self.outcomes, self._propose = inputs, space, tuple(outcomes), propose
        self.seen = tuple({outcome.probe.key: outcome for outcome in (*known, *outcomes)}.values())
        self.spent_s = sum(outcome.wall_seconds for outcome in outcomes)
        self.costs = ProbeCosts(self.seen, inputs.rung)
        self.projections = Projections(table, space.candidates, self.seen, inputs.target_s)
        self.tried = {(outcome.probe.shape, outcome.probe.seconds) for outcome in self.seen}
        self._chances = _chances(self.seen)

    @cached_property
    def offered(self) -> dict[Shape, Candidate]:
        failures = Failures(self.seen)
        return {shape: one for shape, one in self.space.candidates.items() if not failures.rule_out(one)}

    @cached_property
    def beliefs(self) -> Beliefs:
        """Its options leave enough to try the choice itself in the end."""
        pool = self._pool()
        most_s = LARGEST_RESERVE * self.inputs.allowance_s
        kept_s = [short_s if (short_s := self._shortest_s(one)) <= most_s else 0.0 for one in pool]
        options = [
            option for one, keep_s in zip(pool, kept_s, strict=True) for option in self.options(one, keep_s=keep_s)
        ]
        return Beliefs(self.projections, pool, options)

    @property
    def margin(self) -> float:
        """Of val_bpb, within which two shapes are equals: one sigma of a run, if that is not too coarse."""
        lowest = float(self.beliefs.mean.min()) if self.beliefs.pool else 0.0
        return min(self.projections.table.noise, LARGEST_MARGIN * lowest)

    def values(self) -> list[float | None]:
        """Projections of the outcomes to the target; None where there was no number."""
        return [self.projections.value(outcome) for outcome in self.outcomes]

    def options(self, candidate: Candidate, *, keep_s: float = 0.0) -> list[Option]:
        """Budgets of it that were not measured, train enough steps and can be paid; shortest first.

        `keep_s` seconds of the allowance are left untouched.
        """
        rate = self.projections.rates.of(candidate)
        options = []
        for seconds in self._budgets(candidate, rate):
            cost_s = self.costs.expected(seconds, rate)
            payable = self.spent_s + cost_s + keep_s <= self.inputs.allowance_s
            if payable and (candidate.shape, seconds) not in self.tried:
                options.append(Option(candidate, seconds, cost_s, self._chances[candidate.preset]))
        return options

    def _budgets(self, candidate: Candidate, rate: float) -> list[float]:
        least_s = FEWEST_PROBE_STEPS * candidate.shape.total_batch_size / rate
        return [seconds for share in BUDGET_SHARES if (seconds := share * self.inputs.target_s) >= least_s]

    def _shortest_s(self, candidate: Candidate) -> float:
        """Expected wall-clock of its shortest budget."""
        rate = self.projections.rates.of(candidate)
        return self.costs.expected(min(self._budgets(candidate, rate), default=self.inputs.target_s), rate)

    def opening(self) -> Option | None:
        """The shortest budget of the first start that has no outcome yet, then of a model that has none."""
        tried = [shape for shape, seconds in self.tried if seconds >= self._real_s]
        starts = filter(None, map(self._fastest_like, self.inputs.starts))
        # once the speed of one size of pass is measured, another one looks faster: it would train the same
        fresh = (one for one in starts if not any(alike(one.shape, shape) for shape in tried))
        return next((options[0] for one in fresh if (options := self.options(one))), None) or self._model_to_open()

    def _fastest_like(self, start: Shape) -> Candidate | None:
        """What trains as the nearest offer does, with the passes that are fastest here."""
        nearest = self.space.nearest(start)
        alike = self.space.siblings(nearest.shape) if nearest else []
        offered = [one for one in alike if one.shape in self.offered]
        return max(offered, key=self.projections.rates.of, default=None)

    @property
    def _real_s(self) -> float:
        """The shortest budget of a search's probe."""
        return BUDGET_SHARES[0] * self.inputs.target_s

    def _model_to_open(self) -> Option | None:
        """The cheapest that no probe of a search's length has tried, unless that takes too much of the allowance."""
        options = [options[0] for one in self.untried_models() if (options := self.options(one))]
        cheapest = min(options, key=lambda option: option.cost_s, default=None)
        return cheapest if cheapest and cheapest.cost_s <= LARGEST_OPENING * self.inputs.allowance_s else None

    def untried_models(self) -> list[Candidate]:
        """Each model that had no probe of a search's length, at its preset's own shape: a few seconds that measured
        its speed say little of what it learns, and the table, before it knows this text, little of shapes."""
        real = {one.probe.preset for one in self.seen if is_row(one) and one.probe.seconds >= self._real_s}
        tried = real | {one.probe.preset for one in self.outcomes}
        untried = [shape for name, shape in self.space.presets.items() if name not in tried]
        return [*filter(None, map(self._fastest_like, untried))]

    def _pool(self) -> list[Candidate]:
        """What the table finds plausible, what has been measured, what the sampler proposes."""
        pool = plausible(self.projections, self._fastest, POOL)
        pool += [one for best in pool[:BEST] for one in self.space.siblings(best.shape)]
        pool += [one for params in self._propose(self.values()) if (one := self.space.candidate(params))]
        shapes = [one.shape for one in pool] + [one.probe.shape for one in self.outcomes]
        return [self.offered[shape] for shape in dict.fromkeys(shapes) if shape in self.offered]

    @cached_property
    def _fastest(self) -> list[Candidate]:
        """Of what differs only in the size of its passes, the fastest: the others at best leave memory free."""
        groups = ([one for one in alike if one.shape in self.offered] for alike in self.space.alike)
        return [max(group, key=self.projections.rates.of) for group in groups if group]


class Failures:
    """What failed probes rule out: their own shape, of a model that ran out of memory every pass as large, of one that
    diverged every step as small where none ran, and a model that failed again and again and never came to a number."""

    def __init__(self, outcomes: Sequence[Outcome]):
        ran = [one.probe for one in outcomes if one.is_ok and not went_astray(one)]
        astray = [one.probe for one in outcomes if one.status is Status.DIVERGED or went_astray(one)]
        full = [one.probe for one in outcomes if one.status is Status.OUT_OF_MEMORY]
        ended = [one.probe for one in outcomes if not one.is_ok and one.probe not in full]
        self._shapes = {probe.shape for probe in (*astray, *full, *ended)}
        ends = Counter(probe.preset for probe in {probe.key: probe for probe in (*astray, *ended)}.values())
        self._models = {preset for preset, count in ends.items() if count >= MOST_FAILURES}
        self._models -= {probe.preset for probe in ran}
        self._passes = _least((probe.preset, pass_tokens(probe.shape)) for probe in full)
        self._steps = _most((probe.preset, probe.shape.total_batch_size) for probe in astray)
        """largest that diverged, in tokens, by preset"""
        shortest_s = min((probe.seconds for probe in astray), default=0.0)
        long = [probe for probe in ran if probe.seconds >= shortest_s]
        self._safe = _least((probe.preset, probe.shape.total_batch_size) for probe in long)
        """smallest that ran as long as one that diverged"""

    def rule_out(self, candidate: Candidate | Ranked) -> bool:
        return self.speak_against(candidate.preset, candidate.shape)

    def speak_against(self, preset: str, shape: Shape) -> bool:
        too_large = preset in self._passes and pass_tokens(shape) >= self._passes[preset]
        step, smallest_that_ran = shape.total_batch_size, self._safe.get(preset)
        unsafe = step <= self._steps.get(preset, 0) and (smallest_that_ran is None or step < smallest_that_ran)
        return too_large or unsafe or shape in self._shapes or preset in self._models


def _least(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(found, reverse=True))


def _most(found: Iterable[tuple[str, int]]) -> dict[str, int]:
    return dict(sorted(found))


def _chances(outcomes: Sequence[Outcome]) -> defaultdict[str, float]:
    """That a probe of a preset comes to a number."""
    chances: defaultdict[str, float] = defaultdict(lambda: 1.0)
    for preset, ends in Counter(outcome.probe.preset for outcome in outcomes).items():
        failed = sum(outcome.probe.preset == preset and not outcome.is_ok for outcome in outcomes)
        chances[preset] = 1 - failed / (ends + 1)
    return chances
