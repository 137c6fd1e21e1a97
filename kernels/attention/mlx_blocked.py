"""Attention in blocks of queries, each against only the keys that some query of it sees.

MLX computes all T x T scores in training, also those a mask hides (its fused kernel has no backward). Blocks leave
out most of what is hidden: 9/16 of the scores remain of a causal layer with eight blocks, 15/32 with a window of T/2.
"""

import mlx.core as mx

from kernels.attention.mlx_reference import window_mask

BLOCKS, SMALLEST_BLOCK = 8, 128  # more blocks save little more, smaller ones make slow products


def attention(q_BHTD: mx.array, k_BGTD: mx.array, v_BGTD: mx.array, window: int) -> mx.array:
    D = q_BHTD.shape[-1]
    blocks = plan(q_BHTD.shape[2], window)
    # the gradient of a split is one array joined; that of each slice would be a whole array that is zero elsewhere
    parts_of_q = mx.split(q_BHTD, [queries.start for queries, _ in blocks[1:]], axis=2)
    parts = []
    for q_part, (queries, keys) in zip(parts_of_q, blocks, strict=True):
        sees_all = keys.start == 0 and queries.stop - 1 <= window
        parts.append(
            mx.fast.scaled_dot_product_attention(
                q_part,
                k_BGTD[:, :, keys.start : keys.stop],
                v_BGTD[:, :, keys.start : keys.stop],
                scale=D**-0.5,
                mask="causal" if sees_all else window_mask(queries, keys, window),
            )
        )
    return mx.concatenate(parts, axis=2) if len(parts) > 1 else parts[0]


def plan(length: int, window: int) -> list[tuple[range, range]]:
    """Queries of each block and the keys it needs."""
    size = max(SMALLEST_BLOCK, -(-length // BLOCKS))
    blocks = [range(start, min(start + size, length)) for start in range(0, length, size)]
    return [(queries, range(max(0, queries.start - window), queries.stop)) for queries in blocks]
