"""cross_entropy_full: mean softcapped cross-entropy from hidden states and head weight, float32 logits never stored."""

from kernels.records import Definition, DType, Family, Status, Tolerance, axes, number, tensor

DEFINITION = Definition(
    name="cross_entropy_full",
    op_type="loss",
    description="mean of logsumexp(s_n) - s_n[target_n] with s = cap tanh(x w^T / cap), products in x's dtype",
    axes=axes(N="tokens", C="channels", V="vocabulary"),
    inputs={
        "x": tensor("N", "C"),
        "w": tensor("V", "C", dtype=DType.FLOAT32),
        "targets": tensor("N", dtype=DType.INT64, below="V"),
        "cap": number(15.0),
    },
    outputs={"loss": tensor(dtype=DType.FLOAT32)},
    reference={"torch": "torch_reference.py::cross_entropy_full", "mlx": "mlx_reference.py::cross_entropy_full"},
    gradients=("x", "w"),
    parameters=("w",),
    test_axes=({"N": 1, "C": 3, "V": 2}, {"N": 7, "C": 5, "V": 61}, {"N": 67, "C": 48, "V": 331}),
    bench_axes=({"N": 32768, "C": 384, "V": 8192}, {"N": 16384, "C": 512, "V": 8192}),
    # a loss is the difference of numbers up to the cap: one rounding of 15 is several of the loss. With two words a
    # loss may be near 0, and a right kernel is off by up to 2.7e-6 then (26 of 60 draws exceeded 8 roundings of it)
    tolerance=Tolerance(roundings=8.0, least_size_float32=4.0),
    wrong={
        "wrong/torch_gradient_uncapped.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_first_half.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.LOSS_PRELUDE,
)
