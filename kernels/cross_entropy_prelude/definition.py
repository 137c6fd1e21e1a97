"""cross_entropy_prelude: what a loss needs of logits before it knows the targets: their softcapped log-sum-exp."""

from kernels.records import Definition, DType, Family, Status, axes, number, tensor

DEFINITION = Definition(
    name="cross_entropy_prelude",
    op_type="reduction",
    description="logsumexp over the last axis of cap tanh(z / cap), in float32",
    axes=axes(N="tokens", V="vocabulary"),
    inputs={"z": tensor("N", "V", scale=8.0), "cap": number(15.0)},
    outputs={"lse": tensor("N", dtype=DType.FLOAT32)},
    reference={"torch": "torch_reference.py::cross_entropy_prelude", "mlx": "mlx_reference.py::cross_entropy_prelude"},
    gradients=("z",),
    test_axes=({"N": 1, "V": 2}, {"N": 7, "V": 331}),
    bench_axes=({"N": 32768, "V": 8192},),
    wrong={"wrong/torch_uncapped.py": Status.INCORRECT_NUMERICAL},
    family=Family.LOSS_PRELUDE,
)
