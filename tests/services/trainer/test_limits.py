"""What may be done before the clock, and what counts as training there."""

import pytest

from services.trainer.limits import free_before_clock_s
from shared.contracts import Budget, Rung
from tests.run_making import make_job

INFINITE = float("inf")


@pytest.mark.parametrize(
    ("changes", "free_s"),
    [
        ({}, 2 + 2 * 3 + 0.05 * 60),
        ({"compile": "on"}, 2 + 2 * 3 + 0.05 * 60),
        ({"device": "metal"}, 2 + 2 * 3 + 0.05 * 60 + 10),
        ({"device": "cuda:0"}, 2 + 25 * 3 + 0.05 * 60),
        ({"rung": Rung.SMOKE}, INFINITE),
        ({"budget": Budget(tokens=1000)}, INFINITE),
    ],
)
def test_a_long_start_counts_as_training_on_every_device_since_text_is_found_there_too(workplace, changes, free_s):
    job = make_job(**{"budget": Budget(seconds=60), "device": "cpu", **changes})
    assert free_before_clock_s(job, opening_s=3.0, gpu_seen=False) == pytest.approx(free_s)


def test_compiling_is_free_on_a_gpu_whose_driver_tells_how_long_it_computed(workplace):
    job = make_job(device="cuda:0", budget=Budget(seconds=60))
    assert free_before_clock_s(job, opening_s=30.0, gpu_seen=True) == pytest.approx(2 + 2 * 1 + 0.05 * 60)


@pytest.mark.parametrize("compile", ["auto", "on"])
def test_a_framework_that_opens_at_once_may_take_as_long_to_warm_up_as_another(workplace, compile):
    job = make_job(engine="mlx", compile=compile, device="cpu", budget=Budget(seconds=20))
    assert free_before_clock_s(job, opening_s=0.02, gpu_seen=False) == pytest.approx(2 + 2 * 1 + 0.05 * 20)


def test_a_machine_that_is_kept_busy_while_the_engine_opens_gives_no_more_time(workplace):
    job = make_job(device="cpu", budget=Budget(seconds=60))
    assert free_before_clock_s(job, opening_s=30.0, gpu_seen=False) == pytest.approx(2 + 2 * 5 + 0.05 * 60)
