"""PyTorch's scaled_dot_product_attention: runs everywhere. Short windows go through an explicit mask."""

import torch
import torch.nn.functional as F

from kernels.attention.torch_reference import window_mask


def load(device: torch.device):
    masks: dict[tuple[int, int], torch.Tensor] = {}

    def mask(length: int, window: int) -> torch.Tensor:
        if torch.compiler.is_compiling():
            return window_mask(length, window, device)
        if (length, window) not in masks:
            masks[length, window] = window_mask(length, window, device)
        return masks[length, window]

    def attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
        T, H, G = q_BTHD.shape[1], q_BTHD.shape[2], k_BTGD.shape[2]
        covers_all = window >= T - 1
        y_BHTD = F.scaled_dot_product_attention(
            q_BTHD.transpose(1, 2),
            k_BTGD.transpose(1, 2),
            v_BTGD.transpose(1, 2),
            attn_mask=None if covers_all else mask(T, window),
            is_causal=covers_all,
            enable_gqa=H != G,
        )
        return y_BHTD.transpose(1, 2)

    return attention
