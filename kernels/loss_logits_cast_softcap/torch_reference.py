"""Hidden states to softcapped float32 logits."""

import torch
import torch.nn.functional as F

from kernels.logits_softcap.torch_reference import logits_softcap


def loss_logits_cast_softcap(x_NC: torch.Tensor, w_VC: torch.Tensor, cap: float) -> torch.Tensor:
    """[N, V] float32; the product runs in x's dtype."""
    return logits_softcap(F.linear(x_NC, w_VC.to(x_NC.dtype)), cap)
