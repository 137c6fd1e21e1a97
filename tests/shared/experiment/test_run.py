"""One experiment from job to record: with stages played by a script, and with real ones that are killed."""

import json
import random
import shutil
import subprocess
import sys

import psutil
import pytest

from shared.contracts import (
    Budget,
    CheckpointPolicy,
    EvaluationRecord,
    IdeaRef,
    Integrity,
    Rung,
    Status,
    TrainingRecord,
    Unranked,
    VoidCause,
)
from shared.data.dataset import dataset_fingerprint, open_dataset
from shared.experiment import run as experiment
from shared.experiment.run import FAILED, FINAL, evaluate, gather, resume, run, why_unranked
from shared.machine.device_lock import DeviceBusy, ForeignProcess, device_lock
from shared.runs.checkpoint import latest
from shared.runs.directory import RunDirectory, write_record
from shared.settings import CHECKOUT, settings
from shared.stages.executors import BAD_INPUT, DISK_FAULT, NativeExecutor
from tests.device_holding import held_elsewhere
from tests.executor_contract import processes_of, wait_for
from tests.recipes import light, variant
from tests.run_making import SHAPE, make_job, make_run
from tests.shared.experiment.scripted import SCORED, SOURCE, TRAINED, Scripted, ended, run_of

UNFINISHED = sorted(set(Status) - FINAL)


@pytest.fixture(autouse=True)
def _place(workplace):
    pass


def test_a_good_run_is_one_complete_record():
    executor, job = Scripted(), make_job(budget=Budget(seconds=300))
    result = run(job, SOURCE, executor)
    assert (result.status, result.val_bpb, result.ranked) == (Status.OK, SCORED.val_bpb, True)
    assert (result.recipe_sha, result.dataset, result.seed) == (job.recipe_sha, job.dataset.fingerprint, job.seed)
    assert result.total_seconds == pytest.approx(306 + SCORED.total_seconds)
    assert run_of().result() == result
    (coverage,) = [choice.chosen for choice in result.choices if choice.what == "text coverage"]
    assert 90 < float(coverage.rstrip("%")) <= 100
    assert executor.calls == [("trainer",), ("evaluator",)]


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.OK}))
def test_a_training_that_ends_otherwise_is_the_result_and_nothing_is_scored(status):
    executor = Scripted(training=ended(status))
    result = run(make_job(), SOURCE, executor)
    assert (result.status, result.val_bpb) == (status, None)
    assert f"because it is {status}" in result.reason
    assert executor.calls == [("trainer",)]


@pytest.mark.parametrize("stage", ["training", "evaluation"])
def test_a_cancel_that_nobody_here_asked_for_is_void(stage):
    record = ended(Status.CANCELLED, TrainingRecord if stage == "training" else EvaluationRecord)
    result = run(make_job(), SOURCE, Scripted(**{stage: record}))
    assert (result.status, result.void) == (Status.CANCELLED, VoidCause.EXECUTOR_LOST)
    assert "because it is cancelled" in result.reason


@pytest.mark.parametrize("status", sorted(set(Status) - {Status.OK}))
def test_an_evaluation_that_ends_otherwise_is_the_result_with_what_training_measured(status):
    result = run(make_job(), SOURCE, Scripted(evaluation=ended(status, EvaluationRecord)))
    assert (result.status, result.val_bpb, result.ranked, result.num_steps) == (status, None, False, 20)


@pytest.mark.parametrize("line", ["", "KeyError: 3"])
def test_a_stage_that_leaves_no_record_has_crashed_with_its_last_words(line):
    result = run(make_job(run_id="a"), SOURCE, Scripted(training=(1, line)))
    assert (result.status, result.reason) == (Status.CRASHED, line or "the trainer left no record")
    result = run(make_job(run_id="b"), SOURCE, Scripted(evaluation=(-9, line)))
    assert (result.status, result.reason) == (Status.CRASHED, line or "the evaluator left no record")


@pytest.mark.parametrize(("code", "void"), [(-9, VoidCause.EXECUTOR_LOST), (1, None)])
@pytest.mark.parametrize("line", ["", "the executor died", "the trainer left no record"])
def test_a_stage_without_a_record_is_void_when_it_was_killed_whatever_it_said(code, void, line):
    assert run(make_job(run_id="a"), SOURCE, Scripted(training=(code, line))).void is void
    assert run(make_job(run_id="b"), SOURCE, Scripted(evaluation=(code, line))).void is void


