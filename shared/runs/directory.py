"""A run directory is the interface: every file of it is named here, and whoever writes one says so.

job.json         console or worker   what to run (Job)
recipe.py        console or worker   the recipe's source
kernels/         kernel lab          OP/KERNEL.py: a candidate that this run tries
metrics.jsonl    trainer supervisor  one StepRecord a line
output.log       recipe process      whatever the recipe printed; never parsed
checkpoint/      trainer supervisor  services/trainer/state_store.py
training.json    trainer supervisor  TrainingRecord
evaluation.json  evaluator           EvaluationRecord
evaluating.json  evaluator           how far it is, only while it runs (shared/runs/evaluating.py)
result.json      experiment          RunResult
system.jsonl     experiment          vital signs of the machine, one Vitals a line (shared/machine/vitals.py)
delivery.json    worker              what became of the result of an attempt (Delivery in shared/fleet/contracts.py)
scratch*/        trainer, evaluator  homes of the untrusted processes, removed when they end
staged.json      spool executor      where a copy is at work (shared/stages/spool.py)
.lock            whoever works on it an OS lock, free again when that process dies
.stage.lock      trainer, evaluator  the same, for the time of one stage
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TypeVar

from filelock import FileLock, Timeout
from pydantic import ValidationError

from shared.contracts import Contract, EvaluationRecord, Job, RunResult, StepRecord, TrainingRecord
from shared.files import sha256_bytes, write_atomic
from shared.invalid import first_wrong
from shared.runs.recipe_file import check_knowledge, read_source
from shared.settings import settings

Record = TypeVar("Record", bound=Contract)

LONGEST_STEP_BYTES = 65_536
STAGE_LOCK_TIMEOUT_S = 15.0
LOCK_TIMEOUT_S = 1.0  # whoever only asks whether a run is in use holds its lock for a moment


@dataclass(frozen=True)
class RunDirectory:
    path: Path

    @classmethod
    def of(cls, run_id: str) -> "RunDirectory":
        return cls(settings().runs / run_id)

    @property
    def job_file(self) -> Path:
        return self.path / "job.json"

    @property
    def recipe_file(self) -> Path:
        return self.path / "recipe.py"

    @property
    def kernels_dir(self) -> Path:
        return self.path / "kernels"

    def own_kernels(self) -> tuple[Path, ...]:
        """Files that this run alone may read, beside those of the checkout."""
        return tuple(sorted(self.kernels_dir.glob("*/*.py")))

    @property
    def metrics_file(self) -> Path:
        return self.path / "metrics.jsonl"

    @property
    def output_file(self) -> Path:
        return self.path / "output.log"

    @property
    def checkpoint_dir(self) -> Path:
        return self.path / "checkpoint"

    @property
    def training_file(self) -> Path:
        return self.path / "training.json"

    @property
    def evaluation_file(self) -> Path:
        return self.path / "evaluation.json"

    @property
    def result_file(self) -> Path:
        return self.path / "result.json"

    @property
    def system_file(self) -> Path:
        return self.path / "system.jsonl"

    @property
    def delivery_file(self) -> Path:
        return self.path / "delivery.json"

    @property
    def attempt_note(self) -> Path:
        """Beside all runs, while a worker's attempt is not settled: nobody else decides what becomes of the run."""
        return self.path.parent / "attempts" / f"{self.path.name}.json"

    def create(self, job: Job, recipe_source: bytes, kernels: Mapping[str, bytes] = MappingProxyType({})) -> None:
        """Lays the directory out; job.json comes last, so a directory without one holds nothing.

        kernels: texts that are tried, by OP/KERNEL.

        ValueError when the recipe is larger than a recipe may be, or holds more data.
        """
        check_knowledge(recipe_source, "the recipe")
        self.path.mkdir(parents=True, exist_ok=False)
        try:
            write_atomic(self.recipe_file, recipe_source)
            for name, text in kernels.items():
                file = self.kernels_dir / f"{name}.py"
                file.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(file, text)
            write_record(self.job_file, job)
        except BaseException:
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def job(self) -> Job:
        return read_record(self.job_file, Job)

    def verified_recipe(self) -> Path:
        """The recipe's path. ValueError when it is not the file the job names, or larger than a recipe may be."""
        job = self.job()
        if not self.recipe_file.is_file() or sha256_bytes(read_source(self.recipe_file)) != job.recipe_sha:
            raise ValueError(f"{self.recipe_file} is not the recipe this job names ({job.recipe_sha[:12]})")
        return self.recipe_file

    def has_checkpoint(self) -> bool:
        return (self.checkpoint_dir / "latest.json").exists()

    def discard_checkpoint(self) -> None:
        (self.checkpoint_dir / "latest.json").unlink(missing_ok=True)  # first: without it the rest counts for nothing
        shutil.rmtree(self.checkpoint_dir, ignore_errors=True)

    def training(self) -> TrainingRecord | None:
        return read_record(self.training_file, TrainingRecord) if self.training_file.exists() else None

    def evaluation(self) -> EvaluationRecord | None:
        return read_record(self.evaluation_file, EvaluationRecord) if self.evaluation_file.exists() else None

    def result(self) -> RunResult | None:
        return read_record(self.result_file, RunResult) if self.result_file.exists() else None

    def steps(self) -> Iterator[StepRecord]:
        """The telemetry so far, without lines that a kill or a power cut damaged, or that are no step's by length."""
        if not self.metrics_file.exists():
            return
        with open(self.metrics_file, "rb") as file:
            for line in iter(partial(file.readline, LONGEST_STEP_BYTES), b""):
                with suppress(ValidationError):
                    yield StepRecord.model_validate_json(line)

    def locked(self) -> AbstractContextManager[None]:
        """Held by whoever works on the run; the OS frees it when that process dies. ValueError when it is held."""
        return self._lock(".lock", LOCK_TIMEOUT_S)

    def stage_locked(self) -> AbstractContextManager[None]:
        """Held by a stage of it. The next one waits while one whose starter was killed ends its children."""
        return self._lock(".stage.lock", STAGE_LOCK_TIMEOUT_S)

    @contextmanager
    def _lock(self, name: str, timeout_s: float) -> Iterator[None]:
        try:
            with FileLock(self.path / name, timeout=timeout_s):
                yield
        except Timeout:
            raise ValueError(f"{self.path} is in use by another process") from None

    def in_use(self) -> bool:
        try:
            with self.locked():
                return False
        except ValueError:
            return True


def write_record(path: Path, record: Contract) -> None:
    write_atomic(path, record.model_dump_json(indent=2) + "\n")


def read_record(path: Path, model: type[Record]) -> Record:
    """ValueError names the file and the first thing wrong with it."""
    try:
        return model.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        raise ValueError(f"{path} is missing") from None
    except ValidationError as error:
        raise ValueError(f"{path} is not a valid {model.__name__}: {first_wrong(error)}") from None


def read_json(path: Path) -> dict:
    """ValueError names the file when it is not JSON."""
    try:
        return json.loads(path.read_bytes())
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not valid JSON: {error}") from None
