"""Which setting phase tune takes from what it measured."""

import pytest

from services.calibrator.measurement import Outcome, Probe
from services.calibrator.tune import SECONDS, concluded
from shared.contracts import Status
from shared.experiment.platform_default import Tuning
from shared.experiment.presets import find_preset

SHAPE = find_preset("m5-tiny").shape


def tried(tok_per_sec: float, wall_seconds: float, **tuning: str) -> Outcome:
    probe = Probe(preset="m5-tiny", shape=SHAPE, seconds=SECONDS, tuning=Tuning.model_validate(tuning))
    return Outcome(probe=probe, status=Status.OK, tok_per_sec=tok_per_sec, wall_seconds=wall_seconds)


@pytest.mark.parametrize(
    ("compiled", "compiling_counts", "chosen"),
    [
        ((1060.0, 43.0), False, "on"),
        ((1060.0, 43.0), True, "auto"),  # 30 s of 300 are a tenth
        ((1200.0, 43.0), True, "on"),
        ((1020.0, 13.0), True, "auto"),
    ],
)
def test_where_compiling_counts_as_training_it_must_win_more_than_it_takes(compiled, compiling_counts, chosen):
    outcomes = [tried(1000.0, 13.0), tried(*compiled, compile="on")]
    assert concluded(outcomes, [], compiling_counts=compiling_counts).tuning.compile == chosen
