"""The training loop on an engine and a recipe in numpy: telemetry, checkpoints, stops."""

import gc
import math
from types import SimpleNamespace

import numpy as np
import pytest

from services.trainer.checkpoints import Saver
from services.trainer.clock import BudgetClock
from services.trainer.hand_over import HandOver, describe
from services.trainer.loop import Diverged, Loop
from services.trainer.messages import Kept, Saved, Steps
from services.trainer.state_store import StateStore
from services.trainer.telemetry import Telemetry
from shared.contracts import Budget, CheckpointPolicy, Status, StepRecord, TrainingRecord
from shared.data.rows import Rows
from shared.engines.shared_buffer import HostBuffer
from shared.runs.checkpoint import curve_folders, latest, read_arrays
from shared.sandbox.launch import Ended
from tests.fake_engine import SHAPE, VOCAB_SIZE, FakeEngine, FakeRecipe

ROWS = Rows(np.random.default_rng(0).integers(0, VOCAB_SIZE, (37, SHAPE.seq_len + 1), dtype=np.uint16))


class Supervisor:
    """The other end of the channel, in this process: stores what is announced, and keeps the telemetry."""

    def __init__(self, directory, job, hand_over, seconds):
        run = SimpleNamespace(checkpoint_dir=directory)
        directory.mkdir(exist_ok=True)
        self.store = StateStore(run, job, seconds)
        specs = {name: [place.spec for place in group.places] for name, group in hand_over.layout.groups.items()}
        self.store.open(specs)
        hand_over.attach(self.store.buffer.mapped())
        self.lines, self.announced, self.lines_at = [], [], []

    def send(self, message):
        if isinstance(message, Steps):
            self.lines += message.lines
            return
        self.lines_at.append(len(self.lines))
        if isinstance(message, Saved):
            self.announced.append(message.step)
            self.store.save_checkpoint(message.step, message.loss_ema)
        if isinstance(message, Kept):
            self.store.save_curve_point(message.step, message.progress)

    def receive(self, timeout_s):
        while not self.store.finished():
            pass
        return {"kind": "stored"}, []


class Run:
    """A loop with everything it needs; `seconds` is the time its clock shows."""

    def __init__(self, directory, tokens=10 * SHAPE.total_batch_size, budget=None, resumed=None, **job):
        self.seconds = 0.0
        self.engine = FakeEngine()
        self.recipe = FakeRecipe(self.engine)
        budget = budget or Budget(tokens=tokens)
        self.clock = BudgetClock(budget, 0.0, resumed.tokens if resumed else 0, now=lambda: self.seconds)
        policy = {"checkpoints": CheckpointPolicy(), "curve_points": 0, "recipe_sha": "0" * 64, "shape": SHAPE}
        job = SimpleNamespace(**policy | job)
        hand_over = HandOver(
            self.engine, describe(self.engine, {**self.recipe.state(), "rng": self.engine.rng_state()})
        )
        self.supervisor = Supervisor(directory, job, hand_over, lambda: self.seconds)
        send = lambda lines: self.supervisor.send(Steps(lines=lines))  # noqa: E731
        self.telemetry = Telemetry(send, SHAPE.total_batch_size, 6.0, 1e9)
        self.saver = Saver(job, self.recipe, self.engine, self.clock, self.telemetry, hand_over, self.supervisor)
        if resumed:
            self._restore(directory, resumed)
        self.loop = Loop(self.recipe, self.engine, ROWS, SHAPE, self.clock, self.telemetry, self.saver)

    def _restore(self, directory, record):
        state = read_arrays(self.engine, directory / record.folder, ("model", "optimizer", "rng"))
        self.engine.set_rng_state(state["rng"])
        self.recipe.load(state)
        self.recipe.num_steps, self.telemetry.loss_ema = record.step, record.loss_ema

    def records(self) -> list[StepRecord]:
        self.telemetry.flush()
        return [StepRecord.model_validate_json(line) for line in self.supervisor.lines]


def passing(run: Run, seconds: float = 1.0, fails_at: int | None = None) -> None:
    """Every step of the recipe takes `seconds`; the one numbered `fails_at` raises."""

    def before_step(recipe):
        run.seconds += seconds
        if recipe.num_steps == fails_at:
            raise RuntimeError("in step()")

    run.recipe.before_step = before_step


def test_every_step_has_one_record_with_its_own_loss(tmp_path):
    run = Run(tmp_path)
    assert run.loop.run() == 10
    records = run.records()
    assert [record.step for record in records] == list(range(10))
    assert [record.loss for record in records] == [10.0 / (step + 1) for step in range(10)]
    assert [record.tokens for record in records] == [32 * (step + 1) for step in range(10)]
    assert [record.progress for record in records] == [step / 10 for step in range(10)]
    assert [progress for progress, _ in run.recipe.seen] == [step / 10 for step in range(10)]


