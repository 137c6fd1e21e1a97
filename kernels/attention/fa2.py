"""FlashAttention 2 (package flash-attn, arXiv 2307.08691): Ampere and Ada, half precision only."""

import torch


def load(device: torch.device):
    from flash_attn import flash_attn_func

    def attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
        # a window that covers everything is left out, so that the plain causal kernel runs
        left = window if window < q_BTHD.shape[1] - 1 else -1
        return flash_attn_func(q_BTHD, k_BTGD, v_BTGD, causal=True, window_size=(left, 0 if left >= 0 else -1))

    return attention