def test_a_smoke_run_is_never_ranked():
    rung = SCORED.rung.model_copy(update={"rung": Rung.SMOKE})
    executor = Scripted(evaluation=SCORED.model_copy(update={"rung": rung}))
    result = run(make_job(budget=Budget(seconds=300)), SOURCE, executor)
    assert (result.status, result.ranked, result.unranked) == (Status.OK, False, (Unranked.SMOKE_RUNG,))


def test_a_smoke_run_on_a_slow_machine_does_not_say_that_it_took_longer_than_its_budget():
    """It is compared with nothing, so there is nothing that its budget could be unfair to."""
    trained = TRAINED.model_copy(update={"training_seconds": 60.0})
    scored = SCORED.model_copy(update={"rung": SCORED.rung.model_copy(update={"rung": Rung.SMOKE})})
    assert gather(make_job(budget=Budget(seconds=5)), trained, scored, 90).unranked == (Unranked.SMOKE_RUNG,)


def test_a_token_budget_is_never_ranked_because_the_recipes_own_process_counts_the_steps():
    result = run(make_job(budget=Budget(tokens=512)), SOURCE, Scripted())
    assert (result.status, result.ranked, result.unranked) == (Status.OK, False, (Unranked.TOKEN_BUDGET,))


@pytest.mark.parametrize(("seconds", "ranked"), [(299.0, True), (302.3, True), (302.5, False)])
def test_a_run_that_trained_longer_than_its_budget_is_not_ranked(seconds, ranked):
    trained = TRAINED.model_copy(update={"training_seconds": seconds})
    result = gather(make_job(budget=Budget(seconds=300)), trained, SCORED, 400)
    assert (result.ranked, result.unranked) == (ranked, () if ranked else (Unranked.OVER_BUDGET,))


def test_time_that_may_have_been_training_outside_the_budget_counts():
    trained = TRAINED.model_copy(update={"training_seconds": 301.0})
    for outside_s, ranked in ((1.0, True), (1.5, False)):
        scored = SCORED.model_copy(update={"outside_seconds": outside_s})
        assert gather(make_job(budget=Budget(seconds=300)), trained, scored, 400).ranked is ranked


def test_a_demo_corpus_is_never_ranked(monkeypatch, tmp_path):
    home = shutil.copytree(settings().home, tmp_path / "home")
    monkeypatch.setenv("ARE_HOME", str(home))
    settings.cache_clear()
    dataset = open_dataset("words")
    manifest = dataset.manifest.model_copy(update={"corpus": "stdlib"})
    facts = (manifest.shards, manifest.tokenizer, manifest.packing_version)
    manifest = manifest.model_copy(update={"fingerprint": dataset_fingerprint("stdlib", *facts)})
    write_record(dataset.path / "dataset.json", manifest)
    job = make_job(budget=Budget(seconds=300))
    unranked = why_unranked(job, TRAINED, SCORED)
    assert unranked == (Unranked.DEMO_CORPUS,)
    assert gather(job, TRAINED, SCORED, 306).ranked is False


@pytest.mark.parametrize(
    ("training", "evaluation", "expected"),
    [("full", "full", "full"), ("full", "partial", "partial"), ("none", "full", "none"), ("full", None, None)],
)
def test_a_result_has_the_weaker_integrity_of_its_stages(training, evaluation, expected):
    trained = TRAINED.model_copy(update={"integrity": Integrity(training)})
    scored = SCORED.model_copy(update={"integrity": evaluation and Integrity(evaluation)})
    assert gather(make_job(), trained, scored, 306).integrity == expected
    crashed = ended(Status.CRASHED).model_copy(update={"integrity": trained.integrity})
    assert gather(make_job(), crashed, None, 1).integrity == training


def test_rows_of_another_length_are_packed_first():
    shape = SHAPE.model_copy(update={"seq_len": 128})
    executor = Scripted()
    run(make_job(shape=shape), SOURCE, executor)
    assert [call[0] for call in executor.calls] == ["prepare", "trainer", "evaluator"]


def test_rows_that_cannot_be_packed_leave_no_run_behind(workplace):
    shape = SHAPE.model_copy(update={"seq_len": 128})
    with pytest.raises(ValueError, match="no room"):
        run(make_job(shape=shape), SOURCE, Scripted(pack=(2, "no room")))
    assert not list(workplace.iterdir())


