"""Compilation and warm-up on throw-away tokens, outside the budget, with every bit of state put back.

It is also where a recipe that breaks the protocol is found, before any of the budget is spent.
"""

import math
from time import perf_counter
from typing import Any

import numpy as np

from services.trainer.hand_over import HandOver
from shared.contracts import Job
from shared.engines import Engine, State
from shared.evaluation.rungs import EVAL_SEQ_LEN
from shared.experiment.recipe import blaming
from shared.runs.recipe_file import InvalidRecipe

PROGRESS = (0.0, 0.5, 1.0)  # different values, so that a schedule which makes the compiler start over does it here


def warm_up(recipe: Any, engine: Engine, job: Job, vocab_size: int, hand_over: HandOver) -> None:
    """Runs the recipe's functions once or more, and the hand-over of its state.

    InvalidRecipe when shapes, values or the restored state are wrong, or the hand-over would take half the budget.
    """
    before, generators = copy_state(recipe, engine), engine.rng_state()
    random = np.random.default_rng(0)
    shape = (job.shape.rows_per_step, job.shape.seq_len + 1)
    rows = engine.from_host(random.integers(0, vocab_size, shape, dtype=np.uint16))
    _warm_steps(recipe, engine, rows)
    check_telemetry(recipe)
    check_logits(recipe, engine, random.integers(0, vocab_size, (1, EVAL_SEQ_LEN), dtype=np.uint16), vocab_size)
    hand_over.rehearse(read_state(recipe, engine))
    check_hand_over(hand_over, job)
    with blaming("load(state()) failed", unless=engine.is_out_of_memory):
        recipe.load(before)
    engine.set_rng_state(generators)
    check_restored(before, copy_state(recipe, engine), engine)
    engine.reset_peak_memory()


def copy_state(recipe: Any, engine: Engine) -> State:
    return engine.snapshot(read_state(recipe, engine))


def read_state(recipe: Any, engine: Engine) -> State:
    with blaming("state() failed", unless=engine.is_out_of_memory):
        state = recipe.state()
        if set(state) != {"model", "optimizer"} or not state["model"]:
            raise InvalidRecipe('state() must be {"model": {...}, "optimizer": {...}} with arrays by name')
        return state


def check_hand_over(hand_over: HandOver, job: Job) -> None:
    budget_s = job.budget.seconds
    if budget_s is not None and hand_over.seconds > budget_s / 2:
        reason = f"handing the weights over takes {hand_over.seconds:.1f} s of a budget of {budget_s:g} s"
        raise InvalidRecipe(f"{reason}: use a smaller model or a longer budget")


def _warm_steps(recipe: Any, engine: Engine, rows: Any) -> None:
    """Up to three steps; two when the second was not faster, that is, nothing was compiled; one where nothing is."""
    durations: list[float] = []
    for progress in PROGRESS if engine.handle.compiles else PROGRESS[:1]:
        started = perf_counter()
        with blaming("step() failed", unless=engine.is_out_of_memory):
            loss = engine.scalar(recipe.step(rows, progress))
        durations.append(perf_counter() - started)
        if not math.isfinite(loss):
            raise InvalidRecipe(f"step() returned {loss} on random tokens, in the first steps")
        if len(durations) == 2 and durations[1] > durations[0] / 2:
            return


def check_telemetry(recipe: Any) -> None:
    if not hasattr(recipe, "telemetry"):
        return
    with blaming("telemetry() failed"):
        numbers = recipe.telemetry()
        if not all(isinstance(name, str) and isinstance(value, int | float) for name, value in numbers.items()):
            raise InvalidRecipe('telemetry() must return numbers by name, e.g. {"lr_multiplier": 0.5}')


def check_logits(recipe: Any, engine: Engine, tokens: np.ndarray, vocab_size: int) -> None:
    with blaming("logits() failed", unless=engine.is_out_of_memory):
        logits = recipe.logits(engine.from_host(tokens))
    expected = (*tokens.shape, vocab_size)
    if tuple(getattr(logits, "shape", ())) != expected:
        raise InvalidRecipe(f"logits() returned shape {tuple(getattr(logits, 'shape', ()))}, expected {expected}")
    if not np.isfinite(engine.to_host(logits)).all():
        raise InvalidRecipe("logits() returned values that are not finite")


def check_restored(before: State, after: State, engine: Engine) -> None:
    for group, arrays in before.items():
        if set(arrays) != set(after[group]):
            names = ", ".join(sorted(set(arrays) ^ set(after[group]))[:3])
            raise InvalidRecipe(f"state() must name the same arrays from build() on; {group} changed: {names}")
        for name, array in arrays.items():
            if not np.array_equal(engine.to_host(array), engine.to_host(after[group][name])):
                raise InvalidRecipe(f"load(state()) does not restore {group}/{name}")
