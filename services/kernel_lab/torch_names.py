"""What a candidate's source may use of torch: a list of names, because what else is there changes torch for everybody.

A kernel computes in the trainer's process. Who sets the precision of products, threads or seeds there changes every
other op, and the lab, which looks at one op, would not see it. Whatever is not listed here is refused; add what a
kernel needs.
"""

import ast
from collections.abc import Iterator

_TYPES = """
    Tensor Size dtype device layout finfo iinfo Generator strided contiguous_format preserve_format channels_last
    bool uint8 int8 int16 int32 int64 int long short half float double bfloat16 float16 float32 float64
    float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz float8_e8m0fnu float4_e2m1fn_x2 complex64 complex128
"""
_OPS = """
    abs absolute add addbmm addcdiv addcmul addmm addmv addr all allclose amax amin aminmax any arange argmax argmin
    argsort as_strided as_tensor atan atan2 baddbmm bincount bitwise_and bitwise_left_shift bitwise_not bitwise_or
    bitwise_right_shift bitwise_xor block_diag bmm broadcast_shapes broadcast_tensors broadcast_to bucketize cat ceil
    chunk clamp clamp_max clamp_min clone column_stack complex concat conv1d conv2d copysign cos cosh count_nonzero
    cummax cummin cumprod cumsum diag diag_embed diagonal diff div divide dot einsum embedding empty empty_like
    empty_strided eq equal erf erfc exp exp2 expm1 eye fill flatten flip float_power floor floor_divide fmax fmin fmod
    frac frexp full full_like gather ge ger greater greater_equal group_norm gt heaviside histc hstack hypot index_add
    index_copy index_fill index_put index_reduce index_select inner is_complex is_floating_point is_tensor isclose
    isfinite isin isinf isnan kron layer_norm ldexp le lerp less less_equal linspace log log10 log1p log2 log_softmax
    logaddexp logaddexp2 logcumsumexp logical_and logical_not logical_or logical_xor logit logsumexp lt masked_fill
    masked_scatter masked_select matmul max maximum mean median meshgrid min minimum mm moveaxis mul multiply mv
    nan_to_num nansum narrow native_layer_norm ne neg negative nonzero norm not_equal numel ones ones_like outer
    permute polar pow prod promote_types rand rand_like randint randint_like randn randn_like randperm ravel real
    reciprocal relu remainder repeat_interleave reshape result_type rms_norm roll round rsqrt rsub scalar_tensor
    scatter scatter_add scatter_reduce searchsorted select select_scatter sgn sigmoid sign signbit sin sinh
    slice_scatter softmax sort split split_with_sizes sqrt square squeeze stack std std_mean sub subtract sum swapaxes
    swapdims t take take_along_dim tan tanh tensor tensor_split tensordot threshold tile topk trace transpose tril
    tril_indices triu triu_indices true_divide trunc unbind unflatten unique unique_consecutive unsqueeze var var_mean
    vdot view_as_complex view_as_real vmap vstack where xlogy zeros zeros_like _scaled_mm _grouped_mm
"""
_REST = """
    no_grad enable_grad compile compiler.is_compiling autograd.Function autograd.grad
    autograd.function.once_differentiable autograd.function.FunctionCtx amp.custom_fwd amp.custom_bwd
    library.custom_op library.register_autograd library.register_fake library.triton_op library.wrap_triton
    cuda.get_device_capability cuda.get_device_properties cuda.current_device cuda.make_graphed_callables
    nn.attention.flex_attention.BlockMask nn.attention.flex_attention.create_block_mask
    nn.attention.flex_attention.flex_attention
"""
NAMES = frozenset(f"torch.{name}" for name in (_TYPES + _OPS + _REST).split())
FAMILIES = ("torch.nn.functional", "torch.linalg", "torch.special", "torch.ops.aten")
"""modules of functions alone: every name of them that has no underscore before it, except as source_rules says"""
MODULES = frozenset(
    ".".join(name.split(".")[:count]) for name in (*NAMES, *(f"{one}.x" for one in FAMILIES))
    for count in range(1, name.count(".") + 1)
)  # fmt: skip
"""what lies on the way to a name"""
ADVICE = "which is not on the list of what a kernel may use of torch"


def breaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    yield from _imported(tree)
    for node, path in uses(tree):
        if not _is_allowed(path):
            what = f"hands {path} on" if path in MODULES else f"uses {path}"
            yield node.lineno, f"{what}, {ADVICE}"


def uses(tree: ast.AST) -> Iterator[tuple[ast.Attribute | ast.Name | ast.Call, str]]:
    """Every chain that begins at something imported from torch, and what it stands for."""
    known = _known(tree)
    used: set[int] = set()
    for node in ast.walk(tree):  # the outermost of a chain comes first
        if id(node) in used or not isinstance(node, ast.Attribute | ast.Name | ast.Call):
            continue
        if path := _path(node, known, used):
            yield node, path


def _is_allowed(path: str) -> bool:
    parts = path.split(".")
    if any(".".join(parts[:count]) in NAMES for count in range(2, len(parts) + 1)):
        return True
    family = next((one for one in FAMILIES if path.startswith(f"{one}.")), None)
    return family is not None and not path.removeprefix(f"{family}.").startswith("_")


def _path(node: ast.AST, known: dict[str, str], used: set[int]) -> str:
    """Of a chain that begins at something imported from torch, getattr(x, "name") included; else nothing. used: all
    nodes of the chain."""
    parts: list[str] = []
    while not isinstance(node, ast.Name):
        used.add(id(node))
        if isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        elif isinstance(node, ast.Call) and (name := _shown(node)):
            parts.append(name)
            node = node.args[0]
        else:
            return ""
    if node.id not in known or not isinstance(node.ctx, ast.Load):
        return ""
    used.add(id(node))
    return ".".join([known[node.id], *reversed(parts)])


def _shown(node: ast.Call) -> str:
    of = node.args[1] if isinstance(node.func, ast.Name) and node.func.id == "getattr" and len(node.args) > 1 else None
    return str(of.value) if isinstance(of, ast.Constant) else ""


def _imported(tree: ast.AST) -> Iterator[tuple[int, str]]:
    for node, _, path in _imports(tree):
        if path not in MODULES and not _is_allowed(path):
            yield node.lineno, f"imports {path}, {ADVICE}"


def _known(tree: ast.AST) -> dict[str, str]:
    """What names stand for torch, or for a part of it."""
    return {name: path for _, name, path in _imports(tree)}


def _imports(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, str, str]]:
    """(statement, name that it binds, what that name, or the module that is loaded, is)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "torch":
                    yield node, alias.asname or "", alias.name
                    if not alias.asname:
                        yield node, "torch", "torch"
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "torch":
            for alias in node.names:
                yield node, alias.asname or alias.name, f"{node.module}.{alias.name}"
