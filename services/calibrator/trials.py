"""The search's memory and its sampler: one Optuna trial a probe, in an append-only journal.

A trial carries its probe from the moment it is begun and its outcome when it is over, so a process that takes over
from a killed one knows what was measured and what was being measured. Probes that came to no number are told as
constraints: the sampler would not see failed trials at all.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import TPESampler
from optuna.trial import FrozenTrial, Trial, TrialState, create_trial

from services.calibrator.measurement import Outcome, Probe
from services.calibrator.space import Params
from shared.sweep.journal import open_study

PROBE, OUTCOME, FAILED = "probe", "outcome", "failed"
BAD = 0.9
"""quantile of the values so far that a failed probe is told as"""
RANDOM_TRIALS = 8
"""before the sampler has a picture"""


class Trials:
    """`note` is a line when a damaged journal was set aside: the machine is then asked for its outcomes again."""

    def __init__(self, journal: Path, distributions: Mapping[str, BaseDistribution]) -> None:
        self._study, self.note = open_study(journal)
        self._distributions = dict(distributions)

    def outcomes(self) -> list[Outcome]:
        """Of every probe that is over, in the order of their beginning."""
        return [Outcome.model_validate_json(trial.user_attrs[OUTCOME]) for trial in self.told()]

    def begin(self, probe: Probe, params: Params) -> None:
        """One record of the journal: a killed process leaves all of it or nothing."""
        self._study.add_trial(
            create_trial(
                state=TrialState.RUNNING, params=params, distributions=self._distributions,
                user_attrs={PROBE: probe.model_dump_json()},
            )
        )  # fmt: skip

    def unfinished(self) -> Probe | None:
        """What was begun and is not over: by this process or by one that was killed."""
        return Probe.model_validate_json(trial.user_attrs[PROBE]) if (trial := self._running()) else None

    def finish(self, outcome: Outcome, value: float | None) -> None:
        """Of the unfinished probe. `value` is its projection to the target; None where it came to no number."""
        running = self._running()
        assert running is not None, "no probe was begun"
        trial = Trial(self._study, running._trial_id)
        if FAILED not in running.constraints:  # the process may have been killed between this and the end
            trial.set_constraint(FAILED, -1.0 if outcome.is_ok else 1.0)
        trial.set_user_attr(OUTCOME, outcome.model_dump_json())
        numbers = [one.value for one in self.told() if one.constraints[FAILED] <= 0]
        self._study.tell(trial, bad_value(numbers) if value is None else value)

    def proposals(self, values: Sequence[float | None], count: int, seed: int) -> list[Params]:
        """What multivariate TPE would try next, `values` being today's projections of outcomes()."""
        study = optuna.create_study(sampler=TPESampler(seed=seed, n_startup_trials=RANDOM_TRIALS))
        bad = bad_value(values)
        for trial, value in zip(self.told(), values, strict=True):
            study.add_trial(_with_value(trial, bad if value is None else value))
        return [study.ask(self._distributions).params for _ in range(count)]

    def told(self) -> list[FrozenTrial]:
        return self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])

    def _running(self) -> FrozenTrial | None:
        running = self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING])
        return running[0] if running else None


def bad_value(values: Sequence[float | None]) -> float:
    """What a failed probe is told as: a bad value among those there are, not one that bends the sampler's picture."""
    known = [value for value in values if value is not None]
    return float(np.quantile(known, BAD)) if known else 0.0


def _with_value(trial: FrozenTrial, value: float) -> FrozenTrial:
    return create_trial(
        value=value, params=trial.params, distributions=trial.distributions, system_attrs=trial.system_attrs
    )
