"""What a graph does whose inputs are not copied in: it computes with those it was recorded on."""

import torch

from kernels.launch_fusion import torch_reference


def chain(x_NC: torch.Tensor, w_KCC: torch.Tensor) -> torch.Tensor:
    recorded = torch.zeros_like(x_NC)
    return torch_reference.chain(recorded + 0 * x_NC, w_KCC)
