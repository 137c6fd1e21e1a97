"""reduce: sums of rows, with float32 sums of bf16 numbers."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="reduce",
    op_type="reduction",
    description="y = sum of x over the last axis, added up and returned in float32",
    axes=axes(N="rows", C="channels"),
    inputs={"x": tensor("N", "C")},
    outputs={"y": tensor("N", dtype=DType.FLOAT32)},
    reference={"torch": "torch_reference.py::row_sum", "mlx": "mlx_reference.py::row_sum"},
    gradients=("x",),
    test_axes=({"N": 1, "C": 1}, {"N": 5, "C": 1031}),
    bench_axes=({"N": 32768, "C": 8192},),
    wrong={"wrong/torch_sums_in_bf16.py": Status.INCORRECT_NUMERICAL},
    family=Family.DATA_MOVEMENT,
)