def test_a_real_stage_packs_them(tmp_path, monkeypatch):
    home = shutil.copytree(settings().home, tmp_path / "home")
    monkeypatch.setenv("ARE_HOME", str(home))
    settings.cache_clear()
    directory = make_run(shape=SHAPE.model_copy(update={"seq_len": 32}))
    experiment._ensure_rows(directory.job(), NativeExecutor(), lambda stage: None)
    rows = experiment.open_reference(directory.job().dataset).rows("train", 32)
    assert rows.tokens.shape[1] == 33


def test_bad_input_leaves_no_run_behind(workplace):
    with pytest.raises(ValueError, match="rows are corrupt"):
        run(make_job(), SOURCE, Scripted(training=(BAD_INPUT, "rows are corrupt")))
    assert not list(workplace.iterdir())


def test_a_full_disk_is_said_so_and_leaves_no_run_behind_that_trained_nothing(workplace):
    with pytest.raises(OSError, match=r"^No space left on device: runs; make room$"):
        run(make_job(), SOURCE, Scripted(training=(DISK_FAULT, "No space left on device: runs; make room")))
    assert not list(workplace.iterdir())


def test_bad_input_of_the_evaluator_keeps_what_was_trained():
    with pytest.raises(ValueError, match="rows are corrupt"):
        run(make_job(), SOURCE, Scripted(evaluation=(BAD_INPUT, "rows are corrupt")))
    assert run_of().training() == TRAINED
    executor = Scripted()
    assert resume(run_of(), executor).status is Status.OK
    assert executor.calls == [("evaluator",)]


def test_a_device_that_is_locked_is_said_and_nothing_is_laid_out(workplace):
    with held_elsewhere("cpu"), pytest.raises(DeviceBusy, match="cpu is in use by process"):
        run(make_job(), SOURCE, Scripted())
    assert not list(workplace.iterdir())


def test_whoever_holds_the_device_may_run_one_experiment_after_the_other(workplace):
    with device_lock("cpu"):
        for run_id in ("first", "second"):
            assert run(make_job(run_id=run_id), SOURCE, Scripted()).status is Status.OK


def test_a_device_that_somebody_else_uses_is_said_and_nothing_is_left(workplace, monkeypatch):
    def busy(device):
        raise DeviceBusy("shared with process 7")

    monkeypatch.setattr(experiment, "check_idle", busy)
    with pytest.raises(DeviceBusy, match="process 7"):
        run(make_job(), SOURCE, Scripted())
    assert not list(workplace.iterdir())


def test_an_attempt_that_shared_its_device_is_void_and_starts_from_nothing(monkeypatch):
    monkeypatch.setattr(experiment, "foreign_processes", lambda device: [ForeignProcess(7, "game")])
    result = run(make_job(), SOURCE, Scripted())
    assert (result.status, result.reason) == (Status.CANCELLED, "void: process 7 (game) used cpu during training")
    assert result.void is VoidCause.DEVICE_SHARED
    assert not run_of().has_checkpoint()
    monkeypatch.undo()
    executor = Scripted()
    assert resume(run_of(), executor).status is Status.OK
    assert executor.calls == [("trainer",), ("evaluator",)]


def test_a_run_id_that_is_taken_is_refused_and_the_old_run_untouched():
    first = run(make_job(), SOURCE, Scripted())
    with pytest.raises(ValueError, match="exists: resume it, or choose another run id"):
        run(make_job(), SOURCE, Scripted())
    assert run_of().result() == first


def test_a_dataset_that_changed_is_refused_before_anything_is_laid_out(workplace):
    job = make_job()
    other = job.dataset.model_copy(update={"fingerprint": "f" * 64})
    with pytest.raises(ValueError, match="the job wants ffffffffffff"):
        run(job.model_copy(update={"dataset": other}), SOURCE, Scripted())
    assert not list(workplace.iterdir())


@pytest.mark.parametrize("status", sorted(FINAL - {Status.OK}))
def test_what_another_attempt_would_not_change_is_returned_as_it_is(status):
    first = run(make_job(), SOURCE, Scripted(training=ended(status)))
    executor = Scripted()
    assert resume(run_of(), executor) == first
    assert executor.calls == []


@pytest.mark.parametrize("status", UNFINISHED)
def test_what_another_attempt_may_change_is_tried_again(status):
    run(make_job(), SOURCE, Scripted(training=ended(status)))
    executor = Scripted()
    assert resume(run_of(), executor).status is Status.OK
    assert executor.calls == [("trainer",), ("evaluator",)]


