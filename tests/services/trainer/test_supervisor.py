"""The trainer with real processes: how a run ends, whatever the recipe does."""

import json
import signal
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import psutil
import pytest

from services.trainer import supervisor
from services.trainer.measured import Measured
from services.trainer.supervisor import supervise
from shared.contracts import Budget, CheckpointPolicy, Status
from shared.data.dataset import open_dataset
from shared.runs.checkpoint import curve_folders, latest, read_curve_record
from shared.runs.directory import write_record
from shared.settings import CHECKOUT, settings
from tests.recipes import BROKEN, LIGHT, light, variant
from tests.run_making import SHAPE, make_job, make_light_run, make_run
from tests.trainers import start_trainer, train, wait_for


def children_of(process) -> list[psutil.Process]:
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def num_steps(run) -> int:
    return len(run.metrics_file.read_bytes().splitlines()) if run.metrics_file.exists() else 0


def weights(run) -> dict[str, bytes]:
    record = latest(run.checkpoint_dir)
    return record.files


def test_a_token_budget_is_trained_to_its_last_token_and_leaves_complete_evidence(workplace):
    run = make_run()
    record, code = train(run)
    assert (record.status, code) == (Status.OK, 0), record.reason
    assert record.num_steps == 20
    assert record.total_tokens == 20 * SHAPE.total_batch_size
    steps = list(run.steps())
    assert [step.step for step in steps] == list(range(20))
    assert statistics.fmean(step.loss for step in steps[1:]) < steps[0].loss
    for step in steps:
        assert step.step_ms == pytest.approx(step.input_ms + step.dispatch_ms + step.wait_ms + step.record_ms)
    assert latest(run.checkpoint_dir).final


def test_a_time_budget_ends_at_the_step_nearest_to_it(workplace):
    run = make_light_run(budget=Budget(seconds=2))
    record, _ = train(run)
    assert record.status is Status.OK, record.reason
    assert abs(record.training_seconds - 2) < 0.5


def test_a_long_start_is_missing_from_the_training_and_not_from_its_speed(workplace, monkeypatch):
    monkeypatch.setattr("services.trainer.limits.EARLY_OPENINGS", 0.0)
    run = make_light_run(b"import time; time.sleep(4)\n" + LIGHT.encode(), budget=Budget(seconds=6))
    record = supervise(run)
    assert record.status is Status.OK, record.reason
    (early,) = [float(one.chosen.split()[0]) for one in record.choices if one.what == "start-up"]
    assert early >= 4 - 2 - 0.05 * 6
    assert record.training_seconds == pytest.approx(6, abs=0.5)
    speed = record.total_tokens / (record.training_seconds - early)
    assert record.tok_per_sec == pytest.approx(speed, rel=0.02)


class Gpu:
    """A device that had computed for 7 s when the recipe was ready, on a machine with others."""

    strayed = False

    def __init__(self, device: str):
        pass

    def busy_s(self) -> float:
        return 7.0

    def close(self) -> None:
        pass


def test_where_the_gpu_is_seen_only_its_work_before_the_clock_is_missing_from_the_training(workplace, monkeypatch):
    monkeypatch.setattr(supervisor, "GpuWatch", Gpu)
    record = supervise(make_light_run(budget=Budget(seconds=4)))
    assert record.status is Status.OK, record.reason
    (early,) = [one for one in record.choices if one.what == "start-up"]
    assert early.chosen == f"{7 - 2 - 2 - 0.05 * 4:.2f} s"
    assert early.reason.startswith("the GPU computed before the clock so much longer than the 4.2 s that are free")


def test_a_driver_that_does_not_tell_how_long_the_gpu_computed_is_said_in_the_record(workplace):
    measured = Measured()
    job = make_job(device="cuda:0", budget=Budget(seconds=60))
    silent = SimpleNamespace(busy_s=lambda: None)
    cache = SimpleNamespace(kept_early_s=0.0)
    run = SimpleNamespace(gpu=silent, job=job, cache=cache, measured=measured)
    supervisor.Supervision._count_early(run, opening_s=3.0, early_s=20.0)
    (choice,) = measured.choices
    assert (choice.what, choice.chosen) == ("start-up", "by the clock")
    assert choice.reason == "the driver does not tell how long the GPU computed, so 80 s of the clock are free"


def test_what_is_done_while_kernels_are_copied_counts_too(workplace, monkeypatch):
    monkeypatch.setattr(supervisor, "GpuWatch", Gpu)
    monkeypatch.setattr(
        supervisor.CompileCache, "keep", lambda *_: monkeypatch.setattr(Gpu, "busy_s", lambda self: 7.5)
    )
    record = supervise(make_light_run(budget=Budget(seconds=4)))
    (early,) = [one.chosen for one in record.choices if one.what == "start-up"]
    assert early == f"{7.5 - 2 - 2 - 0.05 * 4:.2f} s"


