"""An idea: a recipe with its settings, the idea it changes, and why that should help. Its runs differ only in seed."""

import ast
import difflib
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from shared.bounds import IdeaId, Name, Remark, Sha256
from shared.contracts import Contract, IdeaRef
from shared.experiment.identity import idea_id, seed_of
from shared.experiment.settings import normal
from shared.files import sha256_bytes
from shared.kernel_names import kernels_of

LONGEST_DIFF = 16_000
Kind = Literal["start", "change", "ablation"]


class Idea(Contract):
    id: IdeaId
    kind: Kind = "change"
    """start: compared with nothing, others are compared with it; ablation: its parent without one kept idea"""
    parent: IdeaId | None = None
    without: IdeaId | None = None
    """of an ablation: the kept idea that is taken out"""
    note: Remark = ""
    """the hypothesis, in one line"""
    recipe_sha: Sha256
    meaning_sha: Sha256
    """equal for recipes that differ only in comments and layout"""
    preset: str | None = None
    set: dict[str, str] = Field(default_factory=dict)
    diff: str = Field(default="", max_length=LONGEST_DIFF + 100)
    """unified, of the recipe and the settings against the parent's"""
    by: Name = ""
    """who had it"""
    nonce: str = Field(default="", pattern=r"^([0-9a-f]{16})?$")
    """drawn when it was proposed; of two records of an idea that of the first counts. Empty: from an older version"""
    made_at: AwareDatetime

    @property
    def ref(self) -> IdeaRef:
        return IdeaRef(id=self.id, parent=self.parent, note=self.note, diff=self.diff)

    def seed(self, index: int) -> int:
        """Of its run number `index`."""
        return seed_of(self.id, index, self.nonce)

    @property
    def kernels(self) -> dict[str, str]:
        """By op, of those that it asks for."""
        return kernels_of(self.set)

    @property
    def settings(self) -> dict[str, str]:
        return {**({"preset": self.preset} if self.preset else {}), **self.set}


def propose(
    source: bytes,
    parent: "Idea | None" = None,
    parent_source: bytes = b"",
    *,
    note: str = "",
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    without: str | None = None,
    by: str = "",
    nonce: str = "",
) -> Idea:
    """The record of an idea, which is not yet in any book. ValueError when the source does not parse.

    Its settings are in their normal form, so what asks for the same run is the same idea. `nonce`: of new_nonce(), for
    what goes into a book; what the book has then may have another one.
    """
    (preset, asked), recipe_sha = normal(preset, settings or {}), sha256_bytes(source)
    kind: Kind = "start" if parent is None else "ablation" if without else "change"
    mine = {**({"preset": preset} if preset else {}), **asked}
    diff = diff_of(parent_source, source, parent.settings, mine) if parent else ""
    return Idea(
        id=idea_id(recipe_sha, preset, asked),
        kind=kind,
        parent=parent.id if parent else None,
        without=without,
        note=note,
        recipe_sha=recipe_sha,
        meaning_sha=meaning_sha(source),
        preset=preset,
        set=asked,
        diff=diff if len(diff) <= LONGEST_DIFF else diff[:LONGEST_DIFF] + "\n[the rest is left out]\n",
        by=by,
        nonce=nonce,
        made_at=datetime.now(UTC),
    )


def new_nonce() -> str:
    return secrets.token_hex(8)


def diff_of(before: bytes, after: bytes, settings: Mapping[str, str], changed: Mapping[str, str]) -> str:
    """Unified, of two recipes and, where they differ, of the settings."""
    parts = [
        _unified(_lines(before), _lines(after), "recipe.py"),
        _unified(_said(settings), _said(changed), "settings"),
    ]
    return "".join(parts)


def _unified(before: list[str], after: list[str], name: str) -> str:
    return "".join(difflib.unified_diff(before, after, f"parent/{name}", f"idea/{name}"))


def _lines(source: bytes) -> list[str]:
    return [f"{line}\n" for line in source.decode(errors="replace").splitlines()]


def _said(settings: Mapping[str, str]) -> list[str]:
    return [f"{name}={value}\n" for name, value in sorted(settings.items())]


def meaning_sha(source: bytes) -> str:
    """Without comments, layout and docstrings, which no run can notice. ValueError when it does not parse."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f"the recipe does not parse: {error}") from None
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            node.body = [part for part in node.body if not _is_text(part)] or [ast.Pass()]
    return sha256_bytes(ast.unparse(tree).encode())


def _is_text(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
