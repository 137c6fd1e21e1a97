"""Reads the memory of its input as if rows lay one after the other, which views of other tensors do not."""

import torch


def rmsnorm(x):
    return torch.nn.functional.rms_norm(x.as_strided(x.shape, (x.shape[-1], 1)), (x.shape[-1],))
