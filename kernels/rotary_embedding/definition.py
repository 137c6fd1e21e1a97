"""rotary_embedding: positions as rotations (Su et al., arXiv 2104.09864), halves against each other."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="rotary_embedding",
    op_type="rope",
    description="(a, b) -> (a cos + b sin, b cos - a sin), a and b the halves of the last axis",
    axes=axes(B="rows", T="tokens", H="heads", D="head dimension", K="half of it"),
    constraints=("D == 2 * K",),
    inputs={"x": tensor("B", "T", "H", "D"), "cos": tensor("T", "K"), "sin": tensor("T", "K")},
    outputs={"y": tensor("B", "T", "H", "D")},
    reference={"torch": "torch_reference.py::rotary_embedding", "mlx": "mlx_reference.py::rotate_by_tables"},
    gradients=("x",),
    test_axes=({"B": 2, "T": 3, "H": 3, "D": 6, "K": 3}, {"B": 1, "T": 17, "H": 2, "D": 64, "K": 32}),
    bench_axes=({"B": 32, "T": 1024, "H": 3, "D": 128, "K": 64}, {"B": 8, "T": 2048, "H": 4, "D": 128, "K": 64}),
    wrong={"wrong/torch_other_way.py": Status.INCORRECT_NUMERICAL},
    family=Family.ATTENTION_PRELUDE,
)
