"""The op activation_pointwise is `relu_squared`, the squared ReLU (Primer, arXiv 2109.08668)."""

import torch


def relu_squared(x: torch.Tensor) -> torch.Tensor:
    """max(x, 0)^2"""
    return x.relu().square()
