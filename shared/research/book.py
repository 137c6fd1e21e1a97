"""The book of ideas: an append-only list of what was proposed, sent to machines and decided, and the recipes to it.

A fleet's is in Redis, where agents may append and not change (services/hub/credentials.py); that of a machine on its
own is a file in ARE_RUNS/research. Of two entries of one thing the first counts.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from filelock import FileLock
from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from shared.bounds import IdeaId, Name, OneLine, Sha256
from shared.contracts import LARGEST_RECIPE_BYTES, Contract
from shared.files import append_line, sha256_bytes, write_atomic
from shared.fleet import keys
from shared.research.comparable import Key
from shared.research.idea import Idea
from shared.research.rule import Verdict
from shared.runs.recipe_file import read_source
from shared.settings import settings

LOCK_TIMEOUT_S = 10.0
OWN_TERMS = ("checkpoint_every", "checkpoint_mode", "curve_points")
"""of a TrainRequest: they slow a run, and a recipe may get round them, so no run of an idea asks for them"""


class Trial(Contract):
    """An idea that was sent to a machine, with everything that was asked for beside seed and idea."""

    what: Literal["trial"] = "trial"
    idea: IdeaId
    target: Name
    asked: dict[str, Any]
    """what a TrainRequest says beside the idea's own settings, seed and name, without defaults"""

    @property
    def terms(self) -> str:
        """Six digits that name what was asked for."""
        return sha256_bytes(json.dumps([self.target, self.asked], sort_keys=True).encode())[:6]

    @property
    def standard(self) -> "Trial":
        """Without what no run of an idea asks for."""
        asked = {name: value for name, value in self.asked.items() if name not in OWN_TERMS}
        return self.model_copy(update={"asked": asked})

    def job_id(self, index: int, again: int = 0) -> str:
        """Of the idea's run number `index`. One job has one outcome: `again` counts those that measured nothing."""
        return again_name(f"{self.idea}-{self.terms}-{index}", again)


def again_name(first: str, again: int) -> str:
    """Of a job that makes the same run as the job `first` does."""
    return f"{first}-r{again}" if again else first


class Ruling(Contract):
    """A verdict, with the runs it rests on: whoever doubts it can apply the rule again."""

    what: Literal["ruling"] = "ruling"
    idea: IdeaId
    key: Key
    verdict: Verdict
    against: IdeaId | None = None
    """whose runs the pool is; None: its parent's"""
    reason: OneLine
    effect: float | None = None
    z: float | None = None
    sigma: float | None = None
    """of the noise it was judged by"""
    sigma_seeds: int | None = None
    noise_source: OneLine = ""
    runs: tuple[str, ...] = ()
    pool: tuple[str, ...] = ()
    published: float | None = None
    pruned: bool = False
    """a discard of what was kept before: the recipe without it is as good, or it does not stand by today's noise"""
    by: Name = ""
    made_at: AwareDatetime


class Undecided(Contract):
    """Somebody asked for a verdict, and the runs were not enough for one. For readers: nothing is decided by it."""

    what: Literal["undecided"] = "undecided"
    idea: IdeaId
    key: Key
    reason: OneLine
    by: Name = ""
    made_at: AwareDatetime


class Proposal(Contract):
    what: Literal["idea"] = "idea"
    idea: Idea


Entry = Annotated[Proposal | Trial | Ruling | Undecided, Field(discriminator="what")]
_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry)


class Book(Protocol):
    def append(self, entry: Entry) -> None:
        """Durable when it returns."""

    def entries(self) -> Iterator[Entry]:
        """In the order in which they were appended, without what cannot be read."""

    def put_recipe(self, source: bytes) -> None:
        """Under its hash; repeating it changes nothing."""

    def recipe(self, recipe_sha: str) -> bytes:
        """ValueError when it is not there or is not what its name says."""


class LocalBook:
    def __init__(self, folder: Path | None = None):
        self.folder = folder or settings().runs / "research"

    @property
    def file(self) -> Path:
        return self.folder / "book.jsonl"

    def append(self, entry: Entry) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with FileLock(self.folder / ".lock", timeout=LOCK_TIMEOUT_S):
            append_line(self.file, entry.model_dump_json())

    def entries(self) -> Iterator[Entry]:
        if self.file.exists():
            yield from _readable(self.file.read_bytes().splitlines())

    def put_recipe(self, source: bytes) -> None:
        path = self._path(sha256_bytes(source))
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, source)

    def recipe(self, recipe_sha: str) -> bytes:
        path = self._path(recipe_sha)
        return _checked(read_source(path) if path.is_file() else None, recipe_sha)

    def _path(self, recipe_sha: str) -> Path:
        return self.folder / "recipes" / f"{recipe_sha}.py"


class FleetBook:
    """`connection` is a redis.Redis of whoever calls."""

    def __init__(self, connection: Any):
        self.connection = connection

    def append(self, entry: Entry) -> None:
        self.connection.rpush(keys.IDEAS, entry.model_dump_json())

    def entries(self) -> Iterator[Entry]:
        yield from _readable(self.connection.lrange(keys.IDEAS, 0, -1))

    def entries_about(self, idea: str) -> Iterator[Entry]:
        """Those that name the idea; the others are not read."""
        yield from _readable([line for line in self.connection.lrange(keys.IDEAS, 0, -1) if idea.encode() in line])

    def put_recipe(self, source: bytes) -> None:
        self.connection.setnx(keys.recipe(sha256_bytes(source)), source)

    def recipe(self, recipe_sha: str) -> bytes:
        return _checked(self.connection.get(keys.recipe(recipe_sha)), recipe_sha)


def _readable(lines: list[bytes]) -> Iterator[Entry]:
    """A newer version's entries, and what a stranger appended, are passed over."""
    for line in lines:
        try:
            yield _ENTRY.validate_json(line)
        except ValidationError:
            continue


def _checked(source: bytes | None, recipe_sha: Sha256) -> bytes:
    if source is None or len(source) > LARGEST_RECIPE_BYTES or sha256_bytes(source) != recipe_sha:
        raise ValueError(f"the book has no recipe {recipe_sha[:12]}: it was never stored, or it was changed")
    return source