@pytest.mark.parametrize("status", UNFINISHED)
def test_an_evaluation_is_tried_again_without_training_again(status):
    run(make_job(), SOURCE, Scripted(evaluation=ended(status, EvaluationRecord)))
    executor = Scripted()
    assert resume(run_of(), executor).status is Status.OK
    assert executor.calls == [("evaluator",)]


@pytest.mark.parametrize("status", sorted(FAILED))
def test_a_run_that_counts_against_its_idea_is_not_tried_until_it_goes_well(status):
    scripted = Scripted(evaluation=ended(status, EvaluationRecord))
    first = run(make_job(idea=IdeaRef(id="i0123456789")), SOURCE, scripted)
    assert resume(run_of(), Scripted()) == first
    with pytest.raises(ValueError, match="counts against its idea"):
        evaluate(run_of(), None, Scripted())


def test_an_idea_may_be_tried_again_where_others_had_the_processors():
    crowded = TRAINED.model_copy(update={"status": Status.TIMED_OUT, "foreign_cpu": 0.5})
    run(make_job(idea=IdeaRef(id="i0123456789")), SOURCE, Scripted(training=crowded))
    assert resume(run_of(), Scripted()).status is Status.OK


def test_a_trained_run_whose_checkpoint_was_deleted_is_trained_again():
    run(make_job(), SOURCE, Scripted(evaluation=ended(Status.CRASHED, EvaluationRecord)))
    shutil.rmtree(run_of().checkpoint_dir)
    executor = Scripted()
    assert resume(run_of(), executor).status is Status.OK
    assert executor.calls == [("trainer",), ("evaluator",)]


def test_a_run_that_somebody_works_on_cannot_be_resumed():
    directory = make_run()
    with directory.locked(), pytest.raises(ValueError, match="in use by another process"):
        resume(directory, Scripted())


def test_a_run_can_be_scored_again_on_another_rung():
    run(make_job(), SOURCE, Scripted())
    better = SCORED.model_copy(update={"val_bpb": 1.0})
    executor = Scripted(evaluation=better)
    result = evaluate(run_of(), "full", executor)
    assert executor.calls == [("evaluator", "full")]
    assert result.val_bpb == run_of().result().val_bpb == 1.0
    assert result.total_seconds > result.training_seconds
    evaluate(run_of(), None, executor)
    assert executor.calls[-1] == ("evaluator",)


@pytest.mark.parametrize("rung", [None, "cheap", "full"])
def test_a_number_of_an_idea_is_not_scored_again_on_any_rung(rung):
    """Nor on its own: an evaluator that is killed on the way would take the number away."""
    first = run(make_job(idea=IdeaRef(id="i0123456789")), SOURCE, Scripted())
    executor = Scripted()
    with pytest.raises(ValueError, match="for idea i0123456789, and that stands"):
        evaluate(run_of(), rung, executor)
    assert (executor.calls, run_of().result()) == ([], first)


def test_an_idea_whose_evaluation_was_cut_short_is_scored_again():
    void = ended(Status.CANCELLED, EvaluationRecord)
    run(make_job(idea=IdeaRef(id="i0123456789")), SOURCE, Scripted(evaluation=void))
    assert evaluate(run_of(), None, Scripted()).status is Status.OK


def test_a_second_evaluation_that_cannot_start_leaves_the_first():
    first = run(make_job(), SOURCE, Scripted())
    with pytest.raises(ValueError, match="checkpoint is corrupt"):
        evaluate(run_of(), "full", Scripted(evaluation=(BAD_INPUT, "checkpoint is corrupt")))
    assert (run_of().result(), run_of().evaluation()) == (first, SCORED)


def test_a_second_evaluation_that_crashes_is_not_taken_for_the_first():
    run(make_job(), SOURCE, Scripted())
    result = evaluate(run_of(), "full", Scripted(evaluation=(-9, "")))
    assert (result.status, result.val_bpb) == (Status.CRASHED, None)
    assert run_of().evaluation().status is Status.CRASHED


def test_a_rejection_stands_since_an_audit_that_is_asked_often_enough_misses_what_it_found():
    first = run(make_job(), SOURCE, Scripted(evaluation=ended(Status.REJECTED, EvaluationRecord)))
    executor = Scripted()
    with pytest.raises(ValueError, match="was rejected"):
        evaluate(run_of(), "full", executor)
    assert (executor.calls, run_of().result()) == ([], first)