def test_what_a_recipe_says_of_itself_stands_with_the_step_it_says_it_of(tmp_path):
    run = Run(tmp_path)
    run.recipe.telemetry = lambda: {"steps_done": float(run.recipe.num_steps)}
    run.loop.recipe_telemetry = run.recipe.telemetry
    run.loop.run()
    assert [record.recipe["steps_done"] for record in run.records()] == [float(step + 1) for step in range(10)]


def test_the_phases_of_a_step_add_up_to_it(tmp_path):
    run = Run(tmp_path)
    run.loop.run()
    for record in run.records():
        phases = record.input_ms + record.dispatch_ms + record.wait_ms + record.record_ms
        assert record.step_ms == pytest.approx(phases)
    assert 0 <= run.telemetry.input_percent <= 100


def test_the_mean_of_the_loss_is_debiased_from_the_first_step_on(tmp_path):
    run = Run(tmp_path)
    run.loop.run()
    weights = [0.9**age for age in range(10)]
    losses = [record.loss for record in run.records()]
    for number, record in enumerate(run.records(), start=1):
        past = list(zip(weights, reversed(losses[:number]), strict=False))
        assert record.loss_ema == pytest.approx(sum(w * x for w, x in past) / sum(w for w, _ in past))


def test_the_loss_is_read_one_step_late(tmp_path):
    run, order = Run(tmp_path), []
    run.recipe.before_step = lambda recipe: order.append(f"give {recipe.num_steps}")
    run.engine.scalar = lambda loss: order.append(f"read {round(10 / loss) - 1}") or float(loss)
    run.loop.run()
    assert order[:5] == ["give 0", "give 1", "read 0", "give 2", "read 1"]
    assert order[-1] == "read 9"


def test_rows_come_in_order_and_start_over_at_the_end(tmp_path):
    run = Run(tmp_path, tokens=20 * SHAPE.total_batch_size)
    run.loop.run()
    first_tokens = [int(ROWS.tokens[4 * step % 37, 0]) for step in range(20)]
    assert [token for _, token in run.recipe.seen] == first_tokens


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf, 100.5])
def test_a_loss_that_is_lost_stops_the_run_within_a_step(tmp_path, loss):
    run, losses = Run(tmp_path), iter([5.0] * 4 + [loss] + [5.0] * 5)
    run.recipe.step = lambda rows, progress: next(losses)
    with pytest.raises(Diverged, match="at step 4"):
        run.loop.run()
    assert [record.step for record in run.records()] == [0, 1, 2, 3]
    assert len(list(losses)) == 4


def test_the_last_step_may_diverge_too(tmp_path):
    run, losses = Run(tmp_path), iter([5.0] * 9 + [math.nan])
    run.recipe.step = lambda rows, progress: next(losses)
    with pytest.raises(Diverged, match="at step 9"):
        run.loop.run()


def test_no_budget_left_is_no_step(tmp_path):
    run = Run(tmp_path)
    run.clock.tokens = 10 * SHAPE.total_batch_size
    run.loop.step = 10
    assert run.loop.run() == 10
    assert run.records() == []
    assert math.isnan(run.telemetry.last_loss)


def test_a_time_budget_drives_progress_and_ends(tmp_path):
    run = Run(tmp_path, budget=Budget(seconds=10))
    passing(run)
    num_steps = run.loop.run()
    assert num_steps == pytest.approx(10, abs=1)
    assert [progress for progress, _ in run.recipe.seen] == pytest.approx([step / 10 for step in range(num_steps)])


def test_the_collector_sleeps_while_training_and_wakes_up_afterwards(tmp_path):
    run, awake = Run(tmp_path), []
    run.recipe.before_step = lambda recipe: awake.append(gc.isenabled())
    run.loop.run()
    assert not any(awake)
    assert gc.isenabled()


def test_the_collector_wakes_up_after_an_exception_too(tmp_path):
    run = Run(tmp_path)
    passing(run, fails_at=3)
    with pytest.raises(RuntimeError, match="in step"):
        run.loop.run()
    assert gc.isenabled()


@pytest.mark.parametrize("mode", ["sync", "async"])
def test_a_periodic_checkpoint_holds_the_state_after_its_step_and_all_telemetry_up_to_it(tmp_path, mode):
    run = Run(tmp_path, checkpoints=CheckpointPolicy(mode=mode, every_s=3))
    passing(run)
    run.loop.run()
    run.saver.wait()
    assert run.supervisor.announced == run.supervisor.lines_at == [3, 6, 9]
    record = latest(tmp_path)
    assert (record.step, record.next_row, record.final) == (9, 36, False)


