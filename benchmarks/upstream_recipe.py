"""Makes a recipe file of upstream's own training step: its model, optimizer and schedules as they are, our protocol.

    git clone https://github.com/karpathy/autoresearch /tmp/upstream
    python -m benchmarks.upstream_recipe --upstream /tmp/upstream --output /tmp/upstream_recipe.py
    autoresearch lab estimate --against /tmp/upstream_recipe.py --preset m5-balanced --target gb10

FlashAttention 3 is replaced by the attention that this project chooses; nothing else is changed. The file is for
comparisons and is no part of this repository.
"""

import argparse
import ast
from pathlib import Path

from benchmarks.upstream_loop import is_definition

ADAPTER = """
from types import SimpleNamespace

from kernels.attention.choose import choose_attention

fa3 = SimpleNamespace()


class Recipe:
    def __init__(self, shape, vocab_size, device):
        self.shape, self.steps = shape, 0
        with device.torch:
            model = GPT(GPTConfig(sequence_len=shape.seq_len, vocab_size=vocab_size, n_layer=shape.depth,
                                  n_head=shape.heads, n_kv_head=shape.heads, n_embd=shape.d_model,
                                  window_pattern=shape.window_pattern))
        model.init_weights()
        self.own = model
        self.optimizer = model.setup_optimizer(unembedding_lr=UNEMBEDDING_LR, embedding_lr=EMBEDDING_LR,
                                               scalar_lr=SCALAR_LR, adam_betas=ADAM_BETAS, matrix_lr=MATRIX_LR,
                                               weight_decay=WEIGHT_DECAY)
        for name, value in vars(self.optimizer).items():
            if name.endswith("_t"):
                value.stays_on_host = True  # for estimates: upstream keeps these numbers in the host's memory
        self.model = device.compile(model, dynamic=False)
        self.autocast = torch.amp.autocast(device_type=device.torch.type, dtype=torch.bfloat16)

    def step(self, rows, progress):
        passes = rows.split(self.shape.device_batch_size)
        for rows_of_pass in passes:
            with self.autocast:
                loss = self.model(rows_of_pass[:, :-1].contiguous(), rows_of_pass[:, 1:].contiguous())
            (loss / len(passes)).backward()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * get_lr_multiplier(progress)
            if group["kind"] == "muon":
                group["momentum"] = get_muon_momentum(self.steps)
                group["weight_decay"] = get_weight_decay(progress)
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.steps += 1
        return loss.detach()

    @torch.no_grad()
    def logits(self, tokens):
        with self.autocast:
            return self.own(tokens).float()

    def state(self):
        arrays = {f"{number}.{name}": value for number, one in enumerate(self.optimizer.state.values())
                  for name, value in one.items() if torch.is_tensor(value)}
        return {"model": self.own.state_dict(), "optimizer": arrays}

    @torch.no_grad()
    def load(self, state):
        for name, array in state["model"].items():
            self.own.state_dict()[name].copy_(array)


def build(shape, vocab_size, seed, device):
    windows = sorted({shape.seq_len, shape.seq_len // 2})
    attend = choose_attention(device, shape.d_model // shape.heads, shape.heads, shape.heads, windows)

    def flash_attn_func(q, k, v, causal, window_size):
        return attend(q, k, v, window_size[0] if window_size[0] >= 0 else shape.seq_len)

    fa3.flash_attn_func = flash_attn_func
    torch.manual_seed(seed)
    return Recipe(shape, vocab_size, device)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, help="a checkout of karpathy/autoresearch")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    arguments.output.write_text(upstream_recipe(arguments.upstream / "train.py"), encoding="utf-8")


def upstream_recipe(source: Path) -> str:
    """Imports, constants, functions and classes of train.py, without the script, and the adapter after them."""
    module = ast.parse(source.read_text(encoding="utf-8"))
    module.body = [node for node in module.body if is_definition(node)]
    return f"{ast.unparse(module)}\n{ADAPTER}"


if __name__ == "__main__":
    main()
