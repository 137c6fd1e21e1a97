"""The folder of a sweep, results/overnight/<tag>: what was asked, what was begun, how it ended. Any file may be copied.

sweep.json      the plan and when it began          study.journal   Optuna's, of a search
recipe.py       the recipe that points change       recipes/        the recipe of each point, by its hash
log.jsonl       points as they begin and end        report.md, progress.png, best/
.lock           held by the process that works on it
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from shared.contracts import Contract, IdeaRef, OneLine, RunId, RunResult, Sha256
from shared.files import append_line, write_atomic
from shared.research.book import again_name
from shared.runs.directory import read_record, write_record
from shared.sweep.plan import Plan, Point

Verdict = Literal["keep", "discard", "crash", "unranked"]


class Header(Contract):
    """What a sweep is; never changed once it has begun."""

    tag: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9-]{0,39}$")
    plan: Plan
    recipe_sha: Sha256
    began_at: float
    """seconds since the epoch"""
    dataset: str | None = None
    """of all its runs; None where the machines of a target choose. The default of a machine may change meanwhile"""

    @property
    def asked(self) -> Plan:
        """The plan with what was fixed when it began."""
        return self.plan.model_copy(update={"dataset": self.plan.dataset or self.dataset})


class Run(Contract):
    """One experiment of a point."""

    run_id: RunId
    """also the job's name in a queue"""
    seed: int
    again: int = 0
    """how many were made before it on this seed, while others used the machine"""

    def next(self) -> "Run":
        """The same once more, under the name that `decide` would give it."""
        first = self.run_id.removesuffix(again_name("", self.again))
        return Run(run_id=again_name(first, self.again + 1), seed=self.seed, again=self.again + 1)


class Begun(Contract):
    event: Literal["begun"] = "begun"
    number: int
    """0 is the base, unchanged"""
    point: Point
    recipe_sha: Sha256
    runs: tuple[Run, ...]
    idea: IdeaRef
    """as which it is in the book"""
    trial: int | None = None
    """of the Optuna study"""


class Ended(Contract):
    event: Literal["ended"] = "ended"
    number: int
    verdict: Verdict
    val_bpb: float | None = None
    """mean of its runs; None unless all of them have a number, and compare with the base's"""
    reason: OneLine = ""
    results: tuple[RunResult, ...] = ()
    total_seconds: float = 0.0
    """of all its runs together"""


@dataclass(frozen=True)
class SweepFolder:
    path: Path

    @property
    def header_file(self) -> Path:
        return self.path / "sweep.json"

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.py"

    @property
    def log_file(self) -> Path:
        return self.path / "log.jsonl"

    @property
    def journal_file(self) -> Path:
        return self.path / "study.journal"

    def header(self) -> Header | None:
        return read_record(self.header_file, Header) if self.header_file.exists() else None

    def create(self, header: Header, recipe: bytes) -> None:
        """The header comes last, so a folder without one holds nothing."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_atomic(self.recipe_file, recipe)
        write_record(self.header_file, header)

    def put_recipe(self, sha: str, source: bytes) -> None:
        file = self.path / "recipes" / f"{sha[:16]}.py"
        if not file.exists():
            file.parent.mkdir(exist_ok=True)
            write_atomic(file, source)

    def recipe(self, sha: str) -> bytes:
        return (self.path / "recipes" / f"{sha[:16]}.py").read_bytes()

    def append(self, record: Begun | Ended) -> None:
        """Durable before it returns."""
        append_line(self.log_file, record.model_dump_json())

    def records(self) -> tuple[dict[int, Begun], dict[int, Ended]]:
        """By number, in the order of the log. A line that a kill cut short is passed over."""
        begun: dict[int, Begun] = {}
        ended: dict[int, Ended] = {}
        if not self.log_file.exists():
            return begun, ended
        for line in self.log_file.read_bytes().splitlines():
            with suppress(ValidationError):
                record = Begun.model_validate_json(line)
                begun[record.number] = record
            with suppress(ValidationError):
                end = Ended.model_validate_json(line)
                ended[end.number] = end
        return begun, ended

    @contextmanager
    def locked(self) -> Iterator[None]:
        """ValueError when another process works on the sweep."""
        self.path.mkdir(parents=True, exist_ok=True)
        try:
            with FileLock(self.path / ".lock", timeout=0):
                yield
        except Timeout:
            raise ValueError(f"{self.path} is in use: another `autoresearch sweep` works on it") from None
