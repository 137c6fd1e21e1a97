"""References of both frameworks against each other, and wrong kernels against the rule that must reject them."""

import numpy as np
import pytest
import torch

from kernels import catalog
from kernels.correctness import Truth, expected_layout, forward_backward, judge, torch_cotangents, torch_inputs
from kernels.inputs import random_cotangents, random_inputs
from kernels.records import DType, Status, Tolerance, Workload
from tests.kernels.checking import check

WRONG = [(op, solution, status) for op in catalog.ops() for solution, status in catalog.wrong(op)]


def largest_test(op: str, precision: DType = DType.FLOAT32) -> Workload:
    of = catalog.definition(op)
    return catalog.workload(of, of.test_axes[-1], precision)


@pytest.mark.parametrize("op", [op for op in catalog.ops() if "mlx" in catalog.definition(op).reference])
def test_both_frameworks_compute_the_same(op):
    mx = pytest.importorskip("mlx.core")
    of, workload, generator = catalog.definition(op), largest_test(op), np.random.default_rng(0)
    arrays = random_inputs(of, workload, generator)
    incoming = random_cotangents(of, workload, generator)
    tensors = torch_inputs(of, arrays, DType.FLOAT32)
    reference = catalog.load_reference(op, "torch")
    expected = forward_backward(reference, of, tensors, torch_cotangents(of, incoming, DType.FLOAT32))
    found = mlx_forward_backward(mx, catalog.load_reference(op, "mlx"), of, arrays, incoming)
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        scale = max(1.0, float(x.abs().max()))
        np.testing.assert_allclose(found[name], x.numpy(), atol=2e-5 * scale, err_msg=name)


def mlx_forward_backward(mx, function, of, arrays, incoming):
    inputs = [mx.array(x) if isinstance(x, np.ndarray) else x for x in arrays.values()]
    places = [list(of.inputs).index(name) for name in of.gradients]

    def call(*wanted):
        full = list(inputs)
        for place, x in zip(places, wanted, strict=True):
            full[place] = x
        found = function(*full)
        return list(found) if isinstance(found, tuple) else [found]

    with mx.stream(mx.cpu):
        outputs, gradients = mx.vjp(call, [inputs[place] for place in places], [mx.array(x) for x in incoming.values()])
        results = {f"output {name}": np.array(x) for name, x in zip(of.outputs, outputs, strict=True)}
        return results | {f"gradient of {name}": np.array(x) for name, x in zip(of.gradients, gradients, strict=True)}


@pytest.mark.parametrize("op", catalog.ops())
@pytest.mark.parametrize("precision", [DType.BFLOAT16, DType.FLOAT32])
def test_a_reference_passes_its_own_test(op, precision):
    for axes in catalog.definition(op).test_axes:
        workload = catalog.workload(catalog.definition(op), axes, precision)
        assert check(op, catalog.load_reference(op, "torch"), workload) == (Status.PASSED, "")


@pytest.mark.parametrize(("op", "solution", "status"), WRONG, ids=[solution.name for _, solution, _ in WRONG])
def test_a_wrong_kernel_is_rejected_as_its_definition_says(op, solution, status):
    """One in the wrong dtype is right in the other precision."""
    function = catalog.load(op, solution.name.removeprefix(f"{op}/"))
    precisions = catalog.definition(op).precisions
    found = {check(op, function, largest_test(op, precision))[0] for precision in precisions}
    assert status in found
    assert found <= {status, Status.PASSED}


@pytest.mark.parametrize(
    ("spoil", "status"),
    [
        (lambda y: y * float("nan"), Status.INCORRECT_NUMERICAL),
        (lambda y: y[1:], Status.INCORRECT_SHAPE),
        (lambda y: y.double(), Status.INCORRECT_DTYPE),
        (lambda y: torch.nn.Parameter(y), Status.INCORRECT_SHAPE),
        (lambda y: y, Status.PASSED),
    ],
    ids=["NaN", "a row short", "double", "another type", "untouched"],
)
def test_only_the_right_numbers_in_the_right_form_pass(spoil, status):
    of, workload = catalog.definition("rmsnorm"), largest_test("rmsnorm")
    inputs = torch_inputs(of, random_inputs(of, workload, np.random.default_rng(0)), DType.FLOAT32)
    right = forward_backward(catalog.load_reference("rmsnorm", "torch"), of, inputs, {"y": torch.ones(70, 129)})
    found = right | {"output y": spoil(right["output y"])}
    truth = Truth({name: x.double() for name, x in right.items()}, {})
    assert judge(found, right, truth, expected_layout(of, workload), Tolerance())[0] is status
