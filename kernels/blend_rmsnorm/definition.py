"""blend_rmsnorm: the beginning of a block where the sum is there already: blend with x0, norm."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="blend_rmsnorm",
    op_type="norm",
    description="s = a x + b x0 and n = rmsnorm(s) over the last axis; a and b are learned scalars",
    axes=axes(N="tokens", C="channels"),
    inputs={
        "x": tensor("N", "C"),
        "x0": tensor("N", "C"),
        "a": tensor(dtype=DType.FLOAT32),
        "b": tensor(dtype=DType.FLOAT32),
    },
    outputs={"s": tensor("N", "C"), "n": tensor("N", "C")},
    reference={"torch": "torch_reference.py::blend_rmsnorm", "mlx": "mlx_reference.py::blend_rmsnorm"},
    gradients=("x", "x0", "a", "b"),
    sums={"a": ("N", "C"), "b": ("N", "C")},
    test_axes=({"N": 1, "C": 5}, {"N": 5, "C": 33}, {"N": 70, "C": 129}),
    bench_axes=({"N": 32768, "C": 384}, {"N": 16384, "C": 512}),
    wrong={
        "wrong/torch_norm_of_x.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_no_sum_gradient.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.NORM,
)
