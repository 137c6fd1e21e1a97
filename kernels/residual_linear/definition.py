"""residual_linear: a projection that ends in the residual stream."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="residual_linear",
    op_type="matmul",
    description="s = x + y w^T: the product in x's dtype, weights kept in float32",
    axes=axes(N="tokens", K="channels of y", C="channels"),
    inputs={
        "x": tensor("N", "C"),
        "y": tensor("N", "K"),
        "w": tensor("C", "K", dtype=DType.FLOAT32, scale=0.2),
    },
    outputs={"s": tensor("N", "C")},
    reference={"torch": "torch_reference.py::residual_linear", "mlx": "mlx_reference.py::residual_linear"},
    gradients=("x", "y", "w"),
    parameters=("w",),
    test_axes=({"N": 1, "K": 3, "C": 5}, {"N": 33, "K": 24, "C": 40}, {"N": 70, "K": 131, "C": 129}),
    bench_axes=({"N": 32768, "K": 384, "C": 384}, {"N": 16384, "K": 512, "C": 512}),
    wrong={
        "wrong/torch_no_residual_gradient.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_stream_twice.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.MATMUL_EPILOGUE,
)
