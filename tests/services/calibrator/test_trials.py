"""The search's journal: what a killed writer leaves behind, and what the sampler is told of failures."""

import os
from pathlib import Path

import pytest
from optuna.distributions import CategoricalDistribution, IntDistribution
from optuna.trial import TrialState

from services.calibrator.measurement import Outcome, Probe
from services.calibrator.trials import FAILED, Trials, bad_value
from shared.contracts import Status
from shared.experiment.presets import PRESETS

DISTRIBUTIONS = {"preset": CategoricalDistribution(["m5-tiny", "m5-small"]), "step": IntDistribution(0, 9)}
PARAMS = {"preset": "m5-tiny", "step": 3}


def probe(seconds: float = 10.0) -> Probe:
    return Probe(preset="m5-tiny", shape=PRESETS["m5-tiny"].shape, seconds=seconds)


def outcome(seconds: float = 10.0, val_bpb: float | None = 1.5, status: Status = Status.OK) -> Outcome:
    return Outcome(probe=probe(seconds), status=status, val_bpb=val_bpb, num_tokens=12288, wall_seconds=20)


def opened(tmp_path: Path) -> Trials:
    return Trials(tmp_path / "search.journal", DISTRIBUTIONS)


def with_outcomes(tmp_path: Path, *outcomes: Outcome) -> Trials:
    trials = opened(tmp_path)
    for one in outcomes:
        trials.begin(one.probe, PARAMS)
        trials.finish(one, one.val_bpb)
    return trials


def test_a_second_process_knows_what_is_over_and_what_is_not(tmp_path):
    with_outcomes(tmp_path, outcome(10)).begin(probe(20), PARAMS)
    found = opened(tmp_path)
    assert found.outcomes() == [outcome(10)]
    assert found.unfinished() == probe(20)


def test_half_a_line_of_a_killed_writer_is_dropped(tmp_path):
    with_outcomes(tmp_path, outcome(10), outcome(20))
    with open(tmp_path / "search.journal", "a") as journal:
        journal.write('{"op_code": 4, "worker_')
    found = with_outcomes(tmp_path, outcome(30))
    assert found.outcomes() == [outcome(10), outcome(20), outcome(30)]
    assert found.note == ""


@pytest.mark.parametrize("length", [0.2, 0.5, 0.8, 0.97])
def test_a_journal_cut_anywhere_is_read_up_to_there(length, tmp_path):
    with_outcomes(tmp_path, outcome(10), outcome(20), outcome(30))
    journal = tmp_path / "search.journal"
    os.truncate(journal, int(length * journal.stat().st_size))
    found = opened(tmp_path)
    assert found.note == ""
    kept = found.outcomes()
    assert kept == [outcome(10), outcome(20), outcome(30)][: len(kept)]
    if found.unfinished():
        found.finish(outcome(30), 1.5)


def test_a_damaged_journal_is_set_aside_and_named(tmp_path):
    with_outcomes(tmp_path, outcome(10))
    journal = tmp_path / "search.journal"
    journal.write_bytes(journal.read_bytes().replace(b'"op_code":4', b'"op_code:4', 1))
    found = opened(tmp_path)
    assert found.outcomes() == []
    assert "search.journal could not be read" in found.note
    assert (tmp_path / "search.damaged").exists()
    assert opened(tmp_path).note == ""


@pytest.mark.parametrize("status", [Status.OUT_OF_MEMORY, Status.CRASHED, Status.TIMED_OUT, Status.DIVERGED])
def test_a_failed_probe_is_a_constraint_and_a_bad_value_not_a_failed_trial(status, tmp_path):
    numbers = [outcome(10 + place, 1.0 + 0.1 * place) for place in range(10)]
    trials = with_outcomes(tmp_path, *numbers, outcome(50, None, status))
    told = trials.told()[-1]
    assert told.state is TrialState.COMPLETE
    assert told.constraints[FAILED] > 0
    assert told.value == pytest.approx(bad_value([one.val_bpb for one in numbers]))
    assert 1.5 < told.value < 1.9


def test_proposals_follow_todays_values_and_the_seed(tmp_path):
    trials = with_outcomes(tmp_path, *(outcome(10 + place, 1.0 + 0.1 * place) for place in range(10)))
    values = [1.0, 1.1, None, *(1.2 + 0.1 * place for place in range(7))]
    assert trials.proposals(values, 4, seed=1) == trials.proposals(values, 4, seed=1)
    assert trials.proposals(values, 4, seed=1) != trials.proposals(values, 4, seed=2)
    assert len(trials.told()) == 10
