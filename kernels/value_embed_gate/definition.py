"""value_embed_gate: value embeddings mixed into attention values (ResFormer, arXiv 2410.17897)."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="value_embed_gate",
    op_type="elementwise",
    description="y = v + 2 sigmoid(gate) ve, one gate per token and head",
    axes=axes(B="rows", T="tokens", G="value heads", D="head dimension"),
    inputs={"v": tensor("B", "T", "G", "D"), "ve": tensor("B", "T", "G", "D"), "gate": tensor("B", "T", "G")},
    outputs={"y": tensor("B", "T", "G", "D")},
    reference={"torch": "torch_reference.py::value_embed_gate", "mlx": "mlx_reference.py::value_embed_gate"},
    gradients=("v", "ve", "gate"),
    test_axes=({"B": 2, "T": 3, "G": 3, "D": 6}, {"B": 1, "T": 17, "G": 2, "D": 64}),
    bench_axes=({"B": 32, "T": 1024, "G": 3, "D": 128}, {"B": 8, "T": 2048, "G": 4, "D": 128}),
    wrong={"wrong/torch_gate_of_one.py": Status.INCORRECT_NUMERICAL},
    family=Family.ATTENTION_PRELUDE,
)
