"""evaluating.json in a run directory, while the run is scored: how far the evaluation is, for people to look at."""

from contextlib import suppress
from pathlib import Path

from pydantic import Field, ValidationError

from shared.contracts import Contract

NAME = "evaluating.json"


class EvaluationProgress(Contract):
    num_passes: int = Field(ge=0)
    """forward passes done"""
    expected: int = Field(ge=1)
    """in all; a recipe that answers altered rows badly gets more"""

    @property
    def share(self) -> float:
        return min(1.0, self.num_passes / self.expected)


def read_evaluating(run: Path) -> EvaluationProgress | None:
    """Of a run directory; None when nothing is scored there, or nobody can tell."""
    with suppress(OSError, ValidationError):
        return EvaluationProgress.model_validate_json((run / NAME).read_bytes())
    return None
