"""Softmax over the last axis."""

import torch


def softmax(z_NV: torch.Tensor) -> torch.Tensor:
    """Computed in float32 or more, returned in z's dtype."""
    return torch.softmax(z_NV, -1)
