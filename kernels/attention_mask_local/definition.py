"""attention_mask_local: probabilities of attention scores under a causal window."""

from kernels.records import Definition, Family, Status, axes, length, tensor

DEFINITION = Definition(
    name="attention_mask_local",
    op_type="reduction",
    description="softmax over the keys j with i - window <= j <= i, zero elsewhere; computed in float32",
    axes=axes(M="rows and heads", T="tokens", W="keys a query looks back"),
    inputs={"z": tensor("M", "T", "T", scale=2.0, offset=128.0), "window": length("W")},
    outputs={"p": tensor("M", "T", "T")},
    reference={"torch": "torch_reference.py::attention_mask_local", "mlx": "mlx_reference.py::attention_mask_local"},
    gradients=("z",),
    test_axes=({"M": 1, "T": 9, "W": 20}, {"M": 2, "T": 5, "W": 2}, {"M": 3, "T": 37, "W": 11}),
    bench_axes=({"M": 24, "T": 2048, "W": 1024},),
    wrong={
        "wrong/torch_one_key_short.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_no_window.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.ATTENTION_PRELUDE,
)