def test_a_recipe_that_computes_on_a_gpu_that_is_not_its_own_is_rejected(workplace, monkeypatch):
    monkeypatch.setattr(supervisor, "GpuWatch", type("Strayed", (Gpu,), {"strayed": True}))
    record = supervise(make_light_run())
    assert (record.status, record.reason) == (Status.REJECTED, "compute: the recipe used other GPUs than cpu")


@pytest.mark.parametrize(("peak", "left_out"), [(None, False), (1.0, True)])
def test_utilization_is_of_a_published_peak_alone_and_beyond_it_is_left_out(workplace, monkeypatch, peak, left_out):
    """A CPU has none. One that was measured beside other work made 3,770 % of an honest run."""
    monkeypatch.setattr("services.trainer.supervisor.peak_flops", lambda machine: (peak, ""))
    run = make_light_run(light("def flops_per_token(self):\n    return 1e6"))
    record = supervise(run)
    assert (record.status, record.mfu_percent) == (Status.OK, None), record.reason
    assert {step.mfu_percent for step in run.steps()} == {None}
    assert ("mfu" in {choice.what for choice in record.choices}) == left_out


@pytest.mark.parametrize("name", BROKEN)
def test_a_recipe_that_breaks_the_protocol_is_invalid_with_one_line(workplace, name):
    source, reason = BROKEN[name]
    run = make_light_run(source)
    record, code = train(run)
    assert record.status is Status.INVALID
    assert code == 1
    assert reason in record.reason
    assert "\n" not in record.reason
    assert latest(run.checkpoint_dir) is None


def test_a_loss_that_becomes_nan_ends_the_run_at_once_as_diverged(workplace):
    body = """
def step(self, rows, progress):
    return super().step(rows, progress) * (float("nan") if 0.4 < progress < 0.49 else 1)
"""
    record, _ = train(make_light_run(light(body)))
    assert record.status is Status.DIVERGED


def test_running_out_of_memory_says_which_shape_did_it(workplace):
    body = """
def step(self, rows, progress):
    if 0.4 < progress < 0.49:
        raise torch.OutOfMemoryError("CUDA out of memory")
    return super().step(rows, progress)
"""
    record, _ = train(make_run(variant(body)))
    assert record.status is Status.OUT_OF_MEMORY
    assert "device_batch_size=4" in record.reason


def test_a_recipe_that_says_the_disk_is_full_has_crashed(workplace):
    """Its own word is no fault of this machine: nothing is tried again for it."""
    body = """
def step(self, rows, progress):
    if 0.4 < progress < 0.49:
        raise OSError(28, "No space left on device")
    return super().step(rows, progress)
"""
    record, code = train(make_light_run(light(body)))
    assert (record.status, record.void, code) == (Status.CRASHED, None, 1)


def test_a_process_that_dies_is_a_crash_with_its_signal(workplace):
    body = "def step(self, rows, progress):\n    __import__('os').abort()"
    record, _ = train(make_light_run(light(body)))
    assert record.status is Status.CRASHED
    assert "SIGABRT" in record.reason


@pytest.mark.parametrize("method", ["step(self, rows, progress)", "state(self)"])
def test_a_process_that_dies_is_a_crash_at_once_also_when_what_it_forked_lives_on(workplace, method):
    """A data loader's workers hold the channel open."""
    body = f"def {method}:\n    os = __import__('os')\n    os.fork() and os.abort()\n    time.sleep(1000)"
    began = time.monotonic()
    record, _ = train(make_light_run(light(body)))
    assert record.status is Status.CRASHED, record.reason
    assert "SIGABRT" in record.reason
    assert time.monotonic() - began < 60


def test_a_step_that_never_returns_is_killed_and_nothing_is_left(workplace):
    body = """
def step(self, rows, progress):
    if 0.5 < progress < 1 and self.noise > 0:
        import subprocess
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        time.sleep(1000)
    return super().step(rows, progress)
"""
    run = make_light_run(light(body), budget=Budget(seconds=1))
    process = start_trainer(run)
    process.wait(timeout=120)
    assert run.training().status is Status.TIMED_OUT
    assert not [p for p in psutil.process_iter(["cmdline"]) if p.info["cmdline"] == ["sleep", "1000"]]


def test_a_patched_clock_does_not_buy_training_time(workplace):
    patch = b"""
import services.trainer.clock
services.trainer.clock.BudgetClock.seconds = property(lambda self: (self._now() - self._origin) / 10)
"""
    run = make_light_run(LIGHT.encode() + patch, budget=Budget(seconds=2))
    record, _ = train(run)
    assert record.status in (Status.TIMED_OUT, Status.REJECTED)


