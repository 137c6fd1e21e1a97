"""A whole calibration on simulated stages: what it ends with, what it survives, and that it measures nothing twice."""

import json
import os
import random
import shutil
import time
from collections import Counter

import pytest

from services.calibrator.calibrate import PHASES, calibrate
from services.calibrator.findings import Preferred
from services.calibrator.report import write
from shared.calibration.events import read_events
from shared.calibration.job import CalibrateJob, Calibration, CalibrationRequest, build_calibration
from shared.contracts import Status
from shared.experiment.platform_default import Confidence, read_default
from shared.files import write_atomic
from shared.quality.model_size import model_size
from shared.runs.directory import RunDirectory
from shared.settings import settings
from shared.stages.executors import DISK_FAULT
from tests.services.calibrator.simulated_stages import VOCAB_SIZE, SimulatedStages


def use(place, prepared_home, patch):
    """The prepared datasets, with platform and runs folders below `place`. Plots are drawn in test_report.py."""
    patch.setattr(write, "draw_all", lambda *_: ({}, []))
    (place / "home").mkdir(exist_ok=True)
    (place / "runs").mkdir(exist_ok=True)
    for name in ("datasets", "validation"):
        (place / "home" / name).symlink_to(prepared_home / name)
    patch.setenv("ARE_HOME", str(place / "home"))
    patch.setenv("ARE_RUNS", str(place / "runs"))
    settings.cache_clear()


@pytest.fixture(autouse=True)
def own_home(prepared_home, tmp_path, monkeypatch):
    use(tmp_path, prepared_home, monkeypatch)
    yield
    settings.cache_clear()


@pytest.fixture(scope="module")
def calibrated_once(prepared_home, tmp_path_factory):
    """The place of a finished fast calibration, its default, and what was trained for it."""
    place = tmp_path_factory.mktemp("calibrated")
    with pytest.MonkeyPatch.context() as patch:
        use(place, prepared_home, patch)
        default, stages = run(job_of())
    settings.cache_clear()
    return place, default, stages


@pytest.fixture
def finished(calibrated_once, tmp_path):
    """The same, in this test's own home."""
    place, default, stages = calibrated_once
    shutil.copytree(place / "home" / "platform", tmp_path / "home" / "platform")
    shutil.copytree(place / "runs", tmp_path / "runs", dirs_exist_ok=True)
    return default, stages


def job_of(folder=None, force=False, **request) -> CalibrateJob:
    asked = {"engine": "torch", "device": "cpu", "presets": "m5-tiny,m5-small,m5-balanced", **request}
    return CalibrateJob(calibration=build_calibration(CalibrationRequest(**asked)), folder=folder, force=force)


def run(job, stages=None):
    stages = stages or SimulatedStages()
    return calibrate(job, stages, now=stages.clock), stages


def run_ids(stages):
    return {job.run_id for job in stages.trained}


def test_it_ends_with_a_default_that_train_will_use_and_with_a_file_for_each_phase(finished):
    job, (default, stages) = job_of(), finished
    assert read_default(default.hardware_key, "torch") == default
    assert {path.name for path in job.place.glob("phase-*.json")} == {f"phase-{phase.name}.json" for phase in PHASES}
    assert default.noise.num_seeds == 3
    assert default.noise.weak
    assert default.framework == "torch 1.0"
    assert stages.clock() <= 600


def test_the_chosen_shape_is_about_as_good_as_the_best_of_all_presets_at_the_target():
    from shared.experiment.presets import find_preset
    from tests.services.calibrator.simulated_stages import val_bpb

    default, stages = run(job_of(budget=20))
    reached = val_bpb(default.shape, round(stages.tok_per_sec(default.shape) * 300))
    presets = [find_preset(name).shape for name in ("m5-tiny", "m5-small", "m5-balanced")]
    assert reached <= min(val_bpb(shape, round(stages.tok_per_sec(shape) * 300)) for shape in presets) + 0.005


def test_a_calibration_ends_with_the_shape_that_hindsight_prefers(finished, monkeypatch):
    first, _ = finished

    def prefer(_, found):
        other = next(one for one in found.search.ranked if one.shape != first.shape)
        return Preferred(other, "predicted from its run")

    monkeypatch.setattr("services.calibrator.calibrate.preferred", prefer)
    default, _ = run(job_of())
    assert default.shape != first.shape
    assert (default.confidence, default.reason[:22]) == (Confidence.LOW, "predicted from its run")
    assert read_default(default.hardware_key, "torch") == default


