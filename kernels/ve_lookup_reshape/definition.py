"""ve_lookup_reshape: value embeddings of tokens, cut into heads."""

from kernels.records import Definition, DType, Family, Status, axes, length, tensor

DEFINITION = Definition(
    name="ve_lookup_reshape",
    op_type="gather",
    description="rows of a table by token, viewed as heads; backward adds rows up",
    axes=axes(N="tokens", V="vocabulary", E="width of the table", G="value heads", D="head dimension"),
    constraints=("E == G * D",),
    inputs={
        "table": tensor("V", "E"),
        "tokens": tensor("N", dtype=DType.INT64, below="V"),
        "head_dim": length("D"),
    },
    outputs={"ve": tensor("N", "G", "D")},
    reference={"torch": "torch_reference.py::ve_lookup_reshape", "mlx": "mlx_reference.py::ve_lookup_reshape"},
    gradients=("table",),
    parameters=("table",),
    test_axes=({"N": 5, "V": 7, "E": 6, "G": 3, "D": 2}, {"N": 67, "V": 61, "E": 64, "G": 2, "D": 32}),
    bench_axes=({"N": 32768, "V": 8192, "E": 384, "G": 3, "D": 128},),
    wrong={"wrong/torch_last_row_wins.py": Status.INCORRECT_NUMERICAL},
    family=Family.DATA_MOVEMENT,
)
