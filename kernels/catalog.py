"""The ops of kernels/, read from its folders: definitions, references, solutions and wrong kernels.

A folder with a definition.py is an op. Solutions are described from their text; only `load` imports one.
"""

import ast
import hashlib
from collections.abc import Callable, Iterator
from functools import cache
from importlib import import_module, metadata
from pathlib import Path

from kernels.records import (
    BuildSpec,
    Definition,
    DType,
    Framework,
    Language,
    RandomInput,
    ScalarInput,
    Solution,
    SourceFile,
    Status,
    TensorSpec,
    Workload,
)
from shared.settings import CHECKOUT

KERNELS = Path(__file__).parent
AUTHOR = "autoresearch-everywhere"
MEASURED_WITH = ("torch", "triton", "mlx")
"""packages whose other version makes a measurement stale"""


def ops() -> list[str]:
    return sorted(path.parent.name for path in KERNELS.glob("*/definition.py"))


def folder(op: str) -> Path:
    """ValueError names the known ops."""
    if op not in ops():
        raise ValueError(f"unknown op '{op}': choose one of {', '.join(ops())}")
    return KERNELS / op


@cache
def definition(op: str) -> Definition:
    folder(op)
    return import_module(f"kernels.{op}.definition").DEFINITION


def solutions(op: str) -> list[Solution]:
    """Every file of the folder whose name begins with a language, but for the references."""
    return [_describe(op, path) for path in sorted(folder(op).glob("*.py")) if _is_solution(path)]


def solution(op: str, kernel: str) -> Solution:
    """ValueError names those there are."""
    found = {one.name.split("/")[1]: one for one in solutions(op)}
    if kernel not in found:
        raise ValueError(f"{op} has no kernel '{kernel}': choose one of {', '.join(found) or 'none'}")
    return found[kernel]


def wrong(op: str) -> list[tuple[Solution, Status]]:
    """Kernels that must be rejected, with the status each must get."""
    return [(_describe(op, folder(op) / path), status) for path, status in definition(op).wrong.items()]


def load(op: str, kernel: str) -> Callable:
    """The function of a solution of this checkout (a wrong one by "wrong/name"); ImportError without its language."""
    module = import_module(f"kernels.{op}.{kernel.replace('/', '.')}")
    return getattr(module, entry_of(definition(op), framework_of(language_of(kernel))))


def load_reference(op: str, framework: Framework) -> Callable:
    file, name = definition(op).reference[framework].split("::")
    return getattr(import_module(f"kernels.{op}.{file.removesuffix('.py')}"), name)


def entry_of(of: Definition, framework: Framework) -> str:
    """Every solution's function has the reference's name."""
    return of.reference[framework].split("::")[1]


def language_of(kernel: str) -> Language:
    """By the beginning of the file's name; ValueError for another one."""
    stem = kernel.split("/")[-1].split("_")[0]
    if stem in set(Language):
        return Language(stem)
    raise ValueError(f"kernel '{kernel}': its name begins with none of {', '.join(Language)}")


def framework_of(language: Language) -> Framework:
    return "mlx" if language in (Language.MLX, Language.METAL) else "torch"


def signature(op: str, kernel: str) -> str:
    """Changes with anything a measurement of the kernel depends on: definition, references, sources, versions."""
    parts = [(folder(op) / "definition.py").read_text(), solution(op, kernel).sha256]
    parts += [path.read_text() for path in reference_files(op)]
    parts += [f"{name} {_version(name)}" for name in MEASURED_WITH]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()


def reference_files(op: str) -> list[Path]:
    """The references, and the files of kernels/ that they import."""
    references = [folder(op) / entry.split("::")[0] for entry in definition(op).reference.values()]
    return list(dict.fromkeys([*references, *(file for path in references for file in _imported(path))]))


def load_source(op: str, file: str) -> str:
    return (folder(op) / file).read_text()


def workloads(of: Definition, which: str) -> list[Workload]:
    """`test` or `bench`: every size in every precision."""
    sizes = {"test": of.test_axes, "bench": of.bench_axes}[which]
    return [workload(of, axes, precision) for axes in sizes for precision in of.precisions]


def workload(of: Definition, axes: dict[str, int], precision: DType) -> Workload:
    """ValueError when the op is not defined for these lengths."""
    of.check(axes)
    inputs = {name: _asked_input(spec, of.sizes(axes)) for name, spec in of.inputs.items()}
    name = "-".join(f"{axis}{length}" for axis, length in axes.items())
    return Workload(axes=axes, inputs=inputs, uuid=f"{of.name}-{name}-{precision}", precision=precision)


def _asked_input(spec: TensorSpec, sizes: dict[str, int]) -> RandomInput | ScalarInput:
    if spec.length_of is not None:
        return ScalarInput(value=sizes[spec.length_of])
    return RandomInput() if spec.value is None else ScalarInput(value=spec.value)


def _is_solution(path: Path) -> bool:
    return path.stem.split("_")[0] in set(Language) and not path.stem.endswith("_reference")


def _describe(op: str, path: Path) -> Solution:
    kernel = path.relative_to(KERNELS / op).with_suffix("").as_posix()
    language = language_of(kernel)
    entry = entry_of(definition(op), framework_of(language))
    return Solution(
        name=f"{op}/{kernel}",
        definition=op,
        author=AUTHOR,
        spec=BuildSpec(languages=(language,), entry_point=f"{kernel}.py::{entry}"),
        sources=tuple(_source(file) for file in (path, *_imported(path))),
        description=ast.get_docstring(ast.parse(path.read_text())) or "",
    )


def _source(path: Path) -> SourceFile:
    return SourceFile(path=path.relative_to(CHECKOUT).as_posix(), content=path.read_text())


def _imported(path: Path) -> list[Path]:
    """Files of kernels/ that this one imports, and those they import."""
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        new = [file for file in _imports(waiting.pop()) if file not in found and file != path]
        found.update(dict.fromkeys(new))
        waiting += new
    return list(found)


def _imports(path: Path) -> Iterator[Path]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("kernels"):
            for name in (node.module, *(f"{node.module}.{alias.name}" for alias in node.names)):
                file = CHECKOUT / f"{name.replace('.', '/')}.py"  # type: ignore[union-attr]
                if file.is_file():
                    yield file


def _version(package: str) -> str:
    try:
        return metadata.version(package).split("+")[0]
    except metadata.PackageNotFoundError:
        return "absent"
