"""What may be done before the clock, and what counts as training there."""

import pytest

from services.trainer.limits import early_s
from shared.contracts import Budget, Rung
from tests.run_making import make_job


@pytest.mark.parametrize(
    ("changes", "taken_s", "counted_s"),
    [
        ({}, 8.0, 0.0),
        ({}, 190.0, 190.0 - 2 - 2 * 3 - 0.05 * 60),
        ({"compile": "on"}, 48.0, 0.0),
        ({"compile": "on"}, 800.0, 800.0 - 2 - 25 * 3 - 0.05 * 60),
        ({"device": "cuda:0"}, 190.0, 0.0),
        ({"rung": Rung.SMOKE}, 190.0, 0.0),
        ({"budget": Budget(tokens=1000)}, 190.0, 0.0),
    ],
)
def test_a_long_start_on_a_cpu_counts_as_training_since_text_is_found_there_too(workplace, changes, taken_s, counted_s):
    job = make_job(**{"budget": Budget(seconds=60), "device": "cpu", **changes})
    assert early_s(job, opening_s=3.0, taken_s=taken_s) == pytest.approx(counted_s)


@pytest.mark.parametrize("compile", ["auto", "on"])
def test_a_framework_that_opens_at_once_may_take_as_long_to_warm_up_as_another_and_no_longer(workplace, compile):
    job = make_job(engine="mlx", compile=compile, device="cpu", budget=Budget(seconds=20))
    assert early_s(job, opening_s=0.02, taken_s=5.0) == 0.0
    assert early_s(job, opening_s=0.02, taken_s=28.0) == pytest.approx(28 - 2 - 2 * 1 - 0.05 * 20)
