"""Machines on which probes fail: whatever happens to them, there is a default in the end, with how sure it is."""

import json
from dataclasses import replace

import pytest

from services.calibrator.findings import Findings
from services.calibrator.measurement import Outcome, Probe
from services.calibrator.tune import Tuned
from services.calibrator.unmeasured import next_step, reason_of, start_of
from shared.calibration.events import read_events
from shared.contracts import Rung, Status
from shared.experiment.platform_default import Confidence, Tuning, read_default, write_default
from shared.experiment.presets import find_preset
from shared.experiment.request import TrainRequest, build_job
from shared.quality import QualityRow
from tests.platform_defaults import calibrated, unmeasured
from tests.services.calibrator.simulated_stages import SimulatedStages, failing_in
from tests.services.calibrator.test_calibrate import job_of, own_home, run  # noqa: F401

EVERY_PROBE = {
    "hangs": ("hangs", "timed_out", "give more minutes (--budget)"),
    "crashes": (Status.CRASHED, "crashed", "find out what is wrong"),
    "runs out of memory": (Status.OUT_OF_MEMORY, "out_of_memory", "end whatever else uses the device's memory"),
    "comes to nan": (Status.DIVERGED, "diverged", "--set dtype=fp32"),
}


def always(fault) -> SimulatedStages:
    return SimulatedStages(fault=lambda job: fault)


def report_of(job):
    return json.loads((job.place / "report.json").read_bytes()), (job.place / "report.md").read_text()


@pytest.mark.parametrize("name", EVERY_PROBE)
def test_where_every_probe_fails_there_is_a_default_that_says_so_why_and_what_to_do(name):
    fault, end, advice = EVERY_PROBE[name]
    default, stages = run(job_of(), always(fault))
    assert (default.confidence, default.is_measured, default.family) == (Confidence.NONE, False, "m5-tiny")
    assert (default.val_bpb, default.tok_per_sec, default.noise) == (None, None, None)
    assert default.reason.startswith(
        f"no probe came to a number ({len(stages.trained)} {end.replace('_', ' ')}, first: "
    )
    assert advice in default.next_step
    assert default.next_step.endswith("then run autoresearch calibrate again")
    assert read_default(default.hardware_key, "torch") == default
    assert stages.clock() <= 610
    report, text = report_of(job_of())
    assert {one["status"] for one in report["failures"]} == {end}
    assert all(one["reason"] and one["sources"] for one in report["failures"])
    assert len(report["failures"]) == len({job.run_id for job in stages.trained})
    assert f"**none**: {default.reason}" in text
    assert f"What to do next: {default.next_step}." in text
    assert "## Probes that came to no number" in text
    assert not (job_of().place / "promotion").exists()


def test_where_memory_ran_out_the_default_has_the_smallest_passes_and_the_same_step():
    default, _ = run(job_of(), always(Status.OUT_OF_MEMORY))
    assert default.shape == find_preset("m5-tiny").shape.model_copy(update={"device_batch_size": 1})


def test_train_without_a_preset_uses_it_and_says_that_nothing_was_measured():
    default, _ = run(job_of(), always(Status.CRASHED))
    job, _ = build_job(TrainRequest(engine="torch", device="cpu"))
    (choice,) = [one for one in job.choices if one.what == "shape"]
    assert (job.shape, choice.chosen) == (default.shape, "m5-tiny, not measured")
    assert choice.reason == (
        "the platform default, unmeasured: no probe came to a number when it was calibrated today; autoresearch "
        "calibrate measures again"
    )


def test_the_next_calibration_tries_every_probe_again_and_its_default_takes_the_place():
    _, broken = run(job_of(), always(Status.CRASHED))
    default, mended = run(job_of())
    assert {job.run_id for job in broken.trained} & {job.run_id for job in mended.trained}
    assert default.is_measured
    assert read_default(default.hardware_key, "torch") == default
    says = [event.says for event in read_events(job_of().place)[0]]
    assert "the last calibration in this folder measured nothing: its probes are tried again" in says
    report, text = report_of(job_of())
    assert report["machine"]["standing"].startswith("unmeasured: no probe came to a number")
    assert report["failures"] == []
    assert "## Probes that came to no number\n\nNone." in text


def test_a_default_that_was_measured_here_stays_and_gives_its_shape_to_one_that_was_not():
    earlier = calibrated(confidence="high")
    write_default(earlier)
    default, _ = run(job_of(), always("hangs"))
    assert read_default(earlier.hardware_key, "torch") == earlier
    assert (default.shape, default.tuning, default.confidence) == (earlier.shape, earlier.tuning, Confidence.NONE)
    assert "which was measured here and stays in use" in default.reason


@pytest.mark.parametrize("kind", ["damaged", "unmeasured"])
def test_one_that_is_damaged_or_was_not_measured_either_is_replaced(kind):
    path = write_default(unmeasured())
    if kind == "damaged":
        path.write_text("{")
    default, _ = run(job_of(), always(Status.CRASHED))
    assert read_default(default.hardware_key, "torch") == default


