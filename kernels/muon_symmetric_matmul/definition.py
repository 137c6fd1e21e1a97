"""muon_symmetric_matmul: the product of a matrix with its own transpose, of which one triangle is enough."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="muon_symmetric_matmul",
    op_type="matmul",
    description="y = x x^T of each matrix of a batch; the optimizer asks no gradient of it",
    axes=axes(N="matrices", R="rows", C="columns"),
    inputs={"x": tensor("N", "R", "C")},
    outputs={"y": tensor("N", "R", "R")},
    reference={"torch": "torch_reference.py::symmetric_matmul", "mlx": "mlx_reference.py::symmetric_matmul"},
    test_axes=({"N": 1, "R": 3, "C": 5}, {"N": 2, "R": 70, "C": 33}, {"N": 3, "R": 129, "C": 64}),
    bench_axes=({"N": 24, "R": 384, "C": 384}, {"N": 12, "R": 384, "C": 1536}, {"N": 16, "R": 512, "C": 2048}),
    wrong={"wrong/torch_one_triangle.py": Status.INCORRECT_NUMERICAL},
    family=Family.MATMUL_EPILOGUE,
)
