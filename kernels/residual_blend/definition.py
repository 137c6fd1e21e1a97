"""residual_blend: the residual stream blended with the embedding it started from."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="residual_blend",
    op_type="elementwise",
    description="y = a x + b x0; a and b are learned scalars",
    axes=axes(N="tokens", C="channels"),
    inputs={
        "x": tensor("N", "C"),
        "x0": tensor("N", "C"),
        "a": tensor(dtype=DType.FLOAT32),
        "b": tensor(dtype=DType.FLOAT32),
    },
    outputs={"y": tensor("N", "C")},
    reference={"torch": "torch_reference.py::residual_blend", "mlx": "mlx_reference.py::residual_blend"},
    gradients=("x", "x0", "a", "b"),
    sums={"a": ("N", "C"), "b": ("N", "C")},
    test_axes=({"N": 1, "C": 1}, {"N": 5, "C": 33}, {"N": 70, "C": 129}),
    bench_axes=({"N": 32768, "C": 384}, {"N": 16384, "C": 512}),
    wrong={
        "wrong/torch_swapped.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_keeps_gradient.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_writes_input.py": Status.REWARD_HACK,
    },
    family=Family.DATA_MOVEMENT,
)
