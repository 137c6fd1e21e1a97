"""What a run says of its shape that others disturbed, or that took longer than its budget."""

import pytest

from services.calibrator.conclusion import platform_default
from services.calibrator.experiments import outcome_of
from services.calibrator.findings import own_table
from services.calibrator.measurement import Probe, counting
from services.calibrator.noise import concluded
from services.calibrator.projection import Projections
from services.calibrator.report.markdown import as_markdown
from services.calibrator.report.points import Points
from services.calibrator.report.promotion import rows_to_share
from services.calibrator.report.subject import Subject
from services.calibrator.report.write import build_report
from shared.contracts import Unranked
from shared.experiment.platform_default import Confidence
from shared.runs.directory import RunDirectory
from tests.services.calibrator.simulated import simulated_calibration
from tests.services.calibrator.test_confirm import SMALL, TABLE, TINY, outcome
from tests.shared.tracking.finished_runs import make_result

pytestmark = pytest.mark.usefixtures("workplace")
BUSY, LATE = Unranked.BUSY_MACHINE, Unranked.OVER_BUDGET


def runs(*disturbed, shape=TINY):
    """One for each, with a seed and a score of its own."""
    probes = [Probe(preset="m5-tiny", shape=shape, seconds=20, seed=1001 + place) for place in range(len(disturbed))]
    scores = [1.5 + 0.01 * place for place in range(len(disturbed))]
    return [
        outcome(probe, score).model_copy(update={"disturbed": causes})
        for probe, score, causes in zip(probes, scores, disturbed, strict=True)
    ]


@pytest.mark.parametrize("cause", [BUSY, LATE])
def test_an_outcome_keeps_what_disturbed_its_run(tmp_path, cause):
    result = make_result().model_copy(update={"ranked": False, "unranked": (Unranked.DEMO_CORPUS, cause)})
    probe = Probe(preset="m5-tiny", shape=TINY, seconds=20)
    found = outcome_of(probe, RunDirectory(tmp_path), result, 1.0)
    assert (found.disturbed, found.is_ok, found.is_undisturbed) == ((cause,), True, False)


def test_disturbed_seeds_are_left_out_of_the_noise_floor_and_counted():
    noise = concluded(runs((), (BUSY,), (), (LATE,), (BUSY,)), 5)
    assert noise.floor.num_seeds == 2
    assert noise.floor.sigma == pytest.approx(0.02 / 2**0.5)
    assert "3 of 5 runs were disturbed (busy_machine 2, over_budget 1) and are left out" in noise.reason


def test_where_too_few_seeds_are_left_there_is_no_noise_floor_and_the_reason_says_what_to_do():
    noise = concluded(runs((), (BUSY,), (BUSY,)), 3)
    assert noise.floor is None
    assert noise.reason.startswith("3 of 3 runs came to a number, and 2 of 3 runs were disturbed (busy_machine 2)")
    assert "calibrate --force" in noise.reason


def test_a_disturbed_run_counts_only_where_its_shape_has_no_other():
    both, alone = runs((BUSY,), ()), runs((BUSY,), shape=SMALL)
    assert counting([*both, *alone]) == [both[1], *alone]
    projections = Projections(TABLE, {}, [*both, *alone], 300)
    assert projections.numbers == [both[1], *alone]


@pytest.fixture
def busy(tmp_path):
    folder = tmp_path / "calibration"
    presets = ("m5-tiny", "m5-small")
    work, found = simulated_calibration(folder, search_s=100.0, presets=presets, disturbed=(BUSY,))
    return folder, work, found


def test_a_machine_that_is_always_busy_has_a_default_of_low_confidence_that_says_why(busy):
    folder, work, found = busy
    default = platform_default(work, found)
    assert default.is_measured
    assert default.noise is None
    assert default.confidence is Confidence.LOW
    assert "were disturbed (busy_machine" in default.reason
    assert "let the machine do nothing else" in default.reason
    assert own_table(work.table, found).rows != work.table.rows
    subject = Subject(folder, work, found, default)
    assert rows_to_share(subject) == []
    report = build_report(subject, Points(subject))
    cut = {phase.phase: " ".join(phase.cut_short) for phase in report.phases}
    assert "were disturbed" in cut["search"]
    assert "calibrate --force" in cut["noise"]
    assert "were disturbed" in as_markdown(report, {})


def test_the_same_machine_undisturbed_has_a_noise_floor(tmp_path):
    work, found = simulated_calibration(tmp_path / "calibration", search_s=100.0, presets=("m5-tiny", "m5-small"))
    default = platform_default(work, found)
    assert default.noise is not None
    assert default.confidence is not Confidence.LOW
    assert "disturbed" not in default.reason
