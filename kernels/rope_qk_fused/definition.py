"""rope_qk_fused: rotary embedding and norm of queries and keys in one pass."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="rope_qk_fused",
    op_type="rope",
    description="rmsnorm(rotary_embedding(x, cos, sin)) over the last axis, of queries and of keys",
    axes=axes(B="rows", T="tokens", H="query heads", G="key heads", D="head dimension", K="half of it"),
    constraints=("D == 2 * K",),
    inputs={
        "q": tensor("B", "T", "H", "D"),
        "k": tensor("B", "T", "G", "D"),
        "cos": tensor("T", "K"),
        "sin": tensor("T", "K"),
    },
    outputs={"qn": tensor("B", "T", "H", "D"), "kn": tensor("B", "T", "G", "D")},
    reference={"torch": "torch_reference.py::rope_qk_fused", "mlx": "mlx_reference.py::rope_qk_fused"},
    gradients=("q", "k"),
    test_axes=(
        {"B": 2, "T": 3, "H": 3, "G": 1, "D": 6, "K": 3},
        {"B": 1, "T": 17, "H": 4, "G": 2, "D": 64, "K": 32},
    ),
    bench_axes=(
        {"B": 32, "T": 1024, "H": 3, "G": 3, "D": 128, "K": 64},
        {"B": 8, "T": 2048, "H": 4, "G": 4, "D": 128, "K": 64},
    ),
    wrong={
        "wrong/torch_norm_first.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_row_positions.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.ATTENTION_PRELUDE,
)
