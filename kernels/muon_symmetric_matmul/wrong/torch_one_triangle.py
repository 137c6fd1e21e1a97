"""Leaves the upper triangle zero."""

import torch


def symmetric_matmul(x: torch.Tensor) -> torch.Tensor:
    return (x @ x.mT).tril()
