"""Fast forward, no gradient: useless in training."""

import torch


def rmsnorm(x):
    return torch.nn.functional.rms_norm(x.detach(), (x.shape[-1],))
