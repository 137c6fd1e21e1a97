"""Right while calls come one by one; wrong as soon as many come in a row."""

import torch

calls = []


def rmsnorm(x):
    calls.append(1)
    y = torch.nn.functional.rms_norm(x, (x.shape[-1],))
    return y if len(calls) <= 20 else y * 0.9
