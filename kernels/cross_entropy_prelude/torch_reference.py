"""Log-sum-exp of softcapped logits."""

import torch

from kernels.logits_softcap.torch_reference import logits_softcap


def cross_entropy_prelude(z_NV: torch.Tensor, cap: float) -> torch.Tensor:
    """[N] float32."""
    return logits_softcap(z_NV, cap).logsumexp(-1)
