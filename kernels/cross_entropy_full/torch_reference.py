"""Mean softcapped cross-entropy from hidden states and head weight, written out: stores all float32 logits."""

import torch
import torch.nn.functional as F

from kernels.logits_softcap.torch_reference import logits_softcap


def cross_entropy_full(x_NC: torch.Tensor, w_VC: torch.Tensor, targets_N: torch.Tensor, cap: float) -> torch.Tensor:
    """mean over n of logsumexp(s_n) - s_n[target_n], s = cap tanh(x w^T / cap); products in x's dtype."""
    return F.cross_entropy(logits_softcap(F.linear(x_NC, w_VC.to(x_NC.dtype)), cap), targets_N)
