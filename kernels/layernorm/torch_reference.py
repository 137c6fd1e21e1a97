"""LayerNorm over the last axis."""

import torch
import torch.nn.functional as F


def layernorm(x_NC: torch.Tensor, weight_C: torch.Tensor, bias_C: torch.Tensor) -> torch.Tensor:
    """(x - mean) / sqrt(var + 1e-5) * weight + bias, computed in float32, returned in x's dtype."""
    return F.layer_norm(x_NC, (x_NC.shape[-1],), weight_C, bias_C)