def test_a_second_calibration_of_the_same_machine_measures_nothing(finished):
    first, _ = finished
    second, stages = run(job_of())
    assert stages.trained == []
    assert second.model_copy(update={"made_at": first.made_at}) == first


def test_fast_then_full_builds_on_what_was_measured(finished):
    _, fast = finished
    default, full = run(job_of(mode="full"))
    assert not run_ids(fast) & run_ids(full)
    assert default.noise.num_seeds == 8
    assert not default.noise.weak
    assert full.clock() <= 3600


@pytest.mark.parametrize("seed", range(3))
def test_killed_again_and_again_it_goes_on_and_no_finished_probe_is_trained_twice(seed):
    random_ = random.Random(seed)
    stages = SimulatedStages()

    def kill_now_and_then(job):
        if random_.random() < 0.3:
            raise KeyboardInterrupt
        return None

    stages.fault = kill_now_and_then
    for _ in range(60):
        try:
            default, _ = run(job_of(), stages)
            break
        except KeyboardInterrupt:
            continue
    assert default.shape
    finished = Counter(path.parent.name for path in settings().runs.glob("cal-*/result.json"))
    began = Counter(job.run_id for job in stages.trained)
    kills = sum(began.values()) - len(finished)
    assert set(began) == set(finished)
    assert kills >= 1
    assert stages.clock() <= 650


def test_the_minutes_of_a_probe_in_which_it_was_killed_count_too():
    """By when its run was last written to: a line about the machine comes every 10 s."""

    def killed_after_half_a_minute(job):
        file = RunDirectory.of(job.run_id).system_file
        file.touch()
        os.utime(file, (time.time() + 30, time.time() + 30))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(job_of(), SimulatedStages(fault=killed_after_half_a_minute))
    run(job_of())
    first, second = (event.spent_s for event in read_events(job_of().place)[0] if event.kind == "plan")
    assert second - first == pytest.approx(30, abs=3)


def test_a_probe_that_hangs_is_ended_by_its_limit_and_there_is_a_default():
    default, stages = run(job_of(), SimulatedStages(fault=lambda job: "hangs" if job.shape.depth == 4 else None))
    assert default.family != "m5-small"
    assert stages.clock() <= 610


def test_a_model_that_hangs_leaves_minutes_for_one_that_runs():
    """The first model hangs: by then two probes have taken half of the minutes, and nothing has run."""
    hangs = SimulatedStages(fault=lambda job: None if job.shape.depth == 4 else "hangs")
    default, stages = run(job_of(), hangs)
    assert (default.family, default.confidence) == ("m5-small", Confidence.LOW)
    assert stages.clock() <= 610


def test_where_the_machine_becomes_slower_the_default_has_the_later_speed_and_says_so():
    class Throttled(SimulatedStages):
        def tok_per_sec(self, shape):
            return super().tok_per_sec(shape) * (0.4 if self.clock() > 420 else 1.0)

    default, stages = run(job_of(), Throttled())
    assert default.tok_per_sec == pytest.approx(stages.tok_per_sec(default.shape))
    assert default.confidence is Confidence.LOW
    assert (
        "the machine became slower while it was measured, a shape trained at 40% of its first speed" in default.reason
    )


def test_what_does_not_fit_is_not_chosen():
    default, _ = run(job_of(), SimulatedStages(memory_mb=700.0))
    assert default.memory_mb <= 700


def test_a_family_that_crashes_never_ends_it():
    crash = SimulatedStages(fault=lambda job: Status.CRASHED if job.shape.depth == 2 else None)
    default, _ = run(job_of(), crash)
    assert default.family in ("m5-small", "m5-balanced")


def test_where_the_first_step_is_not_over_in_time_a_smaller_one_is_tried_and_there_is_a_default():
    """As with MLX on a CPU and the BLAS that its package for Linux brings."""
    from shared.experiment.presets import find_preset

    tiny = find_preset("m5-tiny").shape
    a_minute_a_step = tiny.total_batch_size * model_size(tiny, VOCAB_SIZE).flops_per_token / 60
    default, stages = run(job_of(), SimulatedStages(flops=a_minute_a_step, warm_up_steps=3))
    measured = [one for one in read_events(job_of().place)[0] if one.kind == "probe" and one.status == "ok"]
    assert measured
    assert (default.family, default.confidence) == ("m5-tiny", Confidence.LOW)
    assert default.tok_per_sec == pytest.approx(stages.tok_per_sec(default.shape), rel=0.2)
    assert stages.clock() <= 610


