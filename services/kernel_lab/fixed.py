"""What an author of kernels may not change: an op's definition and references, what its kernels import, and the
harness that judges. Hashed.

A workspace remembers the hashes from when it was made, and the ledger remembers the workspace's, so an edited tolerance
is one clear line instead of a passed test.
"""

import ast
import hashlib
from importlib.machinery import BYTECODE_SUFFIXES, EXTENSION_SUFFIXES
from pathlib import Path

from kernels import catalog
from shared.files import sha256_bytes, sha256_file
from shared.settings import CHECKOUT

HARNESS = ("kernels/records.py", "kernels/inputs.py", "kernels/correctness.py", "kernels/catalog.py")


def fixed_files(op: str) -> dict[str, str]:
    """{path in the checkout: sha256}"""
    paths = [catalog.folder(op) / "definition.py", *catalog.reference_files(op)]
    paths += [CHECKOUT / source.path for one in catalog.solutions(op) for source in one.sources[1:]]
    paths += [CHECKOUT / name for name in HARNESS]
    paths += sorted((CHECKOUT / "services" / "kernel_lab").glob("*.py"))
    return {path.relative_to(CHECKOUT).as_posix(): sha256_file(path) for path in paths if path.is_file()}


def imported_files(source: bytes) -> dict[str, str]:
    """What a candidate takes from kernels/, which is judged with it: {path in the checkout: sha256}."""
    found: dict[str, str] = {}
    waiting = [source]
    while waiting:
        for path in _imports(waiting.pop()):
            name = path.relative_to(CHECKOUT).as_posix()
            if name not in found:
                content = path.read_bytes()
                found[name] = sha256_bytes(content)
                waiting.append(content)
    return found


def _imports(source: bytes) -> list[Path]:
    """Files of kernels/ that an import would run, those of the folders on the way too."""
    names = [name for module, item in _imported_names(source) for name in (module, f"{module}.{item}")]
    found = dict.fromkeys(file for name in names for file in _files_of(name) if file.is_file())
    return list(found)


def without_source(source: bytes) -> str:
    """The first module that is imported from kernels/ and is no Python file there, or has a compiled one beside it,
    which Python would take; empty when there is none."""
    for module, item in _imported_names(source):
        names = [module, f"{module}.{item}"] if item else [module]
        if any(_compiled(name) for name in names) or not any(_files_of(name)[-1].is_file() for name in names):
            return names[-1]
    return ""


def _imported_names(source: bytes) -> list[tuple[str, str]]:
    """(module, what is taken from it or nothing), of kernels. None where the source does not parse: it will not run
    either."""
    try:
        nodes = [*ast.walk(ast.parse(source))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    names = [(alias.name, "") for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [
        (node.module, alias.name)
        for node in nodes
        if isinstance(node, ast.ImportFrom) and node.module and not node.level
        for alias in node.names
    ]
    return [(module, item) for module, item in names if module.split(".")[0] == "kernels"]


def _files_of(name: str) -> list[Path]:
    parts = [part for part in name.split(".") if part]
    folders = [CHECKOUT.joinpath(*parts[:count]) for count in range(1, len(parts) + 1)]
    return [*(folder / "__init__.py" for folder in folders), folders[-1].with_name(f"{parts[-1]}.py")]


def _compiled(name: str) -> bool:
    place = CHECKOUT.joinpath(*name.split("."))
    endings = (*EXTENSION_SUFFIXES, *BYTECODE_SUFFIXES)
    return any(place.with_name(place.name + end).exists() or (place / f"__init__{end}").exists() for end in endings)


def digest(files: dict[str, str]) -> str:
    """One hash for all of them."""
    return hashlib.sha256(repr(sorted(files.items())).encode()).hexdigest()


def edited(remembered: dict[str, str], op: str) -> list[Path]:
    """Files that are not what they were. One that is new, as what an adopted kernel imports, judges nobody unless
    another one calls it."""
    now = fixed_files(op)
    return [Path(name) for name in sorted(remembered) if remembered[name] != now.get(name, _sha256_now(name))]


def _sha256_now(name: str) -> str | None:
    return sha256_file(CHECKOUT / name) if (CHECKOUT / name).is_file() else None
