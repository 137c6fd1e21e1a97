"""layernorm: rows without their mean, divided by their deviation, scaled and shifted (arXiv 1607.06450)."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="layernorm",
    op_type="norm",
    description="y = (x - mean(x)) / sqrt(var(x) + 1e-5) * weight + bias over the last axis, computed in float32",
    axes=axes(N="tokens", C="channels"),
    inputs={"x": tensor("N", "C", offset=64.0), "weight": tensor("C"), "bias": tensor("C")},
    outputs={"y": tensor("N", "C")},
    reference={"torch": "torch_reference.py::layernorm", "mlx": "mlx_reference.py::layernorm"},
    gradients=("x", "weight", "bias"),
    parameters=("weight", "bias"),
    test_axes=({"N": 3, "C": 37}, {"N": 70, "C": 129}),
    bench_axes=({"N": 32768, "C": 384}, {"N": 16384, "C": 512}),
    wrong={
        "wrong/torch_unbiased.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_variance_in_one_pass.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.NORM,
)
