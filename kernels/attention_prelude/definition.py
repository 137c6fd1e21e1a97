"""attention_prelude: from normalized hidden states to what attention reads: projections, rotation, norms."""

from kernels.records import Definition, DType, Family, Status, axes, tensor

DEFINITION = Definition(
    name="attention_prelude",
    op_type="matmul",
    description="q and k = rmsnorm(rotary_embedding(w x)), v = w x, cut into heads; products in x's dtype",
    axes=axes(B="rows", T="tokens", C="channels", H="query heads", G="key heads", D="head dimension", K="half of it"),
    constraints=("D == 2 * K",),
    inputs={
        "x": tensor("B", "T", "C"),
        "wq": tensor("H", "D", "C", dtype=DType.FLOAT32, scale=0.2),
        "wk": tensor("G", "D", "C", dtype=DType.FLOAT32, scale=0.2),
        "wv": tensor("G", "D", "C", dtype=DType.FLOAT32, scale=0.2),
        "cos": tensor("T", "K"),
        "sin": tensor("T", "K"),
    },
    outputs={"q": tensor("B", "T", "H", "D"), "k": tensor("B", "T", "G", "D"), "v": tensor("B", "T", "G", "D")},
    reference={"torch": "torch_reference.py::attention_prelude", "mlx": "mlx_reference.py::attention_prelude"},
    gradients=("x", "wq", "wk", "wv"),
    test_axes=(
        {"B": 2, "T": 3, "C": 7, "H": 2, "G": 1, "D": 6, "K": 3},
        {"B": 1, "T": 17, "C": 64, "H": 4, "G": 2, "D": 16, "K": 8},
    ),
    bench_axes=({"B": 32, "T": 1024, "C": 384, "H": 3, "G": 3, "D": 128, "K": 64},),
    wrong={"wrong/torch_values_too.py": Status.INCORRECT_NUMERICAL},
    family=Family.ATTENTION_PRELUDE,
)
