"""logits_softcap: a soft limit on logits (Gemma 2, arXiv 2408.00118)."""

from kernels.records import Definition, DType, Family, Status, axes, number, tensor

DEFINITION = Definition(
    name="logits_softcap",
    op_type="elementwise",
    description="s = cap tanh(z / cap) in float32",
    axes=axes(N="tokens", V="vocabulary"),
    inputs={"z": tensor("N", "V", scale=8.0), "cap": number(15.0)},
    outputs={"s": tensor("N", "V", dtype=DType.FLOAT32)},
    reference={"torch": "torch_reference.py::logits_softcap", "mlx": "mlx_reference.py::logits_softcap"},
    gradients=("z",),
    test_axes=({"N": 1, "V": 1}, {"N": 7, "V": 61}),
    bench_axes=({"N": 32768, "V": 8192},),
    wrong={
        "wrong/torch_hard_cap.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_in_its_dtype.py": Status.INCORRECT_DTYPE,
    },
    family=Family.LOSS_PRELUDE,
)
