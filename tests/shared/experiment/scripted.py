"""Stages that are played by a script, for tests of what an experiment makes of their ends."""

from pathlib import Path

from shared.contracts import Status, TrainingRecord
from shared.runs.directory import RunDirectory, write_record
from tests.recipes import HONEST
from tests.run_making import make_job
from tests.shared.tracking.finished_runs import make_evaluation, make_result

SOURCE = HONEST.encode()
TRAINED = TrainingRecord(status=Status.OK, startup_seconds=5, training_seconds=300, finish_seconds=1, num_steps=20)
SCORED = make_evaluation(make_result())


class Scripted:
    """An executor whose stages do what they are told: write a record, or end with a code and a line."""

    def __init__(self, training=TRAINED, evaluation=SCORED, pack=(0, "")):
        self.training, self.evaluation, self.pack = training, evaluation, pack
        self.calls: list[tuple[str, ...]] = []

    def execute(self, stage, arguments, watch):
        self.calls.append((stage, *arguments[1:]))
        watch(stage)
        outcome = {"prepare": self.pack, "trainer": self.training, "evaluator": self.evaluation}[stage]
        if isinstance(outcome, tuple):
            return outcome
        directory = RunDirectory(Path(arguments[0]))
        if stage == "trainer":
            directory.checkpoint_dir.mkdir(exist_ok=True)
            (directory.checkpoint_dir / "latest.json").write_text("{}")
        write_record(directory.training_file if stage == "trainer" else directory.evaluation_file, outcome)
        return 0 if outcome.status is Status.OK else 1, ""


def ended(status: Status, model=TrainingRecord):
    return model(status=status, reason=f"because it is {status}")


def run_of(**changes) -> RunDirectory:
    return RunDirectory.of(make_job(**changes).run_id)
