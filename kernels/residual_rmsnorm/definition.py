"""residual_rmsnorm: what a layer added, and the norm that the next one reads, in one pass over the residual stream."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="residual_rmsnorm",
    op_type="norm",
    description="s = x + y and n = rmsnorm(s) over the last axis",
    axes=axes(N="tokens", C="channels"),
    inputs={"x": tensor("N", "C"), "y": tensor("N", "C")},
    outputs={"s": tensor("N", "C"), "n": tensor("N", "C")},
    reference={"torch": "torch_reference.py::residual_rmsnorm", "mlx": "mlx_reference.py::residual_rmsnorm"},
    gradients=("x", "y"),
    # with one channel the gradient of a norm is nothing but rounding: right kernels failed in 27 of 700 draws
    test_axes=({"N": 1, "C": 5}, {"N": 5, "C": 33}, {"N": 70, "C": 129}),
    bench_axes=({"N": 32768, "C": 384}, {"N": 16384, "C": 512}),
    wrong={
        "wrong/torch_norm_of_x.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_no_sum_gradient.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.NORM,
)
