"""PyTorch's scaled_dot_product_attention: runs everywhere. It knows no window, so short ones are masked.

Rows much longer than the window (evaluation reads 2048 tokens whatever a model was trained on) are cut into blocks
of the window's length that see themselves and the block before: 2 x window keys a query instead of the whole row.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F

from kernels.attention.torch_reference import window_mask

BLOCKS_PAY_FROM = 4
"""row length in windows; blocks of a row of n windows cost 2 / n of the full square"""


def load(device: torch.device):
    masks: dict[tuple[Callable, int, int], torch.Tensor] = {}

    def cached(make_mask: Callable, length: int, window: int) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return make_mask(length, window, device)
        key = (make_mask, length, window)
        if key not in masks:
            masks[key] = make_mask(length, window, device)
        return masks[key]

    def attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
        T = q_BTHD.shape[1]
        if window >= T - 1:
            return _sdpa(q_BTHD, k_BTGD, v_BTGD, None)
        if window > 0 and T % window == 0 and BLOCKS_PAY_FROM * window <= T:
            return _in_blocks(q_BTHD, k_BTGD, v_BTGD, window, cached(block_mask, T, window))
        return _sdpa(q_BTHD, k_BTGD, v_BTGD, cached(window_mask, T, window))

    return attention


def block_mask(length: int, window: int, device: torch.device) -> torch.Tensor:
    """[T / w, 1, w, 2 w] bool: query i of a block sees keys i .. i + w of (block before, block), none before 0."""
    i_W, j_J = torch.arange(window, device=device), torch.arange(2 * window, device=device)
    band_WJ = (j_J >= i_W[:, None]) & (j_J <= i_W[:, None] + window)
    exists_NJ = (torch.arange(length // window, device=device)[:, None] > 0) | (j_J >= window)
    return (band_WJ & exists_NJ[:, None, :])[:, None]


def _in_blocks(q_BTHD, k_BTGD, v_BTGD, window, mask_N1WJ):
    B, T, H, D = q_BTHD.shape
    q = q_BTHD.reshape(B * (T // window), window, H, D)
    k, v = (_with_block_before(x, window) for x in (k_BTGD, v_BTGD))
    return _sdpa(q, k, v, mask_N1WJ.repeat(B, 1, 1, 1)).reshape(B, T, H, D)


def _with_block_before(x_BTGD, window):
    """[B T / w, 2 w, G, D]; the first block's neighbour is zeros, which its mask hides."""
    B, T, G, D = x_BTGD.shape
    shifted = F.pad(x_BTGD, (0, 0, 0, 0, window, 0))[:, :T]
    blocks = [x.reshape(B * (T // window), window, G, D) for x in (shifted, x_BTGD)]
    return torch.cat(blocks, dim=1)


def _sdpa(q_BTHD, k_BTGD, v_BTGD, mask):
    y_BHTD = F.scaled_dot_product_attention(
        q_BTHD.transpose(1, 2),
        k_BTGD.transpose(1, 2),
        v_BTGD.transpose(1, 2),
        attn_mask=mask,
        is_causal=mask is None,
        enable_gqa=q_BTHD.shape[2] != k_BTGD.shape[2],
    )
    return y_BHTD.transpose(1, 2)
