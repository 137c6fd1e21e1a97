"""What a candidate's source may not hold, found without running it: things no kernel needs and every known cheat does.

A second fence only: whoever gets round it is still in a sandbox, without the answers, under the lab's own clock.
"""

import ast
from collections.abc import Iterator

from services.kernel_lab import registrations, torch_names
from services.kernel_lab.fixed import imported_files, without_source
from shared.runs.shipped import listed_kernels
from shared.settings import CHECKOUT

MODULES = frozenset({
    "torch", "triton", "mlx", "numpy", "math", "functools", "typing", "dataclasses", "collections", "enum",
    "itertools", "operator", "kernels", "__future__", "cutlass", "cuda", "quack", "einops",
})  # fmt: skip
"""what kernels are made of"""
HARNESS_MODULES = (
    "torch.utils.benchmark", "torch.profiler", "torch.autograd.profiler", "triton.testing",
    "torch.multiprocessing", "torch.utils.data", "torch.distributed",
    "kernels.catalog", "kernels.choose", "kernels.promotion", "kernels.triton_compile", "kernels.triton_interpreter",
)  # fmt: skip
"""of what kernels are made of, the parts that measure, start or import other things"""
ATTRIBUTES = {
    "__globals__": "looks into other functions",
    "__subclasses__": "looks for objects it was not given",
    "__code__": "changes functions",
    "__closure__": "looks into other functions",
    "__dict__": "looks into objects it was not given",
    "f_back": "looks at who called it",
    "elapsed_time": "touches the timer",
    "Event": "touches the timer",
    "perf_counter": "touches the timer",
    "perf_counter_ns": "touches the timer",
    "synchronize": "touches the timer",
    "Stream": "computes where the timer might not look",
    "ExternalStream": "computes where the timer might not look",
    "_make_subclass": "makes tensors that are computed later",
    "_make_wrapper_subclass": "makes tensors that are computed later",
    "__torch_function__": "makes tensors that are computed later",
    "__torch_dispatch__": "makes tensors that are computed later",
    "ctypeslib": "reads memory by address",
    "from_file": "reads files",
    "load": "reads files",
    "memmap": "reads files",
    "fromfile": "reads files",
    "load_library": "runs code of its own",
    "load_inline": "runs code of its own",
    "CompilationUnit": "runs text",
    "exec": "runs text",
    "eval": "runs text",
    "get_type_hints": "runs text",
    "ForwardRef": "runs text",
    "__import__": "imports behind our back",
    "__builtins__": "looks into the interpreter",
    "__loader__": "looks into the interpreter",
    "__spec__": "looks into the interpreter",
    "__getattribute__": "reaches what it does not name",
    "attrgetter": "reaches what it does not name",
    "methodcaller": "reaches what it does not name",
    "modules": "looks into other modules",
    "_getframe": "looks at who called it",
    "tb_frame": "looks at who called it",
    "gi_frame": "looks at who called it",
    "f_globals": "looks at who called it",
    "f_locals": "looks at who called it",
    "f_builtins": "looks into the interpreter",
    "Thread": "works while nobody asks",
    "Timer": "works while nobody asks",
    "ThreadPoolExecutor": "works while nobody asks",
    "fork": "works while nobody asks",
}
CALLS = {
    "exec": "runs text",
    "eval": "runs text",
    "compile": "runs text",
    "open": "reads files",
    "__import__": "imports behind our back",
    "globals": "looks into modules",
    "vars": "looks into objects",
    "setattr": "changes objects that are not its own",
    "delattr": "changes objects that are not its own",
    "breakpoint": "stops",
    "input": "stops",
}
ATTRIBUTES |= dict.fromkeys(
    (
        "os", "sys", "gc", "ctypes", "inspect", "threading", "multiprocessing", "ThreadPool", "subprocess", "thread",
        "importlib", "import_module", "builtins", "pickle", "signal", "socket", "mmap", "weakref",
        "cpp_extension", "async_compile",
    ),
    "is no part of a kernel",
)  # fmt: skip
ATTRIBUTES |= dict.fromkeys(
    (
        "manual_seed", "manual_seed_all", "seed", "seed_all", "initial_seed", "set_rng_state", "get_rng_state",
        "set_grad_enabled", "set_default_dtype", "set_num_threads", "backends", "torch", "__enter__", "__exit__",
    ),
    "changes, or looks at, what other ops share",
)  # fmt: skip
ATTRIBUTES |= dict.fromkeys(
    ("is_leaf", "grad_fn", "next_functions", "Parameter", "_base", "_is_view", "retains_grad"),
    "asks who calls it",
)
BY_NAME = "reaches what it does not name"
LIBRARIES = frozenset({"torch", "triton", "tl", "mx", "mlx", "np", "numpy", "F", "nn", "builtins"})
TRITON = "tl"
"""where this is Triton's language and nothing else, its `load` reads memory that the kernel was given"""


