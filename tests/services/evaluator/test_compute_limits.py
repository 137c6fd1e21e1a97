"""Limits of load and scoring time, with a process whose calls take what the test says."""

from dataclasses import replace

import numpy as np
import pytest

from services.evaluator import compute_limits
from services.evaluator.compute_limits import ComputeLimits, MeasuredProcess, Spent
from shared.contracts import Budget
from shared.sandbox.launch import Ended
from tests.run_making import make_trained_run, weights_file

LIMITS = ComputeLimits(kernels_s=0.0, weights_s=1.0, of_budget_s=3.0, training_token_s=1e-3)
OPENING_S = 2.0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class SlowProcess:
    """Each thing asked takes the next of `seconds`."""

    tokens_BT = np.zeros((2, 100), dtype=np.uint16)

    def __init__(self, clock: Clock, seconds: list[float]):
        self.clock, self.seconds = clock, iter(seconds)

    def _take_time(self, *_: object) -> "SlowProcess":
        self.clock.now += next(self.seconds)
        return self

    load = logits = _take_time

    def __enter__(self) -> "SlowProcess":
        return self

    def await_opened(self) -> None:
        self.clock.now += OPENING_S

    import_s = 0.0
    warm_up = _take_time

    def limit_traces(self) -> None:
        pass

    @property
    def serving(self) -> "SlowProcess":
        return self._take_time()

    def __exit__(self, *_: object) -> None:
        self.ended = True


