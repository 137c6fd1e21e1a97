"""What `make test-gpu` prints for docs/validation starts as the Makefile starts it, and its tables are made of what the
kernel lab answers."""

import os
import subprocess

import pytest

from benchmarks import gpu_kernels
from benchmarks.estimate_rows import read_rows
from shared.settings import CHECKOUT

BOUTS = {
    "eager": {"verdict": "faster", "candidate_s": {"value": 0.002}, "speedup": {"value": 3.0}},
    "compiled": {"verdict": "faster", "candidate_s": {"value": 0.004}, "speedup": {"value": 1.5}},
}


def benched(speedup: float, verdict: str = "faster"):
    compiled = BOUTS["compiled"] | {"verdict": verdict, "speedup": {"value": speedup}}
    return {
        "status": "ok",
        "headline": "h",
        "data": {"status": "PASSED", "limit_s": 0.001, "bouts": BOUTS | {"compiled": compiled}},
    }


def test_it_starts_from_the_checkout_as_make_starts_it():
    planned = subprocess.run(["make", "-n", "test-gpu"], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    (command,) = [line for line in planned.stdout.splitlines() if "gpu_validation" in line]
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    argv = [*command.split(), "--help"]
    done = subprocess.run(argv, cwd=CHECKOUT, env=bare, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_a_kernel_that_was_timed_has_its_speed_ups_and_its_share_of_the_limit():
    rows = gpu_kernels.kernel_rows({"fused_mlp/triton_saved": benched(1.5)})
    assert rows == [["fused_mlp/triton_saved", "PASSED", "4.0000", "3.00x", "1.50x", "25%", ""]]


def test_a_kernel_that_was_not_timed_says_why():
    wrong = {"status": "failed", "headline": "off by 2", "data": {"status": "INCORRECT_NUMERICAL"}}
    assert gpu_kernels.kernel_rows({"a/b": wrong}) == [["a/b", "INCORRECT_NUMERICAL", "-", "-", "-", "-", "off by 2"]]
    absent = gpu_kernels.lab("verify", "no_such_op/triton_x")
    assert absent["status"] == "refused"
    assert "no_such_op" in absent["headline"]


def test_the_trainer_compares_the_two_that_are_faster_by_most():
    answers = {"a": benched(1.1), "b": benched(3.0, "no different"), "c": benched(2.0), "d": benched(1.2)}
    assert gpu_kernels.best(answers) == ["c", "d"]


def test_every_triton_kernel_is_proved_and_timed():
    names = gpu_kernels.triton_kernels()
    assert {"fused_mlp/triton_saved", "attention_prelude/triton_epilogue"} <= set(names)
    assert len(names) >= 11


def test_what_was_predicted_stands_beside_what_is_measured():
    kept = [row for row in read_rows().values() if row.target == "gb10" and row.loop != "upstream"]
    measured = []
    lines = gpu_kernels.estimate_lines("gb10", lambda shape, kernels: measured.append((shape, kernels)) or (1e5, 100.0))
    assert len(lines) == len(kept) == len(measured) > 0
    assert {kernels.get("residual_mlp") for _, kernels in measured} == {None, "triton_saved"}
    assert all(line[3] == "100,000" and line[5].endswith(" %") for line in lines)


def test_a_step_that_does_not_fit_is_a_line_and_not_the_end():
    def measure(shape, kernels):
        raise MemoryError("too large")

    assert gpu_kernels.estimate_lines("gb10", measure)[0][3] == "MemoryError: too large"


@pytest.mark.slow
def test_the_kernel_lab_answers_for_a_kernel_of_this_machine():
    answers = gpu_kernels.bench_all("cpu", ["cross_entropy_full/torch_chunked"])
    (row,) = gpu_kernels.kernel_rows(answers)
    assert row[1] == "PASSED", answers
    assert row[3].endswith("x")
