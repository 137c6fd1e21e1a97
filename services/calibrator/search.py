"""The search phase: which shape scores lowest here at the target budget, by completed short probes.

    search(inputs, table, machine, directory) -> SearchResult

Killed at any moment, it goes on from its journal in the directory and measures nothing twice.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Literal

from services.calibrator.gain import Option
from services.calibrator.measurement import Machine, Outcome, Probe
from services.calibrator.outlook import Outlook, SearchInputs
from services.calibrator.ranking import Ranked, ranking, shortened
from services.calibrator.space import Params
from services.calibrator.trials import Trials
from shared.contracts import Contract
from shared.quality import QualityTable

FEWEST_NUMBERS = 3
"""of this machine's own before it may be sure, whatever a table from elsewhere says"""
SURE = 0.9
PROPOSALS = 8
NUM_RANKED = 10


class SearchResult(Contract):
    ranked: tuple[Ranked, ...]
    """best first, among them the best of each model and the best that ran; empty when every shape failed"""
    stopped: Literal["", "sure", "allowance", "exhausted"]
    """why it ended; empty while it goes on"""
    sure: float
    """probability that no other shape is better than the first by more than `margin`"""
    margin: float
    """of val_bpb, within which shapes are equals"""
    noise: float
    """standard deviation of a run's val_bpb, as the table has learned it"""
    spent_s: float
    """wall-clock seconds of the probes"""
    outcomes: tuple[Outcome, ...]
    note: str = ""
    """what could not be read of an earlier search"""


def search(
    inputs: SearchInputs, table: QualityTable, machine: Machine, directory: Path, *,
    known: Sequence[Outcome] = (), on_outcome: Callable[[Outcome, SearchResult], None] | None = None,
) -> SearchResult:  # fmt: skip
    """`known`: this machine's earlier outcomes with the same tuning, which tell rates, costs and quality.

    `on_outcome` gets each new outcome and how things stand with it. ValueError when no shape fits, and the machine's.
    """
    state = Search(inputs, table, machine, directory, known)
    while probe := state.next_probe():
        outcome = state.measure(probe)
        if on_outcome:
            on_outcome(outcome, state.result())
    return state.result()


class Search:
    def __init__(
        self, inputs: SearchInputs, table: QualityTable, machine: Machine, directory: Path, known: Sequence[Outcome]
    ) -> None:
        self.inputs, self.table, self.machine, self.known = inputs, table, machine, tuple(known)
        self.space = inputs.space()
        self.trials = Trials(directory / inputs.journal, self.space.distributions)
        self.stopped: Literal["", "sure", "allowance", "exhausted"] = ""
        self._look(self.trials.outcomes())

    def next_probe(self) -> Probe | None:
        """The unfinished one, or a new one, then begun in the journal; None when it is over: see `stopped`."""
        if probe := self.trials.unfinished():
            return probe
        outlook = self.outlook
        option = (
            outlook.opening() or (None if self._is_sure() else outlook.beliefs.best_option()) or self._trial_of_choice()
        )
        if option is None:
            self.stopped = "sure" if self._is_sure() else "allowance" if self.outlook.offered else "exhausted"
            return None
        probe = Probe(
            preset=option.candidate.preset, shape=option.candidate.shape, seconds=option.seconds,
            seed=self.inputs.probe_seed, rung=self.inputs.rung, tuning=self.inputs.tuning,
        )  # fmt: skip
        self.trials.begin(probe, self.space.params(probe.shape))
        return probe

    def _trial_of_choice(self) -> Option | None:
        """The shortest budget of a choice that never ran here: it may crash like any other."""
        choice = next(iter(self.result().ranked), None)
        if choice is None or choice.probes:
            return None
        return next(iter(self.outlook.options(self.space.candidates[choice.shape])), None)

    def measure(self, probe: Probe) -> Outcome:
        rate = self.outlook.projections.rates.of(self.space.candidates[probe.shape])
        outcome = self.machine.measure(probe, self.outlook.costs.limit(probe.seconds, rate))
        self._look([*self.outlook.outcomes, outcome])
        self.trials.finish(outcome, self.outlook.projections.value(outcome))
        return outcome

    def result(self) -> SearchResult:
        outlook = self.outlook
        ranked = ranking(outlook.beliefs, outlook.seen, outlook.margin)
        sure = outlook.beliefs.chance_of_best(ranked[0].shape, outlook.margin) if ranked else 0.0
        return SearchResult(
            ranked=tuple(shortened(ranked, NUM_RANKED)), stopped=self.stopped, sure=sure, margin=outlook.margin,
            noise=outlook.projections.table.noise, spent_s=outlook.spent_s, outcomes=outlook.outcomes,
            note=self.trials.note,
        )  # fmt: skip

    def _is_sure(self) -> bool:
        numbers = sum(outcome.is_ok for outcome in self.outlook.outcomes)
        return numbers >= FEWEST_NUMBERS and self.result().sure > SURE

    def _look(self, outcomes: Sequence[Outcome]) -> None:
        self.outlook = Outlook(self.inputs, self.space, self.table, self.known, outcomes, self._propose)

    def _propose(self, values: Sequence[float | None]) -> list[Params]:
        return self.trials.proposals(values, PROPOSALS, seed=self.inputs.seed + len(values))
