"""The store of measured evaluation costs."""

import subprocess
import sys
from datetime import UTC, datetime

import pytest

from shared.contracts import Rung
from shared.evaluation.costs import (
    EvalCost,
    append_cost,
    costs_file,
    read_costs,
    runtime_signature,
    shape_signature,
    signature,
)
from shared.experiment.presets import find_preset
from shared.settings import CHECKOUT, settings

HARDWARE = "nvidia-blackwell-gb10-120gb"


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("ARE_HOME", str(tmp_path))
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


def cost(run_id="run-1", seconds=1.5):
    return EvalCost(
        hardware_key=HARDWARE,
        shape_signature="a" * 64,
        runtime_signature="b" * 64,
        eval_signature="c" * 64,
        rung=Rung.CHEAP,
        num_tokens=262_144,
        seconds=seconds,
        run_id=run_id,
        measured_at=datetime(2026, 7, 1, 12, tzinfo=UTC),
    )


def append_ten(writer):
    for number in range(10):
        append_cost(cost(f"run-{writer}-{number}"))


def test_what_was_appended_is_read_back_in_order():
    append_cost(cost("first"))
    append_cost(cost("second", seconds=2.5))
    history = read_costs(HARDWARE)
    assert history.costs == (cost("first"), cost("second", seconds=2.5))
    assert history.note == ""


def test_a_machine_never_measured_has_no_costs():
    assert read_costs("unseen").costs == ()


def test_a_torn_last_line_is_left_out_and_said():
    append_cost(cost("whole"))
    with open(costs_file(HARDWARE), "ab") as file:
        file.write(b'{"hardware_key": "nvidia-bl')
    history = read_costs(HARDWARE)
    assert [cost.run_id for cost in history.costs] == ["whole"]
    assert "1 unreadable line" in history.note


def test_appending_after_a_torn_line_starts_a_line_of_its_own():
    append_cost(cost("before"))
    with open(costs_file(HARDWARE), "ab") as file:
        file.write(b'{"torn')
    append_cost(cost("after"))
    history = read_costs(HARDWARE)
    assert [cost.run_id for cost in history.costs] == ["before", "after"]
    assert history.note == ""


def test_processes_that_append_at_once_lose_nothing():
    code = "import sys; from tests.shared.evaluation.test_costs import append_ten; append_ten(sys.argv[1])"
    processes = [subprocess.Popen([sys.executable, "-c", code, str(n)], cwd=CHECKOUT) for n in range(3)]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    history = read_costs(HARDWARE)
    assert len({cost.run_id for cost in history.costs}) == 30
    assert history.note == ""


@pytest.mark.parametrize("key", ["../elsewhere", "", "a/b", ".hidden"])
def test_a_hardware_key_that_could_leave_its_folder_is_refused(key):
    with pytest.raises(ValueError, match="hardware key"):
        costs_file(key)


def test_a_signature_depends_on_names_and_values_but_not_on_their_order():
    assert signature(a=1, b=2) == signature(b=2, a=1)
    assert signature(a=1, b=2) != signature(a=2, b=1)


def test_a_mutated_shape_or_evaluation_batch_has_another_signature():
    shape = find_preset("m5-tiny").shape
    mutated = shape.model_copy(update={"window_pattern": "S"})
    assert len({shape_signature(shape, 6), shape_signature(shape, 12), shape_signature(mutated, 6)}) == 3


def test_every_field_of_the_runtime_is_in_its_signature():
    runtime = {"engine": "torch", "framework_version": "2.13.0", "dtype": "bf16", "attention": "flash4"}
    changed = [{**runtime, name: "other"} for name in runtime]
    assert len({runtime_signature(**fields) for fields in [runtime, *changed]}) == 5
