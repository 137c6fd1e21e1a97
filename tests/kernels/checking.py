"""Runs a kernel of the catalog on fresh random inputs and judges it, in this process: what tests of kernels share."""

import os

import numpy as np
import torch

from kernels import catalog
from kernels.correctness import (
    expected_layout,
    forward_backward,
    interpreted,
    judge,
    torch_cotangents,
    torch_inputs,
    truth_of,
)
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import Definition, Status, Workload


def check(op: str, function, workload: Workload, seed: int = 0, device: str = "cpu") -> tuple[Status, str]:
    """The status, and what is wrong in words."""
    return compare(catalog.definition(op), catalog.load_reference(op, "torch"), function, workload, seed, device)


def compare(
    of: Definition, reference, function, workload: Workload, seed: int = 0, device: str = "cpu"
) -> tuple[Status, str]:
    """The same for an op that is not in kernels/."""
    generator = np.random.default_rng(seed)
    drawn = torch_inputs(of, random_inputs(of, workload, generator), workload.precision, device)
    dy = torch_cotangents(of, random_cotangents(of, workload, generator), workload.precision, device)
    plain = forward_backward(reference, of, drawn, dy)
    truth = truth_of(reference, of, workload, drawn, dy)
    given = {name: x.detach().clone().requires_grad_(x.requires_grad) if isinstance(x, torch.Tensor) else x
             for name, x in drawn.items()}  # fmt: skip
    found = forward_backward(function, of, given, dy)
    if any(isinstance(x, torch.Tensor) and not torch.equal(x, given[name]) for name, x in drawn.items()):
        return Status.REWARD_HACK, "wrote to an input"
    tolerance = interpreted(of.tolerance) if os.environ.get("TRITON_INTERPRET") == "1" else of.tolerance
    status, said, _ = judge(found, plain, truth, expected_layout(of, workload), tolerance)
    return status, said


def of_language(language: str) -> list[tuple[str, str]]:
    """(op, kernel) of every solution in it."""
    found = [one.name.split("/") for op in catalog.ops() for one in catalog.solutions(op)]
    return [(op, kernel) for op, kernel in found if catalog.language_of(kernel) == language]
