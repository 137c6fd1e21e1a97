"""What a sweep file asks for: a base, and either a list of points or a space to search. docs/sweeps.md has examples."""

import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from shared.contracts import Contract, Name, one_line
from shared.experiment.request import validated
from shared.time_budget import TimeBudget

Scalar = bool | int | float | str
Settings = Annotated[
    dict[str, str],
    BeforeValidator(
        lambda values: {name: as_text(value) for name, value in values.items()} if isinstance(values, dict) else values
    ),
]
"""as `--set` takes them; TOML may write numbers"""


def as_text(value: Any) -> Any:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)


class Range(Contract):
    low: int | float
    high: int | float
    step: int | float | None = Field(default=None, gt=0)
    log: bool = False
    """spaced by factors instead of by differences"""

    @model_validator(mode="after")
    def _holds_values(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low} must be below high {self.high}")
        if self.log and (self.low <= 0 or self.step is not None):
            raise ValueError("a range with log = true starts above 0 and has no step")
        return self

    @property
    def is_whole(self) -> bool:
        return all(isinstance(value, int) for value in (self.low, self.high, self.step or 1))


Dimension = Range | tuple[Scalar, ...]


class Space(Contract):
    set: dict[str, Dimension] = Field(default_factory=dict)
    constants: dict[str, Dimension] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _has_dimensions(self) -> Self:
        named = {**self.set, **self.constants}
        if not named:
            raise ValueError("the space is empty: name keys below [space.set] or [space.constants]")
        if empty := [name for name, dimension in named.items() if dimension == ()]:
            raise ValueError(f"{empty[0]} has no values")
        return self


class Point(Contract):
    """One setting to try, as a change of the base."""

    name: Name = ""
    set: Settings = Field(default_factory=dict)
    constants: dict[str, Scalar] = Field(default_factory=dict)

    def __str__(self) -> str:
        changes = [f"{name}={value}" for name, value in {**self.set, **self.constants}.items()]
        return one_line(self.name or ", ".join(changes) or "the base, unchanged", 200)


class Plan(Contract):
    recipe: str | None = None
    """file, relative to the sweep file; None takes the shipped recipe"""
    preset: str | None = None
    target: str | None = None
    """the queue of a fleet; None runs on this machine alone"""
    engine: Literal["torch", "mlx"] | None = None
    device: str | None = None
    dataset: str | None = None
    time_budget: TimeBudget = 300.0
    rung: Literal["cheap", "reference", "full"] = "reference"
    """named, since `auto` may choose differently as a machine learns what scoring costs"""
    seeds: int = Field(default=1, ge=1, le=16)
    """runs of each point, on the first seeds that are drawn for it; their mean decides"""
    set: Settings = Field(default_factory=dict)
    """the same for all points"""
    points: tuple[Point, ...] = ()
    space: Space | None = None

    @model_validator(mode="after")
    def _either_list_or_space(self) -> Self:
        if bool(self.points) == (self.space is not None):
            raise ValueError("a sweep has either [[points]] or [space.set] and [space.constants]")
        if self.target and (self.device or self.engine):
            raise ValueError("device and engine are the worker's choice: leave them out, or leave out target")
        return self


def read_plan(path: Path) -> Plan:
    """ValueError, in one line, names the file and the first thing wrong with it."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        return validated(Plan, content)
    except FileNotFoundError:
        raise ValueError(f"{path} is missing: name a sweep file (docs/sweeps.md has examples)") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no TOML: {error}") from None
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None