def test_a_clock_that_lies_at_the_end_is_rejected(workplace):
    patch = b"""
import services.trainer.loop
run = services.trainer.loop.Loop.run
def slow(self):
    steps = run(self)
    time.sleep(3)
    self.clock._origin += 3
    return steps
services.trainer.loop.Loop.run = slow
"""
    record, _ = train(make_light_run(LIGHT.encode() + patch, budget=Budget(seconds=1)))
    assert record.status is Status.REJECTED
    assert "clock" in record.reason


@pytest.mark.parametrize("split", ["train", "validation"])
def test_the_recipe_cannot_open_the_dataset(workplace, split):
    path = str(open_dataset("words").rows_file(split, 64 if split == "train" else 2048))
    record, _ = train(make_light_run(f"open({path!r}, 'rb').read()\n".encode() + LIGHT.encode()))
    assert record.status is Status.INVALID
    assert "PermissionError" in record.reason


def test_the_recipe_cannot_write_its_own_result(workplace):
    run = make_light_run()
    path = str(run.result_file)
    run = make_light_run(f"open({path!r}, 'w').write('{{}}')\n".encode() + LIGHT.encode(), run_id="run-2")
    record, _ = train(run)
    assert record.status is Status.INVALID
    assert "PermissionError" in record.reason


def test_sigterm_cancels_and_takes_the_children_along(workplace):
    run = make_light_run(budget=Budget(seconds=1000))
    process = start_trainer(run)
    wait_for(lambda: num_steps(run))
    children = children_of(process)
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=10)
    assert run.training().status is Status.CANCELLED
    assert not psutil.wait_procs(children, timeout=5)[1]


def test_a_killed_supervisor_takes_the_recipe_along(workplace):
    run = make_light_run(budget=Budget(seconds=1000))
    process = start_trainer(run)
    wait_for(lambda: num_steps(run))
    children = children_of(process)
    assert children
    process.kill()
    assert not psutil.wait_procs(children, timeout=5)[1]
    assert run.training() is None


def make_slow_run(run_id: str, mode: str):
    slow = variant("def step(self, rows, progress):\n    time.sleep(0.02)\n    return super().step(rows, progress)")
    budget = Budget(tokens=60 * SHAPE.total_batch_size)
    return make_run(slow, run_id=run_id, budget=budget, checkpoints=CheckpointPolicy(mode=mode, every_s=0.05))


@pytest.fixture(scope="module")
def whole(prepared_home, tmp_path_factory):
    """One run for both modes, which end with the same bits too."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(prepared_home))
        patch.setenv("ARE_RUNS", str(tmp_path_factory.mktemp("runs")))
        settings.cache_clear()
        run = make_slow_run("whole", "async")
        record, _ = train(run)
    settings.cache_clear()
    assert record.status is Status.OK, record.reason
    return run


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_run_killed_at_any_step_resumes_to_the_same_bits(workplace, mode, whole):
    """Weights, momentum, generators and position: a token budget makes the whole run a function of the seed."""
    broken = make_slow_run("broken", mode)
    process = start_trainer(broken)
    wait_for(lambda: num_steps(broken) >= 20 and latest(broken.checkpoint_dir))
    process.kill()
    process.wait()
    record, _ = train(broken)
    assert record.status is Status.OK
    assert record.resumed_from_step > 0
    assert weights(broken) == weights(whole)
    assert [step.step for step in broken.steps()] == list(range(60))
    assert [step.loss_ema for step in broken.steps()] == [step.loss_ema for step in whole.steps()]


def test_a_directory_that_is_no_run_is_one_line_and_exit_code_2(tmp_path):
    process = subprocess.run(
        [sys.executable, "-m", "services.trainer", str(tmp_path)], cwd=CHECKOUT, capture_output=True, text=True
    )
    assert process.returncode == 2
    assert process.stderr.strip().count("\n") == 0
    assert "job.json" in process.stderr


@pytest.mark.skipif(sys.platform != "linux", reason="macOS has no way to count names")
def test_a_step_that_asks_for_names_without_end_is_rejected(workplace):
    body = """
def step(self, rows, progress):
    for number in range(4000 if progress > 0 else 0):
        __import__("os").path.exists(f"/usr/.{number}-of-no-file")
    return super().step(rows, progress)
