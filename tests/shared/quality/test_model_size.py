"""Counting without a framework agrees with what the shipped recipe builds."""

from types import SimpleNamespace

import pytest

from shared.contracts import Shape
from shared.experiment.presets import PRESETS
from shared.quality.model_size import model_size, window_sizes

torch = pytest.importorskip("torch")

from services.trainer.recipes import gpt_torch  # noqa: E402

ODD = {
    "narrower than the gate": (64, 3, 16, 2, "SL", 100),
    "one layer": (32, 1, 64, 1, "S", 64),
    "pattern longer than the model": (48, 2, 96, 3, "SSSSL", 97),
    "long rows": (4096, 7, 128, 4, "SSL", 512),
}


def odd(seq_len: int, depth: int, d_model: int, heads: int, pattern: str) -> Shape:
    return Shape(
        seq_len=seq_len,
        depth=depth,
        d_model=d_model,
        heads=heads,
        device_batch_size=1,
        total_batch_size=seq_len,
        window_pattern=pattern,
    )


CASES = {name: (preset.shape, 8192) for name, preset in PRESETS.items()}
CASES |= {name: (odd(*values[:5]), values[5]) for name, values in ODD.items()}


@pytest.mark.parametrize(("shape", "vocab_size"), CASES.values(), ids=CASES)
def test_sizes_are_those_of_the_built_model(shape, vocab_size):
    with torch.device("meta"):
        model = gpt_torch.GPT(shape, vocab_size, torch.float32)
    built = SimpleNamespace(model=model, shape=shape)
    size = model_size(shape, vocab_size)
    assert size.num_params == sum(p.numel() for p in model.parameters())
    assert size.block_params == sum(p.numel() for p in model.blocks.parameters())
    assert size.flops_per_token == gpt_torch.Recipe.flops_per_token(built)
    assert window_sizes(shape) == model.windows
