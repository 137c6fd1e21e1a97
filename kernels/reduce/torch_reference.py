"""Sums of rows."""

import torch


def row_sum(x_NC: torch.Tensor) -> torch.Tensor:
    """[N] float32, added up in float32 whatever x's dtype is."""
    return x_NC.to(torch.promote_types(x_NC.dtype, torch.float32)).sum(-1)
