"""What an author of kernels may not change: an op's definition and references, what its kernels import, and the
harness that judges. Hashed.

A workspace remembers the hashes from when it was made, and the ledger remembers the workspace's, so an edited tolerance
is one clear line instead of a passed test.
"""

import ast
import hashlib
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
    """None where the source does not parse: it will not run either."""
    names: list[str] = []
    try:
        nodes = [*ast.walk(ast.parse(source))]
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []
    for node in nodes:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    files = [CHECKOUT / f"{name.replace('.', '/')}.py" for name in names if name.split(".")[0] == "kernels"]
    return [file for file in files if file.is_file()]


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
