"""An op of somebody else in float32: a right kernel may take another order of operations, and one that is a few
roundings off may not pass. Its gradients cancel for some numbers, where no result says how coarse it may be."""

import pytest
import torch
import torch.nn.functional as F

from kernels import catalog
from kernels.correctness import CHANCES
from kernels.records import Definition, DType, Status, axes, tensor
from tests.kernels.checking import check, compare

SWIGLU = Definition(
    name="swiglu",
    op_type="activation",
    description="y = g / (1 + exp(-g)) u",
    axes=axes(N="tokens", C="channels"),
    inputs={"g": tensor("N", "C"), "u": tensor("N", "C")},
    outputs={"y": tensor("N", "C")},
    reference={"torch": "torch_reference.py::swiglu"},
    gradients=("g", "u"),
    test_axes=({"N": 1, "C": 1}, {"N": 3, "C": 37}, {"N": 70, "C": 129}),
    bench_axes=({"N": 70, "C": 129},),
)
SIZES = [catalog.workload(SWIGLU, axes, DType.FLOAT32) for axes in SWIGLU.test_axes]


def reference(g, u):
    return F.silu(g) * u


class Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, u):
        ctx.save_for_backward(g, u)
        return g * g.sigmoid() * u

    @staticmethod
    def backward(ctx, dy):
        g, u = ctx.saved_tensors
        s = g.sigmoid()
        return dy * u * s * (1 + g * (1 - s)), dy * g * s


def statuses(function, workload, seeds=300):
    return {compare(SWIGLU, reference, function, workload, seed)[0] for seed in range(seeds)}


@pytest.mark.parametrize("workload", SIZES, ids=lambda one: one.uuid)
def test_a_right_kernel_passes_with_any_numbers(workload):
    assert statuses(Recomputed.apply, workload) == {Status.PASSED}


@pytest.mark.parametrize(
    "wrong",
    [
        lambda g, u: Recomputed.apply(g, u) * (1 + 2.0**-20),
        lambda g, u: Recomputed.apply(g * (1 + 2.0**-19), u),
        lambda g, u: Recomputed.apply(g.bfloat16(), u.bfloat16()).float(),
    ],
    ids=["8 roundings too large", "16 roundings beside its input", "half the digits"],
)
def test_a_kernel_that_is_some_roundings_off_never_passes(wrong):
    assert statuses(wrong, SIZES[-1], seeds=30) == {Status.INCORRECT_NUMERICAL}


class RecomputedNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return x * RecomputedNorm.factor(x)

    @staticmethod
    def backward(ctx, dn):
        (x,) = ctx.saved_tensors
        r = RecomputedNorm.factor(x)
        n = x * r
        return r * (dn - n * (dn * n).mean(-1, keepdim=True))

    @staticmethod
    def factor(x):
        return 1 / (x.square().mean(-1, keepdim=True) + 2.0**-23).sqrt()


def with_sum(x, y):
    s = x + y
    return s, RecomputedNorm.apply(s)


@pytest.mark.parametrize(("op", "function"), [("rmsnorm", RecomputedNorm.apply), ("residual_rmsnorm", with_sum)])
def test_a_right_norm_passes_with_any_numbers_in_the_smallest_size(op, function):
    """Its gradient is a difference of nearly equal numbers where a row has few channels."""
    of = catalog.definition(op)
    workload = catalog.workload(of, of.test_axes[0], DType.FLOAT32)
    assert [seed for seed in range(300) if check(op, function, workload, seed)[0] is not Status.PASSED] == []


def test_a_reference_that_rounds_what_should_be_exact_is_named_with_what_to_write_instead():
    with pytest.raises(ValueError, match=r"kernels/swiglu/torch_reference.py rounds float64 .*promote_types") as found:
        compare(SWIGLU, lambda g, u: (F.silu(g.float()) * u.float()).to(g.dtype), reference, SIZES[-1])
    assert len(str(found.value).splitlines()) == 1


def test_what_a_rounding_of_the_inputs_changes_is_computed_only_for_a_kernel_that_is_too_far_off():
    """It is seven times the reference in float64: of a loss over a large vocabulary that is ten seconds."""
    widths = []

    def counted(g, u):
        widths.append(g.dtype)
        return reference(g, u)

    compare(SWIGLU, counted, reference, SIZES[-1])
    assert widths == [torch.float32, torch.float64]
    compare(SWIGLU, counted, lambda g, u: 2 * reference(g, u), SIZES[-1])
    assert widths[2:] == [torch.float32, torch.float64, *[torch.float64] * (1 + CHANCES)]
