"""softmax: probabilities of rows."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="softmax",
    op_type="reduction",
    description="p = exp(z - max z) / sum exp(z - max z) over the last axis, computed in float32",
    axes=axes(N="rows", V="columns"),
    inputs={"z": tensor("N", "V", scale=4.0, offset=128.0)},
    outputs={"p": tensor("N", "V")},
    reference={"torch": "torch_reference.py::softmax", "mlx": "mlx_reference.py::softmax"},
    gradients=("z",),
    test_axes=({"N": 1, "V": 2}, {"N": 5, "V": 331}),
    bench_axes=({"N": 32768, "V": 1024}, {"N": 32768, "V": 8192}),
    wrong={
        "wrong/torch_not_normalized.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_without_its_maximum.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.LOSS_PRELUDE,
)