@pytest.fixture
def measured(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(compute_limits, "monotonic", clock)
    return lambda *seconds, limits=LIMITS: MeasuredProcess(SlowProcess(clock, list(seconds)), limits, Spent())


def test_what_each_process_took_is_kept(measured):
    process = measured(3.0, 0.5, 0.5, 2.0)
    with process:
        process.logits(None)
        process.load(None)
    outside = [pytest.approx(3.0 - 1.0 - 0.25 - 0.1)]
    assert process.spent == Spent(loads=[3.0, 2.0], forwards=[1.0], scattered=outside, at_once=outside)


GPU = replace(LIMITS, kernels_s=30.0, training_token_s=None)


@pytest.mark.parametrize(("idle_share", "counted_s"), [(1.0, 0.0), (0.0, 20.0), (0.5, 10.0)])
def test_only_while_the_gpu_is_idle_a_kernel_may_be_compiling(measured, idle_share, counted_s):
    """20 s of build() and load(): free as far as the GPU did nothing."""
    process = measured(20.0, 0.5, 0.5, limits=GPU)
    clock = process._starting.clock
    process._gpu._busy_s = lambda: (1 - idle_share) * clock.now
    with process:
        process.logits(None)
    free_s = GPU.free_s(OPENING_S) + GPU.excused_weights_s()
    assert process.spent.outside == pytest.approx(max(0.0, counted_s - free_s))


def test_idle_time_of_a_gpu_excuses_only_as_much_as_kernels_need(measured):
    process = measured(28.0, 20.0, limits=GPU)
    process._gpu._busy_s = lambda: 0.0
    with process:
        pass
    assert process._counted == [pytest.approx(20.0 - (30.0 - 28.0))]


def test_training_on_in_load_is_refused_and_the_process_ends(measured):
    process = measured(40.0)
    with pytest.raises(Ended, match=r"compute: build\(\) and load\(\) took 40\.0 s, more than 9\.0 s"), process:
        pass
    assert process._starting.ended


def test_a_machine_that_is_slow_to_open_the_engine_has_more_time_to_load():
    assert LIMITS.load_s(10.0) == LIMITS.load_s(0.0) + 10.0


def test_training_on_in_a_later_load_is_refused(measured):
    with measured(1.0, 0.5, 13.0) as process, pytest.raises(Ended, match=r"load\(\) took 13\.0 s, more than 9\.0 s"):
        process.load(None)


FAST = ComputeLimits(kernels_s=0.0, weights_s=1.0, of_budget_s=3.0, training_token_s=None)


def ask(process: MeasuredProcess, num_passes: int) -> None:
    """The first is the one to warm up."""
    with process:
        for _ in range(num_passes - 1):
            process.logits(None)


@pytest.mark.parametrize("place", range(5))
def test_training_on_in_any_forward_pass_is_refused(measured, place):
    passes = [0.5] * 5
    passes[place] = 25.0
    with pytest.raises(Ended, match="unusually long passes"):
        ask(measured(1.0, *passes, limits=FAST), len(passes))


def test_training_on_in_pieces_is_refused(measured):
    passes = [6.0] * 4 + [0.5] * 10
    with pytest.raises(Ended, match="unusually long passes"):
        ask(measured(1.0, *passes, limits=FAST), len(passes))


def test_passes_that_differ_as_on_a_busy_machine_are_fine(measured):
    passes = np.random.default_rng(0).uniform(0.5, 2.0, 100)
    ask(measured(1.0, *passes, limits=FAST), len(passes))


def test_an_ordinary_process_spends_nothing_outside_the_budget(measured):
    process = measured(1.2, 0.4, *[0.3] * 9)
    ask(process, 10)
    assert process.spent.outside == 0.0


def test_a_first_pass_that_may_have_trained_counts(measured):
    process = measured(1.2, 2.3, *[0.3] * 9, limits=FAST)
    ask(process, 10)
    assert process.spent.outside == pytest.approx(0.2 + 2.3 - 0.55 - 0.25 - 0.1)


def test_slow_passes_excuse_no_first_ones_that_may_have_trained(measured):
    """A tenth of them all: thirteen seconds here."""
    limits = ComputeLimits(kernels_s=0.0, weights_s=0.0, of_budget_s=0.1, training_token_s=None)
    slow = measured(0.2, 3.0, 2.0, *[0.5] * 260, limits=limits)
    ask(slow, 262)
    assert slow.spent.outside == pytest.approx(0.2 + 3.0 + 2.0 - 2 * (0.5 + 0.25) - 0.25 - 0.1)


@pytest.mark.parametrize(("scored", "audits", "outside"), [(5.0, 0.6, 4.1), (0.6, 5.0, 0.0)])
def test_a_pass_that_was_disturbed_while_auditing_was_no_training(measured, scored, audits, outside):
    """Who learned had to do so before the first row that is scored. An audit begins with rows that need not agree."""
    limits = ComputeLimits(kernels_s=0.0, weights_s=0.0, of_budget_s=0.1, training_token_s=None)
    first, second = (measured(0.2, longest, *[0.5] * 100, limits=limits) for longest in (scored, audits))
    second.spent = first.spent
    ask(first, 101)
    ask(second, 101)
    assert second.spent.outside == pytest.approx(outside)


def test_a_pass_to_warm_a_process_up_is_one_of_its_passes(measured):
    process = measured(0.2, 0.3, limits=FAST)
    with process:
        pass
    assert (process.spent.loads, process.spent.forwards) == ([pytest.approx(0.2)], [pytest.approx(0.3)])


def test_training_on_a_little_in_every_forward_pass_is_refused(measured):
    with measured(1.0, 10.0, 16.0) as process, pytest.raises(Ended, match="all passes"):
        process.logits(None)


def test_the_limits_follow_the_budget_and_what_training_took(workplace):
    from shared.contracts import Status, TrainingRecord

    run = make_trained_run()
    record = TrainingRecord(status=Status.OK, training_seconds=100.0, total_tokens=1_000_000)
    limits = compute_limits.compute_limits(run.job(), record, weights_file(run), 8192)
    assert (limits.of_budget_s, limits.training_token_s, limits.kernels_s) == (1.0, 1e-4, 0.0)
    assert compute_limits.compute_limits(run.job(), None, weights_file(run), 8192).all_s(10) == float("inf")


def test_weights_excuse_no_more_than_a_two_hundredth_of_the_budget(measured):
    padded = ComputeLimits(kernels_s=0.0, weights_s=20.0, of_budget_s=3.0, training_token_s=None)
    process = measured(19.0, 0.3, limits=padded)
    ask(process, 1)
    assert process.spent.outside == pytest.approx(19.0 - 1.5 - 0.25 - 0.1)


@pytest.mark.parametrize("count", [1, 10])
def test_training_anew_in_every_pass_counts_once(measured, count):
    """What one answer knows, it learned in one pass: a process must not remember."""
    process = measured(0.3, *[3.0] * count)
    ask(process, count)
    assert process.spent.outside == pytest.approx(3.0 - 3 * 1e-3 * 200 - 0.25 - 0.1)


def test_what_is_free_is_free_once_and_little_of_a_short_budget(measured):
    """Loading and answering a little longer each would be twice as much."""
    short = ComputeLimits(kernels_s=0.0, weights_s=0.0, of_budget_s=0.1, training_token_s=None)
    process = measured(0.3, 1.6, *[0.2] * 9, limits=short)
    ask(process, 10)
    assert process.spent.outside == pytest.approx(0.3 + (1.6 - 0.2 - 0.2) - 0.25 - 0.1)
    shorter = replace(short, of_budget_s=0.03)
    process = measured(0.4, *[0.01] * 9, limits=shorter)
    ask(process, 9)
    assert process.spent.outside == pytest.approx(0.4 - 0.075 - 0.1)


@pytest.mark.parametrize(("budget_s", "pass_s"), [(300, 3.0), (60, 0.6), (20, 0.5), (10, 0.5), (3, 0.15)])
def test_a_recipe_that_reports_few_tokens_gets_a_hundredth_of_the_budget_for_a_pass(budget_s, pass_s):
    assert limits_of(budget_s, training_token_s=100.0).usual_s(16_384) == pytest.approx(pass_s)


def limits_of(budget_s: float, training_token_s: float = 4e-3, weights_s: float = 0.5) -> ComputeLimits:
    """Of a small model on a slow machine."""
    return ComputeLimits(0.0, weights_s, 0.01 * budget_s, training_token_s)


@pytest.mark.parametrize("budget_s", [60.0, 300.0])
def test_who_trains_a_little_wherever_something_is_excused_has_trained_too_long(measured, budget_s):
    """In load(), anew in every pass, and more in the first two: a twenty-fifth of the budget in all."""
    lesson_s = 0.01 * budget_s
    usual_s = 0.2 + lesson_s
    process = measured(0.2 + lesson_s, *[usual_s + lesson_s] * 2, *[usual_s] * 60, limits=limits_of(budget_s, 100, 20))
    ask(process, 62)
    assert not Budget(seconds=budget_s).covers(budget_s + process.spent.outside)


@pytest.mark.parametrize("budget_s", [10.0, 60.0, 300.0])
def test_an_honest_recipe_on_a_slow_machine_has_trained_for_its_budget(measured, budget_s):
    """Half a second to load, as long for a pass, and three passes that take half as long again."""
    process = measured(0.5, *[0.75] * 3, *[0.5] * 60, limits=limits_of(budget_s))
    ask(process, 63)
    assert Budget(seconds=budget_s).covers(budget_s + process.spent.outside)


def test_what_was_imported_before_a_process_was_forked_is_a_part_of_its_opening(measured):
    process = measured(0.2, 0.3)
    process._starting.import_s = 3.0
    with process:
        assert process.opening_s == 3.0 + OPENING_S
