"""Polar Express drives every singular value near 1 and leaves the singular vectors alone."""

import pytest
import torch

from kernels.muon_symmetric_matmul.torch_reference import polar_express, symmetric_matmul


@pytest.mark.parametrize("shape", [(3, 24, 24), (2, 16, 48), (2, 48, 16)])
def test_singular_values_end_near_one(shape):
    g = torch.randn(shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    u, values, vh = torch.linalg.svd(g, full_matrices=False)
    g = u @ torch.diag_embed(values.clamp_min(0.05 * values[0, 0])) @ vh
    found = u.mT @ polar_express(g, steps=5) @ vh.mT
    diagonal = found.diagonal(dim1=-2, dim2=-1)
    assert ((diagonal > 0.8) & (diagonal < 1.2)).all()
    torch.testing.assert_close(found, torch.diag_embed(diagonal), atol=1e-9, rtol=0)


def test_a_zero_matrix_stays_zero():
    assert not polar_express(torch.zeros(1, 4, 6), steps=5).any()


def test_the_product_is_symmetric():
    product = symmetric_matmul(torch.randn(2, 5, 9))
    torch.testing.assert_close(product, product.mT)
