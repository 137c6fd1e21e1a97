"""muon_polynomial: one step of the polynomial that orthogonalizes Muon's update."""

from kernels.muon_symmetric_matmul.coefficients import POLAR_EXPRESS
from kernels.records import Definition, Family, Status, axes, number, tensor

A, B, C = POLAR_EXPRESS[0]

DEFINITION = Definition(
    name="muon_polynomial",
    op_type="matmul",
    description="y = a x + (b A + c A^2) x with A = x x^T, of each matrix of a batch; no gradient is asked of it",
    axes=axes(N="matrices", R="rows", C="columns"),
    inputs={"x": tensor("N", "R", "C", scale=0.05), "a": number(A), "b": number(B), "c": number(C)},
    outputs={"y": tensor("N", "R", "C")},
    reference={"torch": "torch_reference.py::muon_polynomial", "mlx": "mlx_reference.py::muon_polynomial"},
    test_axes=({"N": 1, "R": 3, "C": 5}, {"N": 2, "R": 70, "C": 33}, {"N": 3, "R": 129, "C": 64}),
    bench_axes=({"N": 24, "R": 384, "C": 384}, {"N": 12, "R": 384, "C": 1536}, {"N": 16, "R": 512, "C": 2048}),
    wrong={
        "wrong/torch_no_square.py": Status.INCORRECT_NUMERICAL,
        "wrong/torch_one_triangle.py": Status.INCORRECT_NUMERICAL,
    },
    family=Family.MATMUL_EPILOGUE,
)
