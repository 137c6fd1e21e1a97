"""launch_fusion: many small kernels one after the other, each shorter on a GPU than its own launch."""

from kernels.records import Definition, Family, Status, axes, tensor

DEFINITION = Definition(
    name="launch_fusion",
    op_type="chain",
    description="K small layers x <- rmsnorm(x + max(x w_k^T, 0)^2); what is measured is the time between kernels",
    axes=axes(N="tokens", C="channels", K="layers"),
    inputs={"x": tensor("N", "C"), "w": tensor("K", "C", "C", scale=0.2)},
    outputs={"y": tensor("N", "C")},
    reference={"torch": "torch_reference.py::chain", "mlx": "mlx_reference.py::chain"},
    gradients=("x", "w"),
    test_axes=({"N": 3, "C": 5, "K": 2}, {"N": 17, "C": 24, "K": 3}),
    bench_axes=({"N": 1024, "C": 128, "K": 16}, {"N": 2048, "C": 256, "K": 8}),
    # one call is the whole chain, and a recorded graph keeps what its backward needs where the next replay writes
    backward_follows=True,
    wrong={"wrong/torch_replays_old_inputs.py": Status.INCORRECT_NUMERICAL},
    family=Family.LAUNCH_FUSION,
)