def test_with_hardly_any_time_there_is_a_default_that_says_how_unsure_it_is():
    default, stages = run(job_of(budget=1))
    assert default.confidence is Confidence.LOW
    assert stages.clock() <= 60


def test_a_damaged_phase_is_named_and_made_again_without_training_a_probe_again(finished):
    job, (_, before) = job_of(), finished
    (job.place / "phase-search.json").write_text("{")
    _, stages = run(job)
    assert not run_ids(stages) & run_ids(before)
    events, _ = read_events(job.place)
    assert "phase-search.json is damaged and is made again" in [event.says for event in events]


def test_a_damaged_calibration_file_is_named_and_made_again_and_the_measurements_beside_it_count(finished):
    job, _ = job_of(), finished
    (job.place / "calibration.json").write_text("{")
    _, stages = run(job)
    assert stages.trained == []
    events, _ = read_events(job.place)
    assert "calibration.json is damaged and is made again" in [event.says for event in events]
    assert Calibration.model_validate_json((job.place / "calibration.json").read_bytes()) == job.calibration


def test_what_a_journal_lost_with_its_torn_line_is_found_in_its_run_directory(finished):
    job, (_, before) = job_of(), finished
    (journal,) = job.place.glob("probes-*.jsonl")
    lines = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(b"".join(lines[:-1]) + lines[-1][:20])
    for path in job.place.glob("phase-*.json"):
        path.unlink()
    _, stages = run(job)
    assert not run_ids(stages) & run_ids(before)


def test_a_disk_that_is_full_ends_it_with_the_stages_line_and_with_room_it_goes_on():
    class Full(SimulatedStages):
        """The disk has room for four trainings."""

        def execute(self, stage, arguments, watch):
            if stage == "trainer" and len(self.trained) == 4:
                return DISK_FAULT, "No space left on device: runs; make room"
            return super().execute(stage, arguments, watch)

    full = Full()
    with pytest.raises(OSError, match=r"^No space left on device: runs; make room$"):
        run(job_of(), full)
    default, roomy = run(job_of())
    assert len(full.trained) == 4
    assert not run_ids(full) & run_ids(roomy)
    assert read_default(default.hardware_key, "torch") == default


def test_another_machines_folder_is_refused(finished):
    job = job_of(folder=job_of().place)
    other = job.calibration.model_copy(update={"hardware_key": "nvidia-hopper-h100-80gb"})
    with pytest.raises(ValueError, match=r"holds a calibration of cpu-.*this machine is nvidia-hopper"):
        run(job.model_copy(update={"calibration": other}))


def test_a_folder_with_something_else_in_it_is_refused(tmp_path):
    write_atomic(tmp_path / "notes.txt", "mine")
    with pytest.raises(ValueError, match="is not empty and holds no calibration"):
        run(job_of(folder=tmp_path))


def test_a_file_is_no_folder(tmp_path):
    write_atomic(tmp_path / "notes.txt", "mine")
    with pytest.raises(ValueError, match=r"notes.txt is no folder: choose another --output-dir"):
        run(job_of(folder=tmp_path / "notes.txt"))


def test_force_measures_everything_again(finished):
    _, first = finished
    _, again = run(job_of(force=True))
    assert run_ids(first) & run_ids(again)


def test_weights_of_probes_are_dropped_and_those_of_the_default_kept(finished):
    kept = [path.parent.parent.name for path in settings().runs.glob("cal-*/checkpoint/latest.json")]
    checkpoint = json.loads((job_of().place / "phase-checkpoint.json").read_text())["result"]
    assert checkpoint["run_id"] in kept


def test_it_leaves_a_report_and_a_bundle_before_it_says_that_it_is_finished(finished):
    job, (default, _) = job_of(), finished
    report = json.loads((job.place / "report.json").read_bytes())
    assert report["candidate"]["default"]["val_bpb"] == default.val_bpb
    assert (job.place / "promotion" / "platform_default.json").is_file()
    *_, note, last = read_events(job.place)[0]
    assert (note.phase, note.says.endswith("report.md"), last.kind) == ("report", True, "finished")
    assert sum(phase["minutes"] for phase in report["phases"]) == pytest.approx(note.spent_s / 60, rel=0.1)
