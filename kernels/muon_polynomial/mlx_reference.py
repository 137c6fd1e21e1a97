"""One step of Polar Express (arXiv 2505.16932), an odd polynomial of every singular value."""

import mlx.core as mx


def muon_polynomial(x: mx.array, a: float, b: float, c: float) -> mx.array:
    """a x + (b A + c A^2) x with A = x x^T, of each matrix [R, C] of a batch. The sums are part of the products."""
    A = x @ x.swapaxes(-2, -1)
    return mx.addmm(x, mx.addmm(A, A, A, alpha=c, beta=b), x, beta=a)
