"""The pictures: valid PNG files whatever the run looked like, and the numbers that they draw."""

import math
import subprocess
import sys

import pytest

from shared.contracts import Status
from shared.tracking.plots import _loss_limits, _running_best, plot_progress, plot_training
from tests.shared.tracking.finished_runs import make_evaluation, make_result, make_steps

FAILED = make_result("failed", None, Status.DIVERGED, "loss 131.2 above 100 at step 41")


def is_picture(path):
    return path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size > 5_000


@pytest.mark.parametrize("num_steps", [0, 1, 1066])
def test_a_training_curve_is_drawn_for_any_number_of_steps(tmp_path, num_steps):
    result = make_result()
    plot_training(make_steps(num_steps), make_evaluation(result).curve, result, tmp_path / "training.png")
    assert is_picture(tmp_path / "training.png")


def test_a_run_that_diverged_to_nan_has_a_picture_too(tmp_path):
    steps = make_steps(40)
    steps[-1] = steps[-1].model_copy(update={"loss": math.nan, "loss_ema": math.inf})
    plot_training(steps, (), FAILED, tmp_path / "training.png")
    assert is_picture(tmp_path / "training.png")


@pytest.mark.parametrize("results", [[], [FAILED], [make_result()], [make_result(), FAILED, make_result("b", 1.4)]])
def test_progress_is_drawn_for_any_mix_of_results(tmp_path, results):
    plot_progress(results, tmp_path / "progress.png")
    assert is_picture(tmp_path / "progress.png")


def test_the_running_best_keeps_only_improvements():
    assert _running_best([(1, 1.5), (2, 1.6), (4, 1.4), (5, 1.4), (6, 1.3)]) == [(1, 1.5), (4, 1.4), (6, 1.3)]


def test_the_loss_scale_leaves_out_the_first_steep_steps():
    low, high = _loss_limits([9.0, *[4.0 - number / 1000 for number in range(99)]])
    assert low < 3.9
    assert high < 4.2


def test_importing_the_plots_does_not_import_matplotlib():
    check = "import sys, shared.tracking.plots, shared.tracking; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", check], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "mlflow"} & set(done.stdout.split())
