"""Our torch recipe against upstream's training step, side by side in one process: tokens/s and their ratio.

    git clone https://github.com/karpathy/autoresearch /tmp/upstream
    python benchmarks/upstream_loop.py --upstream /tmp/upstream --preset m5-tiny

Takes upstream's model, optimizer and schedules out of its train.py as they are. What cannot run off an H100 is
replaced: FlashAttention 3 by SDPA with the same windows, the data loader by the same random rows as ours, the device.
Blocks of steps alternate, so that a machine that slows down slows both. On a CPU shared with others take
`--threads 1 --clock cpu`: seconds of CPU time do not count waiting for somebody else.
"""

import argparse
import ast
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from kernels.attention import sdpa
from services.trainer.recipes import gpt_torch
from shared.contracts import Shape
from shared.engines import open_engine
from shared.experiment.presets import find_preset

VOCAB_SIZE = 8192
FOREIGN_MODULES = ("kernels", "prepare")


def main() -> None:
    arguments = parse_arguments()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    shape = find_preset(arguments.preset).shape
    engine = open_engine("torch", arguments.device, compile=arguments.compile)
    ours = gpt_torch.build(shape, VOCAB_SIZE, 42, engine.handle)
    theirs = UpstreamLoop(arguments.upstream / "train.py", shape, engine, arguments.upstream_compile)
    draw = np.random.default_rng(0)
    rows = engine.from_host(draw.integers(0, VOCAB_SIZE, (shape.rows_per_step, shape.seq_len + 1), dtype=np.uint16))
    clock = {"wall": time.perf_counter, "cpu": time.process_time}[arguments.clock]
    seconds = alternate([ours.step, theirs.step], rows, engine.synchronize, clock, arguments.blocks, arguments.steps)
    report(arguments, engine, shape.total_batch_size * arguments.steps / seconds)


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--upstream", type=Path, required=True, help="a checkout of karpathy/autoresearch")
    parser.add_argument("--preset", default="m5-tiny")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--compile", choices=("auto", "on", "off"), default="auto", help="for our recipe")
    parser.add_argument("--upstream-compile", choices=("model", "optimizer", "off"), default="model")
    parser.add_argument("--threads", type=int, help="of the CPU; PyTorch's default otherwise")
    parser.add_argument("--clock", choices=("wall", "cpu"), default="wall")
    parser.add_argument("--blocks", type=int, default=8)
    parser.add_argument("--steps", type=int, default=2, help="optimizer steps in a block")
    return parser.parse_args()


class UpstreamLoop:
    """Upstream's loop body: accumulate, schedule, update. `compile` = model (as upstream), optimizer, or off."""

    def __init__(self, source: Path, shape: Shape, engine, compile: str):
        self.upstream = load_definitions(source, engine.handle.torch, compiles=compile != "off")
        self.shape, self.steps = shape, 0
        with engine.handle.torch:
            model = self.upstream.GPT(upstream_config(self.upstream, shape))
        model.init_weights()
        self.optimizer = model.setup_optimizer(
            unembedding_lr=self.upstream.UNEMBEDDING_LR,
            embedding_lr=self.upstream.EMBEDDING_LR,
            scalar_lr=self.upstream.SCALAR_LR,
            adam_betas=self.upstream.ADAM_BETAS,
            matrix_lr=self.upstream.MATRIX_LR,
            weight_decay=self.upstream.WEIGHT_DECAY,
        )
        self.model: Any = torch.compile(model, dynamic=False) if compile == "model" else model
        bf16 = engine.handle.dtype is torch.bfloat16
        self.autocast = torch.amp.autocast(engine.handle.torch.type, dtype=torch.bfloat16, enabled=bf16)

    def step(self, rows: torch.Tensor, progress: float) -> torch.Tensor:
        passes = rows.split(self.shape.device_batch_size)
        for rows_of_pass in passes:
            with self.autocast:
                loss = self.model(rows_of_pass[:, :-1].contiguous(), rows_of_pass[:, 1:].contiguous())
            (loss / len(passes)).backward()
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * self.upstream.get_lr_multiplier(progress)
            if group["kind"] == "muon":
                group["momentum"] = self.upstream.get_muon_momentum(self.steps)
                group["weight_decay"] = self.upstream.get_weight_decay(progress)
        self.optimizer.step()
        self.model.zero_grad(set_to_none=True)
        self.steps += 1
        return loss.detach()


def upstream_config(upstream: SimpleNamespace, shape: Shape):
    return upstream.GPTConfig(
        sequence_len=shape.seq_len,
        vocab_size=VOCAB_SIZE,
        n_layer=shape.depth,
        n_head=shape.heads,
        n_kv_head=shape.heads,
        n_embd=shape.d_model,
        window_pattern=shape.window_pattern,
    )


def load_definitions(source: Path, device: torch.device, compiles: bool) -> SimpleNamespace:
    """Executes the imports, constants, functions and classes of train.py, not the script itself."""
    module = ast.parse(source.read_text(encoding="utf-8"))
    module.body = [node for node in module.body if is_definition(node)]
    if not compiles:
        for node in module.body:
            if isinstance(node, ast.FunctionDef):
                node.decorator_list = []
    attend = sdpa.load(device)
    names = {
        "__name__": "upstream",
        "fa3": SimpleNamespace(flash_attn_func=lambda q, k, v, causal, window_size: attend(q, k, v, window_size[0])),
    }
    exec(compile(module, str(source), "exec"), names)
    return SimpleNamespace(**names)


def is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.ImportFrom):
        return node.module not in FOREIGN_MODULES
    if isinstance(node, ast.Assign):
        return _is_literal(node.value)
    return isinstance(node, ast.Import | ast.FunctionDef | ast.ClassDef)


def _is_literal(value: ast.expr) -> bool:
    try:
        ast.literal_eval(value)
    except ValueError:
        return False
    return not isinstance(value, ast.Dict)


def alternate(
    steps: list[Callable], rows, synchronize: Callable, clock: Callable, blocks: int, steps_in_block: int
) -> np.ndarray:
    """Seconds [block, contender], after one untimed block that compiles and warms up."""
    seconds = np.empty((blocks + 1, len(steps)))
    for block in range(blocks + 1):
        for contender, step in enumerate(steps):
            synchronize()
            start = clock()
            for _ in range(steps_in_block):
                step(rows, 0.25)
            synchronize()
            seconds[block, contender] = clock() - start
    return seconds[1:]


def report(arguments: argparse.Namespace, engine, tokens_per_s: np.ndarray) -> None:
    ours, theirs = np.median(tokens_per_s, axis=0)
    low, median, high = ratio_interval(tokens_per_s[:, 0] / tokens_per_s[:, 1])
    for choice in engine.choices:
        print(f"{choice.what}: {choice.chosen} ({choice.reason})")
    print(f"{arguments.preset} on {arguments.device}, upstream compiles: {arguments.upstream_compile}")
    print(f"ours {ours:,.0f} tok/s, upstream {theirs:,.0f} tok/s ({arguments.clock} seconds)")
    print(f"ratio {median:.3f}, 95 % interval {low:.3f} .. {high:.3f} over {len(tokens_per_s)} pairs of blocks")


def ratio_interval(ratios: np.ndarray) -> np.ndarray:
    """Median of the paired ratios with its bootstrap interval."""
    draw = np.random.default_rng(0)
    medians = np.median(draw.choice(ratios, (4000, len(ratios))), axis=1)
    low, high = np.percentile(medians, [2.5, 97.5])
    return np.array([low, np.median(ratios), high])


if __name__ == "__main__":
    main()
