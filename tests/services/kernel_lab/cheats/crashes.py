"""Ends its process."""

import torch


def rmsnorm(x):
    torch.os.abort()
