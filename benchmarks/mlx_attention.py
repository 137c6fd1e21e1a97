"""What blocks of queries save in MLX attention: forward and backward of each preset's windows against whole rows.

python benchmarks/mlx_attention.py [metal|cpu]      prints milliseconds, and the ratio measured side by side
"""

import sys
import time
from collections.abc import Callable

from shared.engines import open_engine

engine = open_engine("mlx", sys.argv[1] if len(sys.argv) > 1 else "metal")

import mlx.core as mx  # noqa: E402

from kernels.attention import mlx_blocked, mlx_sdpa  # noqa: E402
from shared.experiment.presets import PRESETS  # noqa: E402

REPEATS = 10 if engine.device == "metal" else 2


def best_ms(attention: Callable, inputs: list[mx.array], window: int) -> float:
    def forward_backward(q, k, v, dy):
        outputs, gradients = mx.vjp(lambda *qkv: attention(*qkv, window), [q, k, v], [dy])
        return [*outputs, *gradients]

    run, times = engine.handle.compile(forward_backward), []
    for _ in range(REPEATS + 1):
        started = time.perf_counter()
        mx.eval(run(*inputs))
        times.append(time.perf_counter() - started)
    return 1000 * min(times[1:])


def main() -> None:
    print(f"{engine.device}, {engine.handle.dtype}, mlx {engine.version}")
    print("| preset | T | window | whole rows, ms | blocks, ms | ratio |\n|---|---|---|---|---|---|")
    for preset in PRESETS.values():
        shape, T = preset.shape, preset.shape.seq_len
        size = (shape.device_batch_size, shape.heads, T, shape.d_model // shape.heads)
        inputs = [mx.random.normal(size, key=mx.random.key(i)).astype(engine.handle.dtype) for i in range(4)]
        mx.eval(inputs)
        for window in sorted({T, T // 2 if "S" in shape.window_pattern else T}):
            whole, blocks = (best_ms(module.attention, inputs, window) for module in (mlx_sdpa, mlx_blocked))
            print(f"| {preset.name} | {T} | {window} | {whole:.1f} | {blocks:.1f} | {whole / blocks:.2f} |", flush=True)


if __name__ == "__main__":
    main()
