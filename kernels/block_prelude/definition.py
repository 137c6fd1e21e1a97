"""block_prelude: the end of one block and the beginning of the next: residual add, blend with x0, norm."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="block_prelude",
    op_type="norm",
    description="s = a (x + y) + b x0 and n = rmsnorm(s) over the last axis; a and b are learned scalars",
    axes=axes(N="tokens", C="channels"),
    inputs={
        "x": tensor("N", "C"),
        "y": tensor("N", "C"),
        "x0": tensor("N", "C"),
        "a": tensor(dtype=DType.FLOAT32),
        "b": tensor(dtype=DType.FLOAT32),
    },
    outputs={"s": tensor("N", "C"), "n": tensor("N", "C")},
    reference={"torch": "torch_reference.py::block_prelude", "mlx": "mlx_reference.py::block_prelude"},
    gradients=("x", "y", "x0", "a", "b"),
    sums={"a": ("N", "C"), "b": ("N", "C")},
    test_axes=({"N": 1, "C": 5}, {"N": 5, "C": 33}, {"N": 70, "C": 129}),
    bench_axes=({"N": 32768, "C": 384}, {"N": 16384, "C": 512}),
    wrong={"wrong/torch_blend_first.py": Status.INCORRECT_NUMERICAL},
    family=Family.NORM,
)
