"""proj_head_reshape: a projection whose result lies head by head, as attention kernels of that layout read it."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="proj_head_reshape",
    op_type="matmul",
    description="y[b, h, t] = w[h] x[b, t]: the product, stored with heads before tokens",
    axes=axes(B="rows", T="tokens", C="channels", H="heads", D="head dimension"),
    inputs={"x": tensor("B", "T", "C"), "w": tensor("H", "D", "C", scale=0.1)},
    outputs={"y": tensor("B", "H", "T", "D")},
    reference={"torch": "torch_reference.py::proj_head_reshape", "mlx": "mlx_reference.py::proj_head_reshape"},
    gradients=("x", "w"),
    test_axes=({"B": 2, "T": 3, "C": 7, "H": 3, "D": 5}, {"B": 1, "T": 17, "C": 64, "H": 2, "D": 32}),
    bench_axes=({"B": 32, "T": 1024, "C": 384, "H": 3, "D": 128},),
    wrong={"wrong/torch_only_viewed.py": Status.INCORRECT_NUMERICAL},
    family=Family.DATA_MOVEMENT,
)
