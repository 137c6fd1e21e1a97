"""What a sweep tries next: the points of a list in their order, or what Optuna proposes for a space.

The base, unchanged, comes first in both. Optuna ignores trials that failed, so one without a number is told the value
that 90 % of the others stay below: bad, but not so bad that it hides all differences.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shared.files import sha256_bytes
from shared.sweep.folder import Begun, Ended
from shared.sweep.journal import open_study
from shared.sweep.plan import Dimension, Plan, Point, Range, Scalar, Space

if TYPE_CHECKING:
    from optuna import Study
    from optuna.distributions import BaseDistribution

FAILED_QUANTILE = 0.9
MOST_REPEATS = 200
"""proposals in a row that were tried before: then the space is taken for exhausted"""
SET, CONSTANT = "set.", "constants."


class Listed:
    def __init__(self, plan: Plan) -> None:
        self.points = (Point(), *plan.points)

    def next(
        self, number: int, begun: Mapping[int, Begun], ended: Mapping[int, Ended]
    ) -> tuple[Point, int | None] | None:
        """The point of this number and its trial, none that was begun before; None when nothing is left to try."""
        return (self.points[number], None) if number < len(self.points) else None

    def tell(self, begun: Begun, ended: Ended) -> None:
        """A list does not learn."""


class Searched:
    def __init__(self, space: Space, journal: Path, tag: str) -> None:
        from optuna.samplers import TPESampler

        self.distributions = distributions(space)
        self.study, self.note = open_study(journal)
        # with the seed alone, a sweep that was started again would draw what it has drawn before
        seed = int(sha256_bytes(f"{tag} {len(self.study.get_trials(deepcopy=False))}".encode())[:8], 16)
        self.study.sampler = TPESampler(multivariate=True, constant_liar=True, seed=seed)

    def take_up(self, begun: Mapping[int, Begun], ended: Mapping[int, Ended]) -> None:
        """After a restart: trials that were never begun are given up, ends that were not told are told."""
        known = {record.trial: record for record in begun.values() if record.trial is not None}
        for trial in self.study.get_trials(deepcopy=False):
            record = known.get(trial.number)
            if record is None and not trial.state.is_finished():
                self._give_up(trial.number)
            elif record is not None and record.number in ended and not trial.state.is_finished():
                self.tell(record, ended[record.number])

    def next(
        self, number: int, begun: Mapping[int, Begun], ended: Mapping[int, Ended]
    ) -> tuple[Point, int | None] | None:
        if number == 0:
            return Point(), None
        for _ in range(MOST_REPEATS):
            trial = self.study.ask(self.distributions)
            point = as_point(trial.params)
            twin = next((record for record in begun.values() if record.point == point), None)
            if twin is None:
                return point, trial.number
            self._tell(trial.number, ended[twin.number].val_bpb if twin.number in ended else None)
        return None

    def tell(self, begun: Begun, ended: Ended) -> None:
        if begun.trial is None or begun.trial >= len(self.study.get_trials(deepcopy=False)):
            return
        self._tell(begun.trial, ended.val_bpb)

    def _tell(self, trial: int, val_bpb: float | None) -> None:
        value = val_bpb if val_bpb is not None else penalty(self.study)
        if value is None:
            self._give_up(trial)
        else:
            self.study.tell(trial, value, skip_if_finished=True)

    def _give_up(self, trial: int) -> None:
        from optuna.trial import TrialState

        self.study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)


def proposals_of(plan: Plan, journal: Path, tag: str) -> Listed | Searched:
    return Listed(plan) if plan.space is None else Searched(plan.space, journal, tag)


def penalty(study: "Study") -> float | None:
    """None when no trial has a number yet."""
    values = [trial.value for trial in study.get_trials(deepcopy=False) if trial.value is not None]
    return float(np.quantile(values, FAILED_QUANTILE)) if values else None


def distributions(space: Space) -> dict[str, "BaseDistribution"]:
    named = {SET + name: dimension for name, dimension in space.set.items()}
    named |= {CONSTANT + name: dimension for name, dimension in space.constants.items()}
    return {name: distribution(dimension) for name, dimension in named.items()}


def distribution(dimension: Dimension) -> "BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if not isinstance(dimension, Range):
        return CategoricalDistribution(dimension)
    if dimension.is_whole:
        step = int(dimension.step or 1)
        return IntDistribution(int(dimension.low), int(dimension.high), log=dimension.log, step=step)
    return FloatDistribution(float(dimension.low), float(dimension.high), log=dimension.log, step=dimension.step)


def as_point(params: Mapping[str, Any]) -> Point:
    settings = {name.removeprefix(SET): value for name, value in params.items() if name.startswith(SET)}
    constants: dict[str, Scalar] = {
        name.removeprefix(CONSTANT): value for name, value in params.items() if name.startswith(CONSTANT)
    }
    return Point(set=settings, constants=constants)