@pytest.mark.parametrize("training", [None, ended(Status.CANCELLED)])
def test_a_run_that_was_not_trained_to_its_end_cannot_be_scored(training):
    directory = make_run()
    if training:
        write_record(directory.training_file, training)
    with pytest.raises(ValueError, match="was not trained to its end: autoresearch train --resume"):
        evaluate(directory, None, Scripted())


def test_an_unknown_rung_names_the_ones_there_are():
    with pytest.raises(
        ValueError, match="unknown rung 'best': choose one of auto, smoke, probe, cheap, reference, full"
    ):
        evaluate(make_run(), "best", Scripted())


def test_a_cancel_leaves_a_run_that_can_be_resumed():
    def interrupt(stage):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(make_job(), SOURCE, Scripted(), interrupt)
    assert run_of().result() is None
    assert resume(run_of(), Scripted()).status is Status.OK


# with real stages

SLOW_STEP = "def step(self, rows, progress):\n    time.sleep(0.02)\n    return super().step(rows, progress)"
SLOW = {"torch": variant(SLOW_STEP), "mlx": light(SLOW_STEP)}
RESUMER = """
import sys
from pathlib import Path
from shared.stages.executors import NativeExecutor
from shared.experiment.run import resume
from shared.runs.directory import RunDirectory
print(resume(RunDirectory(Path(sys.argv[1])), NativeExecutor()).status)
"""


def slow_run(run_id: str, engine: str) -> RunDirectory:
    policy, budget = CheckpointPolicy(mode="async", every_s=0.1), Budget(tokens=60 * SHAPE.total_batch_size)
    return make_run(SLOW[engine], run_id=run_id, engine=engine, budget=budget, checkpoints=policy)


def start(directory: RunDirectory) -> subprocess.Popen:
    argv = [sys.executable, "-c", RESUMER, str(directory.path)]
    return subprocess.Popen(argv, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def kill_everything(process: subprocess.Popen) -> None:
    """As a power cut: the starter and all below it at once."""
    tree = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for member in tree:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.communicate()
    psutil.wait_procs(tree, timeout=10)


def num_steps(directory: RunDirectory) -> int:
    return len(directory.metrics_file.read_bytes().splitlines()) if directory.metrics_file.exists() else 0


def moments(seed: int) -> list:
    """When to kill: in start-up, at two steps, as soon as training is over, in evaluation."""
    early, late = sorted(random.Random(seed).sample(range(3, 58), 2))
    return [
        lambda directory: (directory.path / "scratch").exists(),
        lambda directory: num_steps(directory) >= early,
        lambda directory: num_steps(directory) >= late,
        lambda directory: directory.has_checkpoint() and latest_is_final(directory),
        lambda directory: directory.training_file.exists() and (directory.path / "scratch").exists(),
    ]


def latest_is_final(directory: RunDirectory) -> bool:
    return json.loads((directory.checkpoint_dir / "latest.json").read_text())["final"]


@pytest.mark.parametrize(
    ("engine", "seed"),
    [("mlx", 0), *(pytest.param("torch", seed, marks=pytest.mark.slow) for seed in (1, 2))],
)
def test_a_run_killed_again_and_again_ends_with_the_bits_of_one_that_was_not(engine, seed):
    whole, broken = slow_run("whole", engine), slow_run(f"killed-again-{seed}", engine)
    expected = resume(whole, NativeExecutor())
    assert expected.status is Status.OK, expected.reason
    for moment in moments(seed):
        process = start(broken)
        wait_for(lambda moment=moment, process=process: moment(broken) or process.poll() is not None)
        assert process.poll() is None, f"it ended by itself: {process.communicate()[0]} {broken.result()}"
        kill_everything(process)
        assert broken.result() is None
    trained_at = broken.training_file.stat().st_mtime_ns
    result = resume(broken, NativeExecutor())
    assert (result.status, result.val_bpb) == (Status.OK, expected.val_bpb)
    assert latest(broken.checkpoint_dir).files == latest(whole.checkpoint_dir).files
    assert broken.training_file.stat().st_mtime_ns == trained_at
    assert [step.step for step in broken.steps()] == list(range(60))
    assert not processes_of(broken)
    assert not list(broken.path.glob("scratch*"))
