"""qk_rmsnorm: queries and keys normalized head by head (arXiv 2010.04245)."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="qk_rmsnorm",
    op_type="norm",
    description="rmsnorm over the last axis of queries and of keys",
    axes=axes(N="tokens", H="query heads", G="key heads", D="head dimension"),
    inputs={"q": tensor("N", "H", "D"), "k": tensor("N", "G", "D")},
    outputs={"qn": tensor("N", "H", "D"), "kn": tensor("N", "G", "D")},
    reference={"torch": "torch_reference.py::qk_rmsnorm", "mlx": "mlx_reference.py::qk_rmsnorm"},
    gradients=("q", "k"),
    test_axes=({"N": 3, "H": 3, "G": 1, "D": 5}, {"N": 17, "H": 4, "G": 2, "D": 64}),
    bench_axes=({"N": 32768, "H": 3, "G": 3, "D": 128}, {"N": 16384, "H": 4, "G": 4, "D": 128}),
    wrong={"wrong/torch_across_heads.py": Status.INCORRECT_NUMERICAL},
    family=Family.ATTENTION_PRELUDE,
)
