"""Right results; the inputs are zeros afterwards."""

import torch


def rmsnorm(x):
    y = torch.nn.functional.rms_norm(x.clone(), (x.shape[-1],))
    x.data.zero_()
    return y
