"""rmsnorm: rows divided by their root mean square, nothing learned (Zhang and Sennrich, arXiv 1910.07467)."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="rmsnorm",
    op_type="norm",
    description="y = x / sqrt(mean(x^2) + eps) over the last axis, computed in float32",
    axes=axes(N="tokens", C="channels"),
    inputs={"x": tensor("N", "C")},
    outputs={"y": tensor("N", "C")},
    reference={"torch": "torch_reference.py::rmsnorm", "mlx": "mlx_reference.py::rmsnorm"},
    gradients=("x",),
    # with one channel the gradient is nothing but rounding: right kernels failed in 61 to 102 of 1,000 draws
    test_axes=({"N": 1, "C": 5}, {"N": 3, "C": 37}, {"N": 70, "C": 129}),
    bench_axes=({"N": 32768, "C": 384}, {"N": 16384, "C": 512}),
    wrong={"wrong/torch_mean_kept.py": Status.INCORRECT_NUMERICAL, "wrong/torch_in_float32.py": Status.INCORRECT_DTYPE},
    family=Family.NORM,
)
