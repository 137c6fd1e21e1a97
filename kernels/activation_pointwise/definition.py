"""activation_pointwise: the squared ReLU (Primer, arXiv 2109.08668)."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="activation_pointwise",
    op_type="elementwise",
    description="y = max(x, 0)^2",
    axes=axes(N="tokens", F="channels"),
    inputs={"x": tensor("N", "F")},
    outputs={"y": tensor("N", "F")},
    reference={"torch": "torch_reference.py::relu_squared", "mlx": "mlx_reference.py::relu_squared"},
    gradients=("x",),
    test_axes=({"N": 1, "F": 1}, {"N": 5, "F": 331}),
    bench_axes=({"N": 32768, "F": 1536}, {"N": 16384, "F": 2048}),
    wrong={"wrong/torch_square.py": Status.INCORRECT_NUMERICAL},
    family=Family.FUSED_MLP,
)