@pytest.mark.parametrize("mode", ["sync", "async"])
@pytest.mark.parametrize("seed", range(3))
def test_a_run_stopped_anywhere_goes_on_to_the_same_bits(tmp_path, mode, seed):
    policy = CheckpointPolicy(mode=mode, every_s=2)
    whole = Run(tmp_path / "whole", checkpoints=policy)
    whole.loop.run()
    broken = Run(tmp_path / "broken", checkpoints=policy)
    stop = int(np.random.default_rng(seed).integers(3, 10))
    passing(broken, fails_at=stop)
    with pytest.raises(RuntimeError, match="in step"):
        broken.loop.run()
    broken.saver.wait()
    record = latest(tmp_path / "broken")
    resumed = Run(tmp_path / "broken", resumed=record)
    assert resumed.loop.run() == 10
    assert np.array_equal(resumed.recipe.weights, whole.recipe.weights)
    assert np.array_equal(resumed.recipe.momentum, whole.recipe.momentum)
    tail = [(r.step, r.loss, r.loss_ema) for r in whole.records()][record.step :]
    assert [(r.step, r.loss, r.loss_ema) for r in resumed.records()] == tail


def test_an_asynchronous_checkpoint_is_a_copy(tmp_path):
    run = Run(tmp_path, checkpoints=CheckpointPolicy(mode="async", every_s=1))
    run.recipe.weights = np.zeros(VOCAB_SIZE)
    run.saver.save_checkpoint(1)
    run.recipe.weights += 1
    run.saver.wait()
    arrays = read_arrays(run.engine, tmp_path / latest(tmp_path).folder, ("model",))
    assert not arrays["model"]["weights"].any()


def test_an_asynchronous_write_that_fails_ends_the_run(tmp_path, monkeypatch):
    run = Run(tmp_path, checkpoints=CheckpointPolicy(mode="async", every_s=1))
    passing(run)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(HostBuffer, "read_into", full)
    with pytest.raises(OSError, match="No space"):
        run.loop.run()


def test_the_final_checkpoint_of_a_step_that_already_has_one_takes_another_folder(tmp_path):
    run = Run(tmp_path)
    run.loop.run()
    run.saver.save_checkpoint(10)
    run.saver.hand_over_final()
    run.supervisor.store.save_final(10, TrainingRecord(status=Status.OK, training_seconds=1.0))
    assert latest(tmp_path).final
    assert latest(tmp_path).folder == "step-00000010-1"
    assert [folder.name for folder in tmp_path.glob("step-*")] == ["step-00000010-1"]


def test_points_of_the_curve_are_evenly_spaced_and_written_once(tmp_path):
    run = Run(tmp_path, curve_points=4)
    run.loop.run()
    assert [folder.name for folder in curve_folders(tmp_path)] == ["curve-01", "curve-02", "curve-03", "curve-04"]
    resumed = Run(tmp_path, curve_points=4)
    resumed.clock.tokens = 5 * SHAPE.total_batch_size
    assert Saver(resumed.saver.job, None, None, resumed.clock, None, None, None).curve_index == 2


def test_what_the_recipe_says_of_itself_is_in_every_record(tmp_path):
    run = Run(tmp_path)
    run.loop.recipe_telemetry = lambda: {"lr_multiplier": 0.5}
    run.loop.run()
    assert all(record.recipe == {"lr_multiplier": 0.5} for record in run.records())


def test_where_no_peak_is_published_there_is_no_utilization(tmp_path):
    run = Run(tmp_path)
    run.telemetry.peak_flops = None
    run.loop.run()
    assert {record.mfu_percent for record in run.records()} == {None}


def test_utilization_is_of_the_devices_own_peak(tmp_path):
    run = Run(tmp_path)
    run.loop.run()
    record = run.records()[-1]
    assert record.mfu_percent == pytest.approx(100 * 6.0 * record.tok_per_sec / 1e9)


def test_points_that_stay_from_before_a_kill_count_among_those_that_were_asked_for(tmp_path):
    run = Run(tmp_path, curve_points=2)
    keep(run, 1, at_s=1.0)
    run.seconds = 2.0
    run.saver.save_checkpoint(1)
    run.saver.wait()
    keep(run, 2, at_s=3.0)
    again = Run(tmp_path, curve_points=2)
    again.supervisor.store.go_on_from(latest(tmp_path))
    assert [folder.name for folder in curve_folders(tmp_path)] == ["curve-01"]
    keep(again, 2, at_s=3.0)
    with pytest.raises(Ended, match="point 3 of a curve of 2"):
        again.saver.save_curve_point(3, 0.9)


def keep(run, step, at_s):
    run.seconds = at_s
    run.saver.save_curve_point(step, 0.5)
    run.saver.wait()
