"""The MLP on an Apple GPU: MLX's products, and two Metal kernels for the squared ReLU and its slope.

Backward reads the activation, whose root is half of the slope, so the product before it is not kept.

Its source was compiled as C++ and run by CPU threads, not on an Apple GPU yet: tests/kernels/test_metal.py does that.
"""

import mlx.core as mx

THREADS = 256

_square_kernel = mx.fast.metal_kernel(
    name="relu_squared",
    input_names=["h"],
    output_names=["act"],
    source="""
    uint i = thread_position_in_grid.x;
    float positive = metal::max(float(h[i]), 0.0f);
    act[i] = T(positive * positive);
""",
)

_slope_kernel = mx.fast.metal_kernel(
    name="relu_squared_slope",
    input_names=["dact", "act"],
    output_names=["dh"],
    source="""
    uint i = thread_position_in_grid.x;
    dh[i] = T(float(dact[i]) * 2.0f * metal::precise::sqrt(float(act[i])));
""",
)


def fused_mlp(x: mx.array, up_FC: mx.array, down_CF: mx.array) -> mx.array:
    """As mlx_reference.fused_mlp."""
    rows = x.reshape(-1, x.shape[-1])
    y, _ = _products(rows, up_FC.astype(x.dtype), down_CF.astype(x.dtype))
    return y.reshape(x.shape)


@mx.custom_function
def _products(x, up, down):
    (act,) = _each(_square_kernel, [x @ up.T])
    return act @ down.T, act


@_products.vjp
def _backward(primals, cotangents, outputs):
    (x, up, down), dy, act = primals, cotangents[0], outputs[1]
    (dh,) = _each(_slope_kernel, [dy @ down, act])
    return dh @ up, dh.T @ x, dy.T @ act


def _each(kernel, inputs) -> list[mx.array]:
    """One thread per number."""
    x = inputs[0]
    return kernel(
        inputs=inputs,
        template=[("T", x.dtype)],
        grid=(x.size, 1, 1),
        threadgroup=(min(THREADS, x.size), 1, 1),
        output_shapes=[x.shape],
        output_dtypes=[x.dtype],
    )
