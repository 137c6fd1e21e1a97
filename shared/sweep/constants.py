"""Constants of a recipe that a sweep may change: numbers at the top level whose line ends with a comment `# sweep`.

    MATRIX_LR = 0.04  # sweep: Muon's

The source is changed as text; it is never executed here.
"""

import ast
import io
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass

MARK = "sweep"


@dataclass(frozen=True)
class Constant:
    value: int | float
    line: int
    start: int
    end: int
    """bytes of the number in its line"""


def marked(source: bytes) -> dict[str, Constant]:
    """By name. ValueError when the source is no Python."""
    try:
        tree, lines = ast.parse(source), marked_lines(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError, tokenize.TokenError) as error:
        raise ValueError(f"the recipe does not parse: {error}") from None
    found = {}
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            value, number = node.value, number_in(node.value)
            if number is not None and value.lineno == value.end_lineno and value.lineno in lines:
                assert value.end_col_offset is not None
                found[node.targets[0].id] = Constant(number, value.lineno, value.col_offset, value.end_col_offset)
    return found


def number_in(node: ast.expr) -> int | float | None:
    try:
        value = ast.literal_eval(node)
    except (ValueError, TypeError, SyntaxError):
        return None
    return value if type(value) in (int, float) else None


def marked_lines(source: bytes) -> set[int]:
    """Numbers of the lines that end with the comment."""
    tokens = tokenize.tokenize(io.BytesIO(source).readline)
    comments = ((token.start[0], token.string) for token in tokens if token.type == tokenize.COMMENT)
    return {line for line, text in comments if text.lstrip("# ").split(":")[0].strip() == MARK}


def with_constants(source: bytes, values: Mapping[str, object]) -> bytes:
    """The source with other numbers. ValueError for a name that is not marked, or a value of another kind."""
    known = marked(source)
    lines = source.splitlines(keepends=True)
    for name, value in values.items():
        constant = known.get(name)
        if constant is None:
            raise ValueError(unmarked(name, known))
        if type(value) not in (int, float) or (type(constant.value) is int and type(value) is not int):
            kind = "a whole number" if type(constant.value) is int else "a number"
            raise ValueError(f"constant {name} is {constant.value} in the recipe: give {kind} instead of {value!r}")
        # constants stand on lines of their own, so earlier changes move nothing
        line = lines[constant.line - 1]
        number = repr(float(value) if type(constant.value) is float else value)  # type: ignore[arg-type]
        lines[constant.line - 1] = line[: constant.start] + number.encode() + line[constant.end :]
    return b"".join(lines)


def unmarked(name: str, known: Mapping[str, Constant]) -> str:
    there = f"marked are {', '.join(known)}" if known else "none is marked"
    return (
        f"constant {name} is not marked in the recipe ({there}): copy the recipe to a file of your own, write "
        f"`# {MARK}` at the end of the line `{name} = ...`, and name that file in the sweep file"
    )