def test_where_only_the_confirmation_fails_the_search_chooses_and_the_default_says_what_failed():
    job = job_of()
    default, _ = run(job, failing_in("confirm", job, Status.CRASHED))
    assert (default.confidence, default.is_measured) == (Confidence.LOW, True)
    assert (
        "no confirming run came to a number (crashed): autoresearch calibrate --force tries them again"
        in default.reason
    )
    report, _ = report_of(job)
    assert {one["phase"] for one in report["failures"]} == {"confirm"}


SHORT_RUNS = {"time_budget": 30, "budget": 10}
"""which leave minutes to extend"""


@pytest.mark.parametrize("phase", ["tune", "envelope", "search", "noise", "extend"])
def test_where_every_probe_of_one_phase_fails_the_others_still_bring_it_to_its_end(phase):
    job = job_of(presets="m5-tiny,m5-small", **(SHORT_RUNS if phase == "extend" else {"budget": 6}))
    default, _ = run(job, failing_in(phase, job, Status.CRASHED))
    assert default.is_measured
    report, _ = report_of(job)
    assert {one["phase"] for one in report["failures"]} == {phase}
    assert (default.noise is None) == (phase == "noise")


def test_where_every_run_of_pairing_crashes_there_is_a_default_without_pairing():
    job = job_of(mode="full", presets="m5-tiny,m5-small", budget=30)
    default, _ = run(job, failing_in("pairing", job, Status.CRASHED))
    assert default.noise.pairing is None
    assert "0 pairs came to a number" in report_of(job)[1]


def test_where_no_checkpoint_can_be_scored_again_the_rung_is_the_canonical_one():
    class Unscored(SimulatedStages):
        def _score(self, directory, arguments, watch):
            if arguments:
                directory.evaluation_file.unlink(missing_ok=True)
                return
            super()._score(directory, arguments, watch)

    job = job_of(presets="m5-tiny,m5-small", budget=4)
    default, _ = run(job, Unscored())
    assert (default.rung, default.is_measured) == (Rung.CHEAP, True)
    assert "the evaluator left no record" in report_of(job)[1]


def test_what_takes_nearly_all_of_the_memory_is_a_default_of_low_confidence_and_not_none():
    job = job_of(presets="m5-tiny,m5-small", budget=4)
    crowded = job.calibration.model_copy(update={"memory_mb": 12.0})
    default, _ = run(job.model_copy(update={"calibration": crowded}))
    assert (default.confidence, default.family) == (Confidence.LOW, "m5-tiny")
    assert "of the device's memory, and nothing that ran takes less" in default.reason


def failed(status, **changed) -> Outcome:
    shape = find_preset("m5-tiny").shape.model_copy(update=changed)
    probe = Probe(preset="m5-tiny", shape=shape, seconds=5, rung=Rung.SMOKE)
    return Outcome(probe=probe, status=status, reason="it fell over", run_id="cal-1-1")


def findings(*outcomes) -> Findings:
    return Findings(tune=Tuned(tuning=Tuning(), reason="", tried=outcomes))


@pytest.fixture
def known_here(reported):
    """The simulated machine's work, with runs of two models on the same hardware among what is known."""
    key = reported.work.calibration.hardware_key
    rows = [
        QualityRow(
            source=f"{name} before", dataset="d", shape=find_preset(name).shape, num_tokens=10**6, val_bpb=score,
            hardware_key=key,
        )
        for name, score in (("m5-tiny", 1.9), ("m5-balanced", 1.4))
    ]  # fmt: skip
    return replace(reported.work, table=reported.work.table.with_rows(rows))


def test_a_shape_that_scored_lowest_on_this_hardware_before_is_taken_unless_a_probe_speaks_against_it(known_here):
    start = start_of(known_here, findings(failed(Status.CRASHED)), None)
    assert (start.preset, start.why) == (
        "m5-balanced", "the shape is what scored lowest before on this hardware (m5-balanced before)",
    )  # fmt: skip
    balanced = failed(Status.OUT_OF_MEMORY).probe.model_copy(
        update={"preset": "m5-balanced", "shape": find_preset("m5-balanced").shape}
    )
    full = Outcome(probe=balanced, status=Status.OUT_OF_MEMORY)
    assert start_of(known_here, findings(full), None).preset == "m5-tiny"


def test_a_line_tells_how_probes_ended_and_the_commonest_end_decides_what_to_do(reported):
    ends = [failed(Status.OUT_OF_MEMORY, device_batch_size=rows) for rows in (1, 2)]
    found = findings(failed(Status.CRASHED), *ends)
    said = reason_of(reported.work, found, start_of(reported.work, found, None))
    assert said.startswith("no probe came to a number (2 out of memory, first: it fell over; 1 crashed: it fell over)")
    assert next_step(reported.work, found) == (
        "end whatever else uses the device's memory: `autoresearch doctor` and `autoresearch train --smoke --preset "
        "m5-tiny --engine torch --device cpu` show more; then run autoresearch calibrate again"
    )
