"""FlexAttention: a Triton kernel PyTorch writes from the mask; skips blocks of keys no query of a block sees.

CUDA only (it has no backward elsewhere). Inside a compiled model it becomes part of that graph.
"""

import torch
from torch.nn.attention.flex_attention import BlockMask, create_block_mask, flex_attention


def load(device: torch.device):
    # uncompiled FlexAttention stores all scores
    compiled_flex = torch.compile(flex_attention, dynamic=False)
    masks: dict[tuple[int, int], BlockMask] = {}

    def block_mask(length: int, window: int) -> BlockMask:
        def visible(batch, head, query, key):
            return (query >= key) & (query - key <= window)

        return create_block_mask(visible, None, None, length, length, device=device)

    def cached_block_mask(length: int, window: int) -> BlockMask:
        # A graph that is being traced makes its own: a cache that grows under it would have it compiled twice.
        if torch.compiler.is_compiling():
            return block_mask(length, window)
        if (length, window) not in masks:
            masks[length, window] = block_mask(length, window)
        return masks[length, window]

    def attention(q_BTHD: torch.Tensor, k_BTGD: torch.Tensor, v_BTGD: torch.Tensor, window: int) -> torch.Tensor:
        q_BHTD, k_BGTD, v_BGTD = (x.transpose(1, 2) for x in (q_BTHD, k_BTGD, v_BTGD))
        mask = cached_block_mask(q_BTHD.shape[1], window)
        grouped = q_BTHD.shape[2] != k_BTGD.shape[2]
        return compiled_flex(q_BHTD, k_BGTD, v_BGTD, block_mask=mask, enable_gqa=grouped).transpose(1, 2)

    return attention
