"""Which family a kernel belongs to, by its name: that of a library's, of PyTorch's own, or of one that Inductor wrote.

The first row that matches counts. Inductor names a kernel after the ops in it, so one name can hold several words.
"""

import re

from kernels.records import Family

WORDS: tuple[tuple[str, str], ...] = (
    ("attention", r"flash|fmha|attention|sdpa|flex_"),
    ("optimizer", r"multi_tensor|foreach|adam|muon|polar|lerp"),
    ("matmul", r"gemm|cutlass|cublas|xmma|wgmma|nvjet|(^|[:_ ])(b?mm|addmm|addbmm|baddbmm|matmul|linear)($|[_ <(])"),
    ("loss", r"softmax|nll|cross_entropy|logsumexp|_tanh.*_(exp|log|amax)|_(exp|log|amax).*_tanh"),
    ("norm", r"norm|rsqrt"),
    ("mlp", r"relu|gelu|silu|threshold|clamp_min"),
    (
        "data_movement",
        r"memcpy|memset|copy|cat|transpose|permute|contiguous|index|gather|scatter|embedding|clone|fill|empty|::(t|view|reshape|as_strided|expand)$",
    ),
    ("reduce", r"reduce|triton_(red|per)|sum|mean|max|min"),
    ("pointwise", r"elementwise|triton_poi|mul|add|sub|div|tanh|sigmoid|exp|sqrt|pow|where"),
)
TO_CATALOG: dict[str, Family] = {
    "attention": Family.ATTENTION_PRELUDE,
    "optimizer": Family.LAUNCH_FUSION,
    "matmul": Family.MATMUL_EPILOGUE,
    "loss": Family.LOSS_PRELUDE,
    "norm": Family.NORM,
    "mlp": Family.FUSED_MLP,
    "data_movement": Family.DATA_MOVEMENT,
    "reduce": Family.NORM,
    "pointwise": Family.DATA_MOVEMENT,
}
"""what kernels/ has for a family"""
OTHER = "other"


def family_of(kernel: str) -> str:
    lowered = kernel.lower()
    return next((family for family, words in WORDS if re.search(words, lowered)), OTHER)
