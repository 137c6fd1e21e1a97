"""Gradients that are one number, the sum of thousands of terms, which may cancel: right kernels pass whatever the draw,
and one that drops a row or a column of the terms never does."""

import pytest
import torch

from kernels import catalog
from kernels.correctness import Truth, expected_layout, judge
from kernels.records import DType, Status, Tolerance
from tests.kernels.checking import check

SEEDS = 50
WORKLOADS = catalog.workloads(catalog.definition("block_prelude"), "test")


class InFloat32(torch.autograd.Function):
    """block_prelude as kernels compute it: rounded only where something is stored. `rows`, `columns`: of the sums."""

    @staticmethod
    def forward(ctx, x, y, x0, a, b, rows, columns):
        s = (a * (x.float() + y.float()) + b * x0.float()).to(x.dtype)
        ctx.save_for_backward(s, x, y, x0, a, b)
        ctx.rows, ctx.columns = rows, columns
        return s, (s.float() * _inverse_rms(s)).to(x.dtype)

    @staticmethod
    def backward(ctx, ds, dn):
        s, x, y, x0, a, b = (t.float() for t in ctx.saved_tensors)
        r = _inverse_rms(s)
        n, dn = s * r, dn.float()
        g = ds.float() + r * (dn - n * (dn * n).mean(-1, keepdim=True))
        counted = slice(None, ctx.rows), slice(None, ctx.columns)
        sums = [(g * terms)[counted].sum() for terms in (x + y, x0)]
        dtype = ctx.saved_tensors[0].dtype
        return (a * g).to(dtype), (a * g).to(dtype), (b * g).to(dtype), *sums, None, None


def _inverse_rms(s):
    return (s.float().square().mean(-1, keepdim=True) + torch.finfo(torch.float32).eps).rsqrt()


def kernel(rows=None, columns=None):
    return lambda *inputs: InFloat32.apply(*inputs, rows, columns)


def statuses(function, workload):
    return [check("block_prelude", function, workload, seed)[0] for seed in range(SEEDS)]


@pytest.mark.parametrize("workload", WORKLOADS, ids=lambda one: one.uuid)
def test_a_right_kernel_passes_with_any_random_numbers(workload):
    assert set(statuses(kernel(), workload)) == {Status.PASSED}


@pytest.mark.parametrize("cut", [{"rows": -1}, {"columns": -1}], ids=["a row", "a column"])
def test_a_kernel_that_leaves_terms_out_fails_with_any_random_numbers(cut):
    (workload,) = [one for one in WORKLOADS if one.axes["N"] == 70 and one.precision is DType.FLOAT32]
    assert set(statuses(kernel(**cut), workload)) == {Status.INCORRECT_NUMERICAL}


def test_a_wrong_kernel_fails_with_any_random_numbers():
    ((solution, status),) = catalog.wrong("block_prelude")
    function = catalog.load("block_prelude", solution.name.removeprefix("block_prelude/"))
    for workload in WORKLOADS:
        assert set(statuses(function, workload)) == {status}, workload.uuid


def test_a_sum_that_is_0_by_chance_may_err_by_roundings_of_its_terms_and_no_more():
    of, (workload, *_) = catalog.definition("block_prelude"), WORKLOADS
    layout = {"gradient of a": expected_layout(of, workload)["gradient of a"]}
    right = Truth({"gradient of a": torch.zeros((), dtype=torch.float64)}, {"gradient of a": 10.0})
    for error, status in ((7.9, Status.PASSED), (8.1, Status.INCORRECT_NUMERICAL)):
        found = {"gradient of a": torch.tensor(10.0 * error * layout["gradient of a"].rounding)}
        plain = {"gradient of a": torch.zeros(())}
        assert judge(found, plain, right, layout, Tolerance())[0] is status
