"""How many parameters a shipped recipe's model has and how much it computes for one token, from its shape alone.

The recipe counts what it built; these are the same numbers without a framework, for shapes that nobody has built yet.
A test holds the two together. They say nothing of a recipe that an agent has edited.
"""

from dataclasses import dataclass

from shared.contracts import Shape

MLP_RATIO, GATE_CHANNELS = 4, 32
"""as in services/trainer/recipes; one key/value head for each query head"""


@dataclass(frozen=True)
class ModelSize:
    num_params: int
    block_params: int
    """of these, the weights of attention and MLP, gates included: what a token passes through between the embeddings"""
    flops_per_token: int
    """forward and backward: 6 per weight in a product, 12 per channel and visible key in attention"""


def model_size(shape: Shape, vocab_size: int) -> ModelSize:
    gated = (shape.depth + 1) // 2  # every other layer and the last one
    gate_params = gated * min(GATE_CHANNELS, shape.d_model) * shape.heads
    block_params = shape.depth * (4 + 2 * MLP_RATIO) * shape.d_model**2 + gate_params
    table = vocab_size * shape.d_model
    return ModelSize(
        num_params=block_params + table * (2 + gated) + 2 * shape.depth,
        block_params=block_params,
        flops_per_token=6 * (block_params + table) + 12 * shape.d_model * sum(window_sizes(shape)),
    )


def window_sizes(shape: Shape) -> list[int]:
    """Tokens each layer looks back: L all of the row, S half of it; the last layer is L whatever the pattern says."""
    look_back = {"L": shape.seq_len, "S": shape.seq_len // 2}
    pattern = shape.window_pattern
    return [look_back[pattern[layer % len(pattern)]] for layer in range(shape.depth - 1)] + [shape.seq_len]
