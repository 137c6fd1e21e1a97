"""Loading a recipe: the one file an agent may edit. Runs untrusted code, so only sandboxed children call it.

The protocol is in docs/recipe.md. Everything wrong with a recipe becomes one InvalidRecipe line.
"""

import ast
import importlib.util
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from shared.contracts import one_line
from shared.runs.recipe_file import InvalidRecipe, check_knowledge, read_source

METHODS = ("step", "logits", "state", "load")


def check_source(source: bytes, name: str) -> None:
    """What can be said without running it: it is small, holds no data, parses, and defines build().

    InvalidRecipe otherwise.
    """
    check_knowledge(source, name)
    try:
        tree = ast.parse(source, filename=name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InvalidRecipe(f"{name} does not parse: {describe_error(error)}") from None
    if not any(getattr(node, "name", None) == "build" for node in tree.body):
        raise InvalidRecipe(f"{name} has no function build(shape, vocab_size, seed, device)")


def load_recipe(path: Path) -> ModuleType:
    """Imports the file as module `recipe`. InvalidRecipe when it fails or lacks build()."""
    check_source(read_source(path), path.name)
    spec = importlib.util.spec_from_file_location("recipe", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with blaming("does not import"):
        spec.loader.exec_module(module)
    return module


def check_protocol(recipe: object) -> None:
    missing = [name for name in METHODS if not callable(getattr(recipe, name, None))]
    if missing:
        raise InvalidRecipe(f"build() returned an object without {', '.join(missing)}()")


@contextmanager
def blaming(what: str, *, unless: Callable[[BaseException], bool] = lambda error: False) -> Iterator[None]:
    """Turns an exception of the recipe's code into one InvalidRecipe line; `unless` lets e.g. out-of-memory pass."""
    try:
        yield
    except (Exception, SystemExit) as error:
        if isinstance(error, InvalidRecipe) or unless(error):
            raise
        traceback.print_exc()
        raise InvalidRecipe(f"recipe {what}: {describe_error(error)}") from error


def describe_error(error: BaseException) -> str:
    """`NameError: name 'x' is not defined (recipe.py line 12)`, on one line. The line is the recipe's, never ours."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_recipe(Path(frame.filename))]
    where = f" (recipe.py line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {one_line(str(error))[:500]}{where}"


def _is_recipe(file: Path) -> bool:
    """This file has the same name."""
    return file.name == "recipe.py" and file != Path(__file__)
