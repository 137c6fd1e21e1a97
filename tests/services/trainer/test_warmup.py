"""Warm-up: leaves no trace in weights, optimizer and generators, and finds every breach of the protocol."""

import re
from types import SimpleNamespace

import numpy as np
import pytest

from services.trainer import warmup
from services.trainer.hand_over import HandOver, describe
from services.trainer.warmup import warm_up
from shared.contracts import Budget
from shared.runs.recipe_file import InvalidRecipe
from tests.fake_engine import SHAPE, VOCAB_SIZE, FakeEngine, FakeRecipe

JOB = SimpleNamespace(shape=SHAPE, budget=Budget(seconds=10))


def warmed_up(change=lambda recipe: None) -> FakeRecipe:
    engine = FakeEngine()
    recipe = FakeRecipe(engine)
    hand_over = HandOver(engine, describe(engine, {**recipe.state(), "rng": engine.rng_state()}))
    hand_over.attach(np.zeros(hand_over.layout.num_bytes, np.uint8))
    change(recipe)
    warm_up(recipe, engine, JOB, VOCAB_SIZE, hand_over)
    return recipe


def refusal(change) -> str:
    with pytest.raises(InvalidRecipe) as caught:
        warmed_up(change)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_state_and_generators_are_as_they_were():
    recipe = warmed_up()
    assert recipe.num_steps > 0
    assert not recipe.weights.any()
    assert not recipe.momentum.any()
    assert recipe.engine.random.random() == FakeEngine().random.random()
    assert recipe.engine.memory_resets == 1


def test_a_warmed_up_recipe_trains_like_a_fresh_one():
    rows = np.ones((4, 9), dtype=int)
    warm, fresh = warmed_up(), FakeRecipe(FakeEngine())
    for recipe in (warm, fresh):
        recipe.num_steps = 0
        recipe.step(rows, 0.5)
    assert np.array_equal(warm.weights, fresh.weights)


def test_its_rows_have_the_shape_of_real_ones_and_random_tokens_of_the_vocabulary():
    seen = []

    def watch(recipe):
        real = recipe.step
        recipe.step = lambda rows, progress: seen.append(rows) or real(rows, progress)

    warmed_up(watch)
    for rows in seen:
        assert rows.shape == (SHAPE.rows_per_step, SHAPE.seq_len + 1)
        assert set(np.unique(rows)) <= set(range(VOCAB_SIZE))


@pytest.mark.parametrize(("seconds", "num_steps"), [([1.0, 0.9], 2), ([10.0, 1.0, 0.9], 3), ([1.0, 2.0], 2)])
def test_a_third_step_is_run_only_where_the_second_was_much_faster(monkeypatch, seconds, num_steps):
    times = iter([moment for duration in seconds for moment in (0.0, duration)])
    monkeypatch.setattr(warmup, "perf_counter", lambda: next(times))
    recipe = warmed_up()
    assert [progress for progress, _ in recipe.seen] == [0.0, 0.5, 1.0][:num_steps]


def test_one_step_is_enough_where_nothing_is_compiled(monkeypatch):
    monkeypatch.setattr(FakeEngine, "compiles", False)
    assert [progress for progress, _ in warmed_up().seen] == [0.0]


def returning(name: str, value):
    return lambda recipe: setattr(recipe, name, lambda *arguments: value)


def raising(name: str, error: BaseException):
    def raise_(*arguments):
        raise error

    return lambda recipe: setattr(recipe, name, raise_)


def forgetful(recipe):
    recipe.load = lambda state: setattr(recipe, "weights", state["model"]["weights"].copy())


def growing(recipe):
    real = recipe.state
    recipe.state = lambda: real() | ({"optimizer": {"second": recipe.momentum}} if recipe.num_steps else {})


def not_finite(recipe):
    recipe.logits = lambda tokens: np.full((*tokens.shape, VOCAB_SIZE), np.inf)


MISTAKES = {
    "step raises": (raising("step", KeyError("x")), r"step\(\) failed: KeyError"),
    "step exits": (raising("step", SystemExit(0)), r"step\(\) failed: SystemExit"),
    "step returns nothing": (returning("step", None), r"step\(\) failed: TypeError"),
    "step returns NaN": (returning("step", float("nan")), r"step\(\) returned nan"),
    "logits raises": (raising("logits", RuntimeError("x\ny")), r"logits\(\) failed: RuntimeError: x y"),
    "logits returns nothing": (returning("logits", None), r"logits\(\) returned shape \(\), expected \(1, 2048, 11\)"),
    "logits of another shape": (returning("logits", np.zeros((1, 2048, 10))), r"shape \(1, 2048, 10\)"),
    "logits not finite": (not_finite, "not finite"),
    "state raises": (raising("state", AttributeError("x")), r"state\(\) failed"),
    "state is no mapping": (returning("state", 3), r"state\(\) failed: TypeError"),
    "state has other groups": (returning("state", {"weights": {}}), r"state\(\) must be"),
    "state without weights": (returning("state", {"model": {}, "optimizer": {}}), r"state\(\) must be"),
    "state that grows": (growing, r"has 1 arrays|is missing or of another shape"),
    "load raises": (raising("load", ValueError("x")), r"load\(state\(\)\) failed"),
    "load forgets the optimizer": (forgetful, "does not restore optimizer/momentum"),
    "telemetry raises": (raising("telemetry", ValueError("x")), r"telemetry\(\) failed"),
    "telemetry is no mapping": (returning("telemetry", [1.0]), r"telemetry\(\) failed"),
    "telemetry of words": (returning("telemetry", {"lr": "small"}), r"telemetry\(\) must return numbers"),
}


@pytest.mark.parametrize("name", MISTAKES)
def test_a_mistake_against_the_protocol_is_one_line(name):
    change, message = MISTAKES[name]
    assert re.search(message, refusal(change))


@pytest.mark.parametrize("name", ["step", "logits", "state", "load"])
def test_running_out_of_memory_is_not_the_recipes_mistake(name):
    with pytest.raises(MemoryError):
        warmed_up(raising(name, MemoryError()))


def test_telemetry_may_be_left_out_or_be_numbers():
    warmed_up(returning("telemetry", {"lr_multiplier": 0.5, "steps": 3}))
