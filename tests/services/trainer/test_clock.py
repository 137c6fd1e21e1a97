import pytest

from services.trainer.clock import BudgetClock
from shared.contracts import Budget


class FakeTime:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_progress_is_the_spent_share_of_the_seconds():
    time = FakeTime()
    clock = BudgetClock(Budget(seconds=10), spent_seconds=0, tokens=0, now=time)
    time.now += 2.5
    assert clock.progress == pytest.approx(0.25)
    time.now += 100
    assert clock.progress == 1.0


def test_a_resumed_clock_goes_on_from_what_was_spent():
    clock = BudgetClock(Budget(seconds=10), spent_seconds=4, tokens=0, now=FakeTime())
    assert clock.progress == pytest.approx(0.4)


def test_it_is_over_at_the_step_boundary_nearest_to_the_budget():
    time = FakeTime()
    clock = BudgetClock(Budget(seconds=300), spent_seconds=0, tokens=0, now=time)
    time.now += 298.4
    assert not clock.is_over(step_seconds=3.0, in_flight_seconds=0.0)  # 301.4 is nearer to 300 than 298.4
    time.now += 0.2
    assert clock.is_over(step_seconds=3.0, in_flight_seconds=0.0)


def test_a_step_that_is_long_for_its_budget_buys_no_time():
    time = FakeTime()
    clock = BudgetClock(Budget(seconds=10), spent_seconds=0, tokens=0, now=time)
    time.now += 8.4
    assert clock.is_over(step_seconds=3.0, in_flight_seconds=0.0)  # 11.4 is nearer to 10, but 14 % too long


def test_the_time_of_the_hand_over_is_kept_free():
    time = FakeTime()
    clock = BudgetClock(Budget(seconds=10), spent_seconds=0, tokens=0, reserve_s=2.0, now=time)
    time.now += 4.0
    assert clock.progress == pytest.approx(0.5)
    time.now += 3.9
    assert not clock.is_over(step_seconds=0.01, in_flight_seconds=0.0)
    time.now += 0.1
    assert clock.is_over(step_seconds=0.01, in_flight_seconds=0.0)
    assert clock.progress == 1.0


def test_a_long_step_that_would_end_seconds_after_the_budget_is_not_begun():
    time = FakeTime()
    clock = BudgetClock(Budget(seconds=300), spent_seconds=0, tokens=0, now=time)
    time.now += 287.0
    assert not clock.is_over(step_seconds=12.0, in_flight_seconds=0.0)
    time.now += 3.0
    assert clock.is_over(step_seconds=12.0, in_flight_seconds=0.0)  # 302 is nearer to 300 than 290


def test_work_the_device_has_not_finished_counts_as_spent():
    time = FakeTime()
    clock = BudgetClock(Budget(seconds=10), spent_seconds=0, tokens=0, now=time)
    time.now += 8.0
    assert not clock.is_over(step_seconds=1.0, in_flight_seconds=0.0)
    assert clock.is_over(step_seconds=1.0, in_flight_seconds=1.6)


def test_a_token_budget_does_not_look_at_the_time():
    time = FakeTime()
    clock = BudgetClock(Budget(tokens=1000), spent_seconds=0, tokens=0, now=time)
    time.now += 1e6
    assert clock.progress == 0.0
    clock.tokens = 999
    assert not clock.is_over(1.0, 0.0)
    clock.tokens = 1000
    assert clock.is_over(1.0, 0.0)
