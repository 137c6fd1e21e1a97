"""Causal sliding-window attention, written out: the truth every backend is compared with. Slow; not for training.

Window as FlashAttention's left window: query i sees keys j with i - window <= j <= i.
Shapes: B batch, H query heads, G key/value heads (H is a multiple of G), T tokens, D head dimension.
"""

import mlx.core as mx


def window_mask(queries: range, keys: range, window: int) -> mx.array:
    """[queries, keys] bool, true where query i (row) sees key j (column)."""
    distance = mx.arange(queries.start, queries.stop)[:, None] - mx.arange(keys.start, keys.stop)[None, :]
    return (distance >= 0) & (distance <= window)


def attention(q_BHTD: mx.array, k_BGTD: mx.array, v_BGTD: mx.array, window: int) -> mx.array:
    """softmax(q k^T / sqrt(D) + mask) v in the precision of its inputs -> [B, H, T, D]."""
    H, T, D = q_BHTD.shape[1:]
    k_BHTD, v_BHTD = (mx.repeat(x, H // x.shape[1], axis=1) for x in (k_BGTD, v_BGTD))
    scores_BHTT = (q_BHTD @ k_BHTD.swapaxes(-2, -1)) * D**-0.5
    scores_BHTT = mx.where(window_mask(range(T), range(T), window), scores_BHTT, -mx.inf)
    return mx.softmax(scores_BHTT, axis=-1) @ v_BHTD
