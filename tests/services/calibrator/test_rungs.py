"""What scoring costs on each rung and with each evaluation batch, on an evaluator that is a formula."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest

from services.calibrator.calibrate import Session, calibrate
from services.calibrator.eval_batch import BatchCost, fastest
from services.calibrator.experiments import copied
from services.calibrator.rungs import KeptCheckpoint, measure_rungs
from shared.calibration.events import read_events
from shared.contracts import Rung, Status
from shared.experiment.platform_default import read_default
from shared.runs.directory import RunDirectory
from shared.settings import settings
from tests.services.calibrator.simulated_stages import SimulatedStages
from tests.services.calibrator.test_calibrate import job_of, own_home, use  # noqa: F401

USUAL = 6
"""rows that follow from m5-tiny's 12,288 tokens a step"""


@dataclass
class Evaluator(SimulatedStages):
    """Scoring costs by rows at once."""

    speed: dict[int, float] = field(default_factory=lambda: {3: 0.8, 6: 1.0, 12: 1.5})
    most_rows: int = 100
    scored: list[tuple[str, Rung, int]] = field(default_factory=list)
    broken: int = 0
    """rows with which scoring runs out of memory"""

    def _score(self, directory, arguments, watch):
        job = directory.job()
        rows = min(self.most_rows, job.eval_batch_size or USUAL)
        flops, self.flops = self.flops, self.flops * self.speed.get(rows, 1.0)
        self.scored.append((directory.path.name, Rung(arguments[0] if arguments else job.rung), rows))
        super()._score(directory, arguments, watch)
        self.flops = flops
        record = directory.evaluation().model_copy(update={"eval_batch_size": rows})
        if rows == self.broken:
            record = record.model_copy(update={"status": Status.OUT_OF_MEMORY, "reason": "no room", "val_bpb": None})
        directory.evaluation_file.write_text(record.model_dump_json())


@pytest.fixture(scope="module")
def trained(prepared_home, tmp_path_factory):
    """The run id of a confirming run, with its weights, of a calibration in mode full."""
    place = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        use(place, prepared_home, patch)
        stages = SimulatedStages()
        calibrate(job_of(budget=2, presets="m5-tiny"), stages, now=stages.clock)
        (checkpoint,) = settings().runs.glob("cal-*/checkpoint/latest.json")
    settings.cache_clear()
    return place, checkpoint.parent.parent.name


@pytest.fixture
def bench(trained, monkeypatch):
    """measure_rungs on that run, and what it left of it."""

    place, run_id = trained
    use_again(place, monkeypatch)

    def measured(evaluator: Evaluator, mode="full", allowance_s=600.0, minutes=60):
        job = job_of(mode=mode, budget=minutes, presets="m5-tiny")
        session = Session(job.place, job.calibration, evaluator, evaluator.clock)
        return measure_rungs(session.work, session.machine, KeptCheckpoint(run_id=run_id), allowance_s)

    yield measured, RunDirectory.of(run_id)
    settings.cache_clear()


def use_again(place: Path, patch) -> None:
    patch.setenv("ARE_HOME", str(place / "home"))
    patch.setenv("ARE_RUNS", str(place / "runs"))
    settings.cache_clear()


def test_the_cheapest_evaluation_batch_is_kept_and_larger_rungs_are_scored_with_it(bench):
    measured, _ = bench
    evaluator = Evaluator()
    costs = measured(evaluator)
    assert costs.eval_batch_size == 12
    assert [one.rows for one in costs.batches] == [6, 12, 3]
    assert {rows for _, rung, rows in evaluator.scored if rung is not Rung.CHEAP} <= {12}
    usual, double, half = (one.seconds for one in costs.batches)
    assert double < usual < half
    assert costs.costs[0].seconds == double


def test_a_batch_that_does_not_fit_is_not_chosen_whatever_it_would_cost(bench):
    measured, _ = bench
    costs = measured(Evaluator(broken=12))
    assert costs.eval_batch_size == 6
    assert [one.reason for one in costs.batches if one.rows == 12] == ["out_of_memory: no room"]
    costs = measured(Evaluator(most_rows=8))
    assert costs.eval_batch_size == 6
    assert [one.reason for one in costs.batches if one.rows == 12] == ["at most 8 rows are scored at once"]


def test_a_gain_below_three_percent_changes_nothing():
    usual = BatchCost(rows=6, seconds=100.0)
    assert fastest([usual, BatchCost(rows=12, seconds=98.0)]) == 6
    assert fastest([usual, BatchCost(rows=12, seconds=96.0), BatchCost(rows=3, seconds=90.0)]) == 3
    assert fastest([]) is None


def test_mode_fast_scores_with_the_batch_that_follows_from_training(bench):
    measured, _ = bench
    evaluator = Evaluator()
    costs = measured(evaluator, mode="fast")
    assert (costs.eval_batch_size, costs.batches) == (None, ())
    assert {rows for _, _, rows in evaluator.scored} == {USUAL}


def test_a_run_that_is_scored_again_keeps_its_own_records(bench):
    measured, run = bench
    files = (run.job_file, run.evaluation_file, run.result_file)
    before = [file.read_bytes() for file in files]
    evaluator = Evaluator()
    measured(evaluator)
    assert [file.read_bytes() for file in files] == before
    assert {name for name, _, _ in evaluator.scored} == {f"{run.path.name}-again"}
    assert not list(settings().runs.glob("*-again"))


def test_a_copy_that_a_killed_process_left_is_made_anew(bench):
    _, run = bench
    (run.path.with_name(f"{run.path.name}-again") / "checkpoint").mkdir(parents=True)
    with copied(run, 12) as copy:
        assert copy.job().eval_batch_size == 12
        assert copy.has_checkpoint()


def test_a_rung_that_cannot_be_paid_is_not_begun(bench):
    measured, _ = bench
    evaluator = Evaluator()
    costs = measured(evaluator, mode="fast", allowance_s=5.0)
    assert evaluator.scored == []
    assert [one.split(":")[0] for one in costs.left_out] == ["cheap", "reference"]
    assert costs.chosen is Rung.CHEAP


def test_a_full_calibration_keeps_the_batch_in_the_default_and_says_it():
    evaluator = Evaluator()
    job = job_of(mode="full", budget=30, presets="m5-tiny")
    default = calibrate(job, evaluator, now=evaluator.clock)
    assert default.eval_batch_size in {rows for _, _, rows in evaluator.scored}
    assert read_default(default.hardware_key, "torch").eval_batch_size == default.eval_batch_size
    assert "Evaluation batch" in (job.place / "report.md").read_text()
    assert any(event.says.startswith("evaluation batch 12: ") for event in read_events(job.place)[0])