def find_breach(source: bytes) -> str:
    """One line about the first thing that is not allowed; empty when there is none or the source does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ""
    found = next(_breaches(tree), None)
    return f"line {found[0]}: {found[1]}" if found else ""


def find_breach_with_imports(source: bytes, op: str) -> str:
    """The same of a candidate for this op and of what it imports from kernels/, but for files that are shipped as they
    are: a person has read those."""
    imported = imported_files(source)
    found = find_breach(source) or registrations.find_foreign(source, op) or _without_source(source)
    listed = listed_kernels() if imported else frozenset()
    for name in () if found else [name for name in imported if imported[name] not in listed]:
        content = (CHECKOUT / name).read_bytes()
        if breach := find_breach(content) or registrations.find_foreign(content, op) or _without_source(content):
            return f"{name}, which it imports and which is not shipped, {breach}"
    return found


def _without_source(source: bytes) -> str:
    name = without_source(source)
    return f"imports {name}, of which kernels/ holds no Python file to read" if name else ""


def _breaches(tree: ast.AST) -> Iterator[tuple[int, str]]:
    shown = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call) and _shows_its_name(node)}
    yield from torch_names.breaches(tree)
    yield from registrations.breaches(tree)
    harmless = TRITON if {*_bound_to(TRITON, tree)} == {"triton.language"} else ""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            yield from ((node.lineno, f"imports {name}, which no kernel needs") for name in _foreign_modules(node))
        elif isinstance(node, ast.Attribute):
            yield from _attribute(node, harmless)
        elif isinstance(node, ast.Call) and id(node.func) in shown:
            yield from _forbidden(node.lineno, str(node.args[1].value))  # type: ignore[attr-defined]
        elif isinstance(node, ast.Name):
            yield from _name(node, id(node) in shown)
        elif isinstance(node, ast.MatchClass):
            yield from (found for name in node.kwd_attrs for found in _forbidden(node.lineno, name))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _forbidden(node.lineno, node.name)
        elif isinstance(node, ast.ClassDef):
            yield from ((node.lineno, f"class {node.name} is a tensor of its own") for _ in _tensor_bases(node))


def _bound_to(name: str, tree: ast.AST) -> Iterator[str]:
    """The modules that are imported under this name; empty for whatever else has it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            beginning = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
            for alias in node.names:
                if name in (alias.asname, alias.name.split(".")[0]):
                    yield beginning + alias.name
        elif isinstance(node, ast.Name):
            yield from [""] * (node.id == name and not isinstance(node.ctx, ast.Load))
        elif name in (getattr(node, "name", None), getattr(node, "arg", None), getattr(node, "rest", None)):
            yield ""


def _shows_its_name(node: ast.Call) -> bool:
    """getattr(x, "name") is as good as x.name."""
    return (
        isinstance(node.func, ast.Name)
        and node.func.id == "getattr"
        and len(node.args) > 1
        and isinstance(node.args[1], ast.Constant)
    )


def _forbidden(line: int, name: str) -> Iterator[tuple[int, str]]:
    """Modules are also known by names with an underscore before them."""
    found = name if name in ATTRIBUTES else name.lstrip("_")
    if found in ATTRIBUTES:
        yield line, f"{name} {ATTRIBUTES[found]}"


def _name(node: ast.Name, shown: bool) -> Iterator[tuple[int, str]]:
    if isinstance(node.ctx, ast.Load) and node.id in CALLS:
        yield node.lineno, f"{node.id} {CALLS[node.id]}"
    elif node.id == "getattr" and not shown:
        yield node.lineno, f"{node.id} {BY_NAME}"
    elif node.id.startswith("__") and node.id in ATTRIBUTES:
        yield node.lineno, f"{node.id} {ATTRIBUTES[node.id]}"


def _foreign_modules(node: ast.Import | ast.ImportFrom) -> list[str]:
    """A library's attribute can be imported from it, too: from torch import os."""
    if isinstance(node, ast.Import):
        names = [alias.name for alias in node.names]
        if "kernels" in {name.split(".")[0] for name in names}:
            return ["kernels as a whole"]
    elif node.level:
        return ["from the folder that it lies in"]
    else:
        names = [f"{node.module or ''}.{alias.name}" for alias in node.names]
    return [name for name in names if _is_foreign(name)]


def _is_foreign(name: str) -> bool:
    root, *parts = name.split(".")
    if root not in MODULES or name.startswith((*HARNESS_MODULES, "numpy.ctypeslib")):
        return True
    return not name.startswith("triton.language.") and any(found for part in parts for found in _forbidden(0, part))


def _attribute(node: ast.Attribute, harmless: str) -> Iterator[tuple[int, str]]:
    base = node.value.id if isinstance(node.value, ast.Name) else ""
    if isinstance(node.ctx, ast.Store | ast.Del) and _root(node) in LIBRARIES:
        yield node.lineno, f"changes {_root(node)}"
    elif node.attr.startswith("set_") and _root(node) in LIBRARIES:
        yield node.lineno, f"{node.attr} changes {_root(node)}"
    elif not harmless or base != harmless:
        yield from _forbidden(node.lineno, node.attr)


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def _tensor_bases(node: ast.ClassDef) -> list[ast.expr]:
    return [base for base in node.bases if isinstance(base, ast.Attribute | ast.Name) and _is_tensor(base)]


def _is_tensor(base: ast.Attribute | ast.Name) -> bool:
    return (base.attr if isinstance(base, ast.Attribute) else base.id) in ("Tensor", "Parameter", "TensorBase")
