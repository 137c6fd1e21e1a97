"""Causal sliding-window attention, written out: the truth every backend is compared with. Slow; not for training.

Window as FlashAttention's left window: query i sees keys j with i - window <= j <= i.
Shapes: B batch, T tokens, H query heads, G key/value heads (H is a multiple of G), D head dimension.
"""

import torch


def window_mask(length: int, window: int, device: torch.device) -> torch.Tensor:
    """[T, T] bool, true where query i (row) sees key j (column)."""
    i_T = torch.arange(length, device=device)
    distance_TT = i_T[:, None] - i_T[None, :]
    return (distance_TT >= 0) & (distance_TT <= window)


def attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
    """softmax(q k^T / sqrt(D) + mask) v in the precision of its inputs -> [B, T, H, D]."""
    T, H, D = q_BTHD.shape[1:]
    k_BTHD, v_BTHD = (x.repeat_interleave(H // x.shape[2], dim=2) for x in (k_BTGD, v_BTGD))
    scores_BHTT = torch.einsum("bihd,bjhd->bhij", q_BTHD, k_BTHD) * D**-0.5
    scores_BHTT = scores_BHTT.masked_fill(~window_mask(T, window, q_BTHD.device), float("-inf"))
    return torch.einsum("bhij,bjhd->bihd", scores_BHTT.softmax(-1), v_BTHD)
