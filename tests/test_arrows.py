"""The house rules, read from the source: services -> kernels -> shared, never back, never sideways."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

from shared.settings import CHECKOUT

ROOMS = ("services", "kernels", "shared")
BELOW = {"services": {"services", "kernels", "shared"}, "kernels": {"kernels", "shared"}, "shared": {"shared"}}
FRAMEWORKS = {"torch", "mlx", "triton"}
HEAVY = {*FRAMEWORKS, "mlflow", "redis", "rq", "pyarrow", "tiktoken", "matplotlib", "scipy", "pandas"}
NETWORKED = {"mlflow", "redis", "rq"}
MAY_USE_NETWORK = ("services/worker/", "services/console/", "services/hub/", "shared/tracking")
GROUND_FLOOR = ("bounds.py", "contracts.py", "files.py", "settings.py")
MAX_LINES, MAX_FUNCTION_LINES = 500, 60
LONG_FUNCTIONS: set[str] = set()
"""path:function, each a debt"""

MODULES = sorted(path for room in ROOMS for path in (CHECKOUT / room).rglob("*.py"))
TESTS = sorted(path for room in ("tests", "benchmarks") for path in (CHECKOUT / room).rglob("*.py"))


def name_of(path: Path) -> str:
    return str(path.relative_to(CHECKOUT))


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of everything imported, also inside functions; relative names made absolute."""
    package = path.relative_to(CHECKOUT).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else ()
            origin = [*above, *([node.module] if node.module else [])]
            yield node.lineno, ".".join(origin)
            # `from services import trainer` names the service only here
            yield from ((node.lineno, ".".join([*origin, alias.name])) for alias in node.names)


def violations(forbidden) -> list[str]:
    """`path:line name` of each import for which forbidden(path, parts of the name) holds."""
    return [
        f"{name_of(path)}:{line} {name}"
        for path in MODULES
        for line, name in imports(path)
        if forbidden(name_of(path), name.split("."))
    ]


def test_imports_point_down():
    def upward(path: str, name: list[str]) -> bool:
        return name[0] in ROOMS and name[0] not in BELOW[path.split("/")[0]]

    assert violations(upward) == []


def arrows_in_shared() -> dict[str, set[str]]:
    """{room of shared: rooms it imports}."""
    rooms = {path.name for path in (CHECKOUT / "shared").iterdir() if (path / "__init__.py").exists()}
    arrows: dict[str, set[str]] = {room: set() for room in rooms}
    for path in MODULES:
        top, room, *_ = path.relative_to(CHECKOUT).parts
        if top == "shared" and room in rooms:
            names = [name.split(".") for _, name in imports(path)]
            arrows[room] |= {name[1] for name in names if name[0] == "shared" and len(name) > 1} & rooms - {room}
    return arrows


def test_the_rooms_of_shared_are_few_and_have_no_circles():
    arrows = arrows_in_shared()
    list(TopologicalSorter(arrows).static_order())  # CycleError names one
    assert len(arrows) <= 15
    assert sum(map(len, arrows.values())) <= 40


def test_no_service_imports_another():
    def sideways(path: str, name: list[str]) -> bool:
        room, service = path.split("/")[:2]
        return room == "services" and name[0] == "services" and len(name) > 1 and name[1] != service

    assert violations(sideways) == []


def test_only_engines_of_shared_import_a_framework():
    def framework(path: str, name: list[str]) -> bool:
        return path.startswith("shared/") and not path.startswith("shared/engines/") and name[0] in FRAMEWORKS

    assert violations(framework) == []


def test_only_worker_console_hub_and_tracking_reach_redis_and_mlflow():
    assert violations(lambda path, name: name[0] in NETWORKED and not path.startswith(MAY_USE_NETWORK)) == []


def test_the_ground_floor_names_no_room_above_it():
    """Not even in words: settings, files and contracts know nothing of who uses them."""
    rooms = [path.name for path in (CHECKOUT / "shared").iterdir() if path.is_dir()]
    above = re.compile(rf"\b(services|kernels)[/.]\w|\bshared[/.]({'|'.join(rooms)})\b")
    named = {name: above.findall((CHECKOUT / "shared" / name).read_text()) for name in GROUND_FLOOR}
    assert not any(named.values()), named


def test_tests_are_imported_by_nothing():
    assert violations(lambda path, name: name[0] in ("tests", "benchmarks")) == []


def test_importing_shared_is_light():
    modules = [
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in (CHECKOUT / "shared").rglob("*.py")
        if not name_of(path).startswith("shared/engines/")
    ]
    code = f"import importlib, sys\nfor name in {modules!r}: importlib.import_module(name)\nprint(*sys.modules)"
    argv = [sys.executable, "-c", code]
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert HEAVY & set(done.stdout.split()) == set()


def test_every_module_says_what_it_is():
    silent = [
        name_of(path)
        for path in MODULES
        if path.read_text().strip() and not ast.get_docstring(ast.parse(path.read_text()))
    ]
    assert silent == []


@pytest.mark.parametrize("paths", [MODULES, TESTS], ids=["code", "tests"])
def test_no_file_is_longer_than_a_reader_holds(paths):
    lengths = {name_of(path): len(path.read_text().splitlines()) for path in paths}
    assert {name: length for name, length in lengths.items() if length > MAX_LINES} == {}


def test_no_function_is_longer_than_a_screen():
    found = set()
    for path in MODULES:
        if name_of(path).startswith("kernels/"):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.end_lineno - node.lineno >= MAX_FUNCTION_LINES:
                found.add(f"{name_of(path)}:{node.name}")
    assert found == LONG_FUNCTIONS


def test_source_is_plain_ascii_without_places_of_one_machine():
    def foreign(path: Path) -> bool:
        text = path.read_text()
        return not text.isascii() or "/root/" in text or "/home/" in text

    assert [name_of(path) for path in MODULES if foreign(path)] == []
