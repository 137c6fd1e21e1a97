"""A step that is recorded once and repeated: what can be known of it without a GPU. The recording is played by one that
runs the recipe's own step again on the same input memory, as a CUDA graph would. On a GPU: test_on_gpu.py."""

from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from kernels.launch_fusion.whole_step import WholeStep
from services.trainer.recipes import gpt_torch
from shared.contracts import Shape
from shared.engines import open_engine

SHAPE = Shape(seq_len=8, depth=2, d_model=16, heads=2, window_pattern="SL", device_batch_size=2, total_batch_size=32)
WAITS = {"_local_scalar_dense", "item", "nonzero", "is_nonzero", "equal"}
"""ops whose answer the host waits for"""


class Playback:
    """Repeats a call on the memory it was recorded with, its result always in the same place."""

    def warm(self, call):
        return call()

    def record(self, call):
        result = torch.zeros(())
        return lambda: result.copy_(call()), result


class Refusing(Playback):
    def record(self, call):
        raise RuntimeError("operation not permitted when stream is capturing\nmore lines")


class Forgetful(Playback):
    """Repeats nothing: the loss it was recorded with, and no update."""

    def record(self, call):
        return lambda: None, torch.tensor(4.1)


class Ops(TorchDispatchMode):
    """Names and numbers of all ops: what a recording would hold."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        numbers = [x for x in tree_leaves((args, kwargs or {})) if isinstance(x, int | float | bool)]
        self.seen.append((func._schema.name.removeprefix("aten::"), tuple(numbers)))
        return func(*args, **(kwargs or {}))


def build(capture=None):
    """The recipe as it is for compile=step, with `capture` in place of CUDA's."""
    engine = open_engine("torch", "cpu", dtype="fp32", compile="off")
    recipe = gpt_torch.build(SHAPE, 61, 0, replace(engine.handle, whole_step=True))
    run = WholeStep(recipe._compute, recipe._live, engine.handle.note, capture) if capture else recipe._compute
    recipe._run = run
    return recipe, engine


def train(recipe, steps=6):
    rows = [torch.randint(0, 61, (4, 9), generator=torch.Generator().manual_seed(step)) for step in range(steps)]
    return [recipe.step(one, step / steps) for step, one in enumerate(rows)]


def weights(recipe):
    return torch.cat([p.detach().flatten() for p in recipe.model.parameters()])


def launches_of(engine):
    return [(one.chosen, one.reason) for one in engine.choices if one.what == "launches"]


def test_a_repeated_step_trains_to_the_same_bits_as_a_launched_one():
    (launched, _), (repeated, engine) = build(), build(Playback())
    assert train(repeated) == train(launched), "losses, which are read only after the last step"
    assert torch.equal(weights(repeated), weights(launched))
    assert launches_of(engine) == [("one CUDA graph", "a step repeated as a graph did what its launches do")]


def test_gradients_of_a_recording_that_broke_off_are_not_added_to_those_of_the_next_step():
    class BreaksOff(Playback):
        def record(self, call):
            recipe.adamw.step = broken
            return call, call()

    def broken():
        recipe.adamw.step = update
        raise RuntimeError("stream capture was invalidated")

    (launched, _), (recipe, engine) = build(), build(BreaksOff())
    update = recipe.adamw.step
    assert train(recipe) == train(launched)
    assert torch.equal(weights(recipe), weights(launched))
    assert "stream capture was invalidated" in launches_of(engine)[0][1]


@pytest.mark.parametrize(
    ("capture", "why"),
    [(Refusing(), "cannot be recorded as a CUDA graph: operation not permitted"), (Forgetful(), "loss was 4.1")],
    ids=["cannot be recorded", "does something else"],
)
def test_where_a_recording_fails_launches_go_on_with_the_same_bits_and_say_so(capture, why):
    (launched, _), (recipe, engine) = build(), build(capture)
    assert train(recipe) == train(launched)
    assert torch.equal(weights(recipe), weights(launched))
    ((chosen, reason),) = launches_of(engine)
    assert chosen == "kernel by kernel"
    assert why in reason


def test_rows_of_another_shape_are_launched():
    recipe, _ = build(Playback())
    train(recipe, steps=3)
    fewer = torch.randint(0, 61, (2, 9), generator=torch.Generator().manual_seed(0))
    assert torch.isfinite(recipe.step(fewer, 0.5))


def test_a_step_waits_for_nothing_and_holds_no_number_that_changes():
    """Whatever a recording keeps must be the same in every step; all that changes is read from tensors."""
    recipe, _ = build()
    train(recipe, steps=1)  # what is made once
    rows = torch.randint(0, 61, (4, 9), generator=torch.Generator().manual_seed(0))
    recorded = []
    for progress in (0.1, 0.9):
        recipe._set_rates(progress)
        with Ops() as ops:
            recipe._compute(rows)
        recipe.steps += 100
        recorded.append(ops.seen)
    assert recorded[0] == recorded[1]
    assert not WAITS & {name for name, _ in recorded[0]}


def test_rates_on_the_device_are_those_of_the_host():
    recipe, _ = build()
    plain = gpt_torch.build(SHAPE, 61, 0, open_engine("torch", "cpu", dtype="fp32", compile="off").handle)
    assert [loss.item() for loss in train(recipe)] == pytest.approx([loss.item() for loss in train(plain)], rel=1e-5)
    rates = [[float(group["lr"]) for group in one.adamw.param_groups] for one in (recipe, plain)]
    assert rates[0] == pytest.approx(rates[1])
