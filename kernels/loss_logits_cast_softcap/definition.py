"""loss_logits_cast_softcap: hidden states to the float32 logits of the loss, in one pass."""

from kernels.records import Definition, DType, Family, Status, axes, number, tensor

DEFINITION = Definition(
    name="loss_logits_cast_softcap",
    op_type="matmul",
    description="s = cap tanh(x w^T / cap): product in x's dtype, softcap in float32",
    axes=axes(N="tokens", C="channels", V="vocabulary"),
    inputs={
        "x": tensor("N", "C"),
        "w": tensor("V", "C", dtype=DType.FLOAT32),
        "cap": number(15.0),
    },
    outputs={"s": tensor("N", "V", dtype=DType.FLOAT32)},
    reference={
        "torch": "torch_reference.py::loss_logits_cast_softcap",
        "mlx": "mlx_reference.py::loss_logits_cast_softcap",
    },
    gradients=("x", "w"),
    parameters=("w",),
    test_axes=({"N": 3, "C": 7, "V": 11}, {"N": 17, "C": 64, "V": 61}),
    bench_axes=({"N": 32768, "C": 384, "V": 8192},),
    wrong={"wrong/torch_capped_twice.py": Status.INCORRECT_NUMERICAL},
    family=Family.LOSS_PRELUDE,
)
