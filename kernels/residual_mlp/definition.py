"""residual_mlp: the MLP's half of a block, from the residual stream to the residual stream."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="residual_mlp",
    op_type="matmul",
    description="s = x + max(rmsnorm(x) up^T, 0)^2 down^T: products in x's dtype, weights kept in float32",
    axes=axes(N="tokens", C="channels", F="hidden channels"),
    inputs={
        "x": tensor("N", "C"),
        "up": tensor("F", "C", dtype=DType.FLOAT32, scale=0.1),
        "down": tensor("C", "F", dtype=DType.FLOAT32, scale=0.1),
    },
    outputs={"s": tensor("N", "C")},
    reference={"torch": "torch_reference.py::residual_mlp", "mlx": "mlx_reference.py::residual_mlp"},
    gradients=("x", "up", "down"),
    parameters=("up", "down"),
    test_axes=({"N": 1, "C": 3, "F": 5}, {"N": 33, "C": 24, "F": 96}, {"N": 70, "C": 65, "F": 131}),
    bench_axes=({"N": 32768, "C": 384, "F": 1536}, {"N": 16384, "C": 512, "F": 2048}),
    wrong={
        "wrong/torch_no_norm_gradient.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_not_normed.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_norm_of_stream.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.FUSED_MLP,
)
