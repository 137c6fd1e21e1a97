"""fused_mlp: both products of the MLP and the squared ReLU between them."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="fused_mlp",
    op_type="matmul",
    description="y = max(x up^T, 0)^2 down^T: products and activation in x's dtype, weights kept in float32",
    axes=axes(N="tokens", C="channels", F="hidden channels"),
    inputs={
        "x": tensor("N", "C"),
        "up": tensor("F", "C", dtype=DType.FLOAT32, scale=0.1),
        "down": tensor("C", "F", dtype=DType.FLOAT32, scale=0.1),
    },
    outputs={"y": tensor("N", "C")},
    reference={"torch": "torch_reference.py::fused_mlp", "mlx": "mlx_reference.py::fused_mlp"},
    gradients=("x", "up", "down"),
    parameters=("up", "down"),
    test_axes=({"N": 1, "C": 3, "F": 5}, {"N": 33, "C": 24, "F": 96}, {"N": 70, "C": 65, "F": 131}),
    bench_axes=({"N": 32768, "C": 384, "F": 1536}, {"N": 16384, "C": 512, "F": 2048}),
    wrong={
        "wrong/torch_relu.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_derivative_of_relu.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.FUSED_MLP,
)
