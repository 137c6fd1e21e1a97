"""Makes a recipe file of a public MLX port's training step: its model, optimizer (AdamW for everything) and loop as
they are, our protocol.

    git clone https://github.com/trevin-creator/autoresearch-mlx /tmp/port
    make estimate TARGETS=mac PORT=/tmp/port

The file is for comparisons and is no part of this repository.
"""

import ast
from pathlib import Path

from benchmarks.upstream_loop import is_definition

ADAPTER = """
class Recipe:
    def __init__(self, shape, vocab_size):
        self.shape = shape
        self.model = GPT(GPTConfig(sequence_len=shape.seq_len, vocab_size=vocab_size, n_layer=shape.depth,
                                   n_head=shape.heads, n_kv_head=shape.heads, n_embd=shape.d_model,
                                   window_pattern=shape.window_pattern))
        self.model.init_weights()
        mx.eval(self.model._get_masks(shape.seq_len))  # kept from the first step on
        self.optimizer = AdamW(self.model, UNEMBEDDING_LR, EMBEDDING_LR, MATRIX_LR, WEIGHT_DECAY, ADAM_BETAS, SCALAR_LR)
        for name, p in tree_flatten(self.model.parameters()):
            zeros = mx.zeros(p.shape)
            self.optimizer.adam_state[name] = {"m": zeros, "v": mx.zeros(p.shape), "t": 0}
        self.gradient = nn.value_and_grad(self.model, lambda model, x, y: model(x, targets=y))

    def step(self, rows, progress):
        passes = mx.split(rows, len(rows) // self.shape.device_batch_size)
        total = None
        for rows_of_pass in passes:
            loss, grads = self.gradient(self.model, rows_of_pass[:, :-1], rows_of_pass[:, 1:])
            total = grads if total is None else tree_map(lambda a, b: a + b, total, grads)
        if len(passes) > 1:
            total = tree_map(lambda grad: grad * (1.0 / len(passes)), total)
        self.optimizer.set_lr_multiplier(get_lr_multiplier(progress))
        self.optimizer.update(self.model, total)
        mx.eval(self.model.parameters(), *self.optimizer.state)
        return loss

    def logits(self, tokens):
        return self.model(tokens)

    def state(self):
        memory = {f"{name}.{key}": value for name, one in self.optimizer.adam_state.items()
                  for key, value in one.items() if key != "t"}
        return {"model": dict(tree_flatten(self.model.parameters())), "optimizer": memory}

    def load(self, state):
        raise NotImplementedError("for counting only")


def build(shape, vocab_size, seed, device):
    return Recipe(shape, vocab_size)
"""


def port_recipe(source: Path) -> str:
    """Imports, constants, functions and classes of its train.py, without the script, and the adapter after them."""
    module = ast.parse(source.read_text(encoding="utf-8"))
    module.body = [node for node in module.body if is_definition(node)]
    return f"{ast.unparse(module)}\n{ADAPTER}"
