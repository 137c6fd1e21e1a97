"""What probes are scored on."""

from services.calibrator.prior import affordable_rung
from shared.contracts import Rung
from shared.data.dataset import MAX_VALIDATION_ROWS

ONE_OF_CHEAP = 262_144


def test_the_largest_rung_that_costs_no_more_than_a_probes_training_is_taken():
    rung, reason = affordable_rung(3.0 / ONE_OF_CHEAP, MAX_VALIDATION_ROWS, 300)
    assert (rung, reason) == (Rung.CHEAP, "scoring a probe on cheap would take 6 s, 19 s are affordable")
    rung, reason = affordable_rung(30.0 / ONE_OF_CHEAP, MAX_VALIDATION_ROWS, 300)
    assert rung is Rung.PROBE
    assert reason.endswith("scoring a probe on probe would take 15 s, 38 s are affordable")
    assert affordable_rung(90.0 / ONE_OF_CHEAP, MAX_VALIDATION_ROWS, 300)[0] is Rung.SMOKE


def test_a_small_corpus_makes_cheap_affordable():
    assert affordable_rung(30.0 / ONE_OF_CHEAP, 16, 300)[0] is Rung.CHEAP