"""
    record, _ = train(make_light_run(light(body)))
    assert record.status is Status.REJECTED
    assert record.reason.startswith("file names: ")


def test_credentials_in_the_environment_do_not_reach_the_recipe(workplace, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", "secret")
    probe = b"import os\nassert not [k for k in os.environ if 'MLFLOW' in k], 'leaked'\n"
    record, _ = train(make_light_run(probe + LIGHT.encode()))
    assert record.status is Status.OK, record.reason


def test_what_the_recipe_prints_is_kept_apart_from_the_records(workplace):
    run = make_light_run(b'print(\'{"status": "ok", "val_bpb": 0.1}\')\n' + LIGHT.encode())
    train(run)
    assert "val_bpb" in run.output_file.read_text()
    assert "val_bpb" not in run.training_file.read_text()


def test_curve_points_keep_weights_along_the_way(workplace):
    run = make_light_run(curve_points=3)
    train(run)
    records = [json.loads(path.read_text()) for path in sorted(run.checkpoint_dir.glob("curve-*/record.json"))]
    assert [round(record["progress"], 2) for record in records] == [0.25, 0.5, 0.75]


def test_a_point_of_an_attempt_that_died_is_gone_when_training_begins_anew(workplace):
    """It holds weights that were trained in time which nobody counts."""
    body = """
def step(self, rows, progress):
    if progress > 0.6 and not sys._getframe(1).f_locals["self"].saver.job.seed:
        os._exit(3)
    return super().step(rows, progress)
"""
    run = make_light_run(b"import os, sys\n" + light(body), curve_points=3, seed=0)
    record, _ = train(run)
    assert record.status is Status.CRASHED, record.reason
    earlier = points_of(run)
    assert len(earlier) == 2
    write_record(run.job_file, run.job().model_copy(update={"seed": 1}))
    record, _ = train(run)
    assert record.status is Status.OK, record.reason
    assert len(points_of(run)) == 3
    assert not points_of(run) & earlier


def points_of(run) -> set[str]:
    return {read_curve_record(folder).sha256 for folder in curve_folders(run.checkpoint_dir)}


@pytest.mark.parametrize(("asked", "beyond"), [(1, 0), (8, 10**9)])
def test_a_point_of_the_curve_is_one_that_was_asked_for_at_the_step_it_is_at(workplace, asked, beyond):
    body = f"""
def step(self, rows, progress):
    if 0.1 < progress < 0.4:
        loop = sys._getframe(1).f_locals["self"]
        loop.saver.save_curve_point(loop.step + {beyond}, 0.5)
    return super().step(rows, progress)
"""
    record, _ = train(make_light_run(b"import sys\n" + light(body), curve_points=asked))
    assert record.status is Status.REJECTED, record.reason
    assert "broke the protocol" in record.reason


def test_a_resumed_recipe_sees_its_checkpoint_when_the_clock_runs(workplace):
    """The state may hold training rows: read before the clock, they could be trained on for nothing."""
    body = """
def load(self, state):
    super().load(state)
    if "optimizer" in state and float(self.momentum[0].abs().sum()) > 0:
        self.resumed = True
        time.sleep(2)

def step(self, rows, progress):
    if 0.4 < progress < 0.49 and not hasattr(self, "resumed"):
        os._exit(3)
    return super().step(rows, progress)
"""
    policy = CheckpointPolicy(every_s=0.2)
    run = make_light_run(b"import os\n" + light(body), budget=Budget(seconds=5), checkpoints=policy)
    record, _ = train(run)
    assert record.status is Status.CRASHED, record.reason
    spent_s = latest(run.checkpoint_dir).train_seconds
    record, _ = train(run)
    assert record.status is Status.OK, record.reason
    first = next(step for step in run.steps() if step.step == record.resumed_from_step)
    assert first.train_seconds > spent_s + 2


def test_nothing_a_recipe_writes_is_there_for_its_next_run(workplace):
    """A folder that survived would be a place to train on from: here the compile cache and the scratch folder."""
    leave = b"""
import os, pathlib
for name in ("TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR", "HOME", "TMPDIR"):
    place = pathlib.Path(os.environ[name])
    place.mkdir(parents=True, exist_ok=True)
    assert not (place / "weights").exists(), "found what the last run left"
    (place / "weights").write_bytes(b"x")
"""
    source = leave + LIGHT.encode()
    for run_id in ("first", "second"):
        record, _ = train(make_light_run(source, run_id=run_id))
        assert record.status is Status.OK, record.reason


def test_training_on_while_the_last_state_is_taken_counts_as_training(workplace):
    body = """
def state(self):
    if self.momentum[0].abs().sum() > 0 and getattr(self, "trained", False):
        time.sleep(4)
    return super().state()

def step(self, rows, progress):
    self.trained = progress > 0.9
    return super().step(rows, progress)
"""
    record, _ = train(make_light_run(light(body), budget=Budget(seconds=2)))
    assert record.status in (Status.TIMED_OUT, Status.REJECTED)
