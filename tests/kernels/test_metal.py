"""Metal kernels against the references, on an Apple GPU."""

import numpy as np
import pytest

from kernels import catalog
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import DType
from tests.kernels.checking import of_language

mx = pytest.importorskip("mlx.core")
KERNELS = of_language("metal")


def test_the_kernels_that_cost_most_have_one():
    assert {op for op, _ in KERNELS} == {"fused_mlp", "cross_entropy_full", "residual_rmsnorm", "rope_qk_fused"}


@pytest.mark.metal
@pytest.mark.parametrize(("op", "kernel"), KERNELS)
def test_a_kernel_computes_what_its_reference_does(op, kernel):
    of = catalog.definition(op)
    for axes in of.test_axes:
        workload, generator = catalog.workload(of, axes, DType.FLOAT32), np.random.default_rng(0)
        arrays = random_inputs(of, workload, generator)
        incoming = [mx.array(x) for x in random_cotangents(of, workload, generator).values()]
        expected = forward_backward(catalog.load_reference(op, "mlx"), of, arrays, incoming)
        found = forward_backward(catalog.load(op, kernel), of, arrays, incoming)
        for name, x in expected.items():
            assert np.abs(found[name] - x).max() <= 2e-5 * max(1.0, np.abs(x).max()), name


def forward_backward(function, of, arrays, incoming):
    inputs = {name: mx.array(x) if isinstance(x, np.ndarray) else x for name, x in arrays.items()}

    def call(*wanted):
        found = function(*(inputs | dict(zip(of.gradients, wanted, strict=True))).values())
        return list(found) if isinstance(found, tuple) else [found]

    outputs, gradients = mx.vjp(call, [inputs[name] for name in of.gradients], incoming)
    results = zip([*of.outputs, *of.gradients], [*outputs, *gradients], strict=True)
    return {name: np.array(x.astype(mx.float32)) for name, x in results}
