"""The MLX recipe's training step, counted for every preset: kernels, bytes, and the time that bandwidth and peak allow.

    python -m benchmarks.mlx_table
    git clone https://github.com/trevin-creator/autoresearch-mlx /tmp/port
    python -m benchmarks.mlx_table --port /tmp/port

Beside it the step of that public MLX port of karpathy/autoresearch at the same shapes: its model, optimizer (AdamW for
everything) and loop as they are, which it does not compile. Nothing is measured: docs/performance.md.
"""

import argparse
import ast
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks.upstream_loop import is_definition
from services.console.estimate_view import table
from services.kernel_lab.estimate.estimate import estimate
from services.kernel_lab.estimate.roofline import model_of
from shared.experiment.presets import PRESETS
from shared.experiment.request import default_recipe
from shared.kernel_lab.estimate import EstimateRequest, Side, SideEstimate
from shared.machine.gpus import Device

CHIPS = {
    "M5": "apple-m5-32gb-10gpu",
    "M4": "apple-m4-16gb-10gpu",
    "M4 Max": "apple-m4-max-64gb-40gpu",
}
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=Path, help="a checkout of trevin-creator/autoresearch-mlx")
    parser.add_argument("--preset", nargs="+", default=list(PRESETS), choices=list(PRESETS))
    arguments = parser.parse_args()
    rows = []
    with TemporaryDirectory() as folder:
        sides = [Side(name="ours", recipe=default_recipe("mlx"))]
        if arguments.port:
            recipe = Path(folder) / "port_recipe.py"
            recipe.write_text(port_recipe(arguments.port / "train.py"), encoding="utf-8")
            sides.append(Side(name="port", recipe=recipe))
        for preset in arguments.preset:
            request = EstimateRequest(
                sides=tuple(sides), shape=PRESETS[preset].shape, target="mac", answer=Path(folder) / f"{preset}.json"
            )
            rows += [row(preset, side) for side in estimate(request).sides]
    header = ["preset", "step", "kernels", "MB read and written", "kB a token", "GFLOP", "memory, MB"]
    print("\n".join(table([*header, *(f"{chip}, tok/s at most" for chip in CHIPS)], rows)))


def port_recipe(source: Path) -> str:
    """Imports, constants, functions and classes of its train.py, without the script, and the adapter after them."""
    module = ast.parse(source.read_text(encoding="utf-8"))
    module.body = [node for node in module.body if is_definition(node)]
    return f"{ast.unparse(module)}\n{ADAPTER}"


def row(preset: str, side: SideEstimate) -> list[str]:
    kernels = side.step.kernels
    moved, flops = sum(one.bytes for one in kernels), sum(one.flops for one in kernels)
    models = [model_of(Device("mac", key, "metal")) for key in CHIPS.values()]
    return [
        preset,
        side.side.name,
        f"{side.launches:,}",
        f"{moved / 1e6:,.0f}",
        f"{side.bytes_per_token / 1e3:,.0f}",
        f"{flops / 1e9:,.0f}",
        f"{side.memory_bytes / 2**20:,.0f}",
        *(f"{side.tokens / model.step_seconds(side.step):,.0f}" for model in models),
    ]


if __name__ == "__main__":
    main()
