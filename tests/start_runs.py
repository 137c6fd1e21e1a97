"""Runs of the shipped recipe on this machine as records alone, which measure the noise; nothing is trained."""

from services.console.research import arguments
from shared.contracts import EvaluationRecord, Integrity, Rung, RungChoice, Status, TrainingRecord
from shared.experiment.request import TrainRequest, build_job, validated
from shared.experiment.run import gather
from shared.research.book import LocalBook, Proposal, Trial
from shared.research.idea import propose
from shared.runs.directory import RunDirectory, write_record
from shared.runs.shipped import default_recipe

TRAINED = TrainingRecord(status=Status.OK, training_seconds=0.05, integrity=Integrity.FULL)


def scored(val_bpb: float) -> EvaluationRecord:
    rung = RungChoice(rung=Rung.CHEAP, status="requested", confidence="none", freshness="none", reason="test")
    return EvaluationRecord(
        status=Status.OK, val_bpb=val_bpb, rung=rung, eval_signature="fast", integrity=Integrity.FULL
    )  # fmt: skip


def measured_start() -> str:
    source = default_recipe("torch").read_bytes()
    idea = propose(source, note="baseline", preset="m5-tiny")
    trial = Trial(idea=idea.id, target="cpu", asked={"dataset": "words", "time_budget": 0.05, "rung": "cheap"})
    LocalBook().put_recipe(source)
    for entry in (Proposal(idea=idea), trial):
        LocalBook().append(entry)
    make_start_runs(range(8), lambda seed: 2.0 + seed % 1000 / 1e6)
    return idea.id


def make_start_runs(indices, val_bpb) -> None:
    """Of the first start; `val_bpb` by seed."""
    idea = next(entry.idea for entry in LocalBook().entries() if isinstance(entry, Proposal))
    trial = next(entry for entry in LocalBook().entries() if isinstance(entry, Trial))
    source = LocalBook().recipe(idea.recipe_sha)
    for index in indices:
        job, _ = build_job(validated(TrainRequest, arguments(idea, trial, index)), source)
        directory = RunDirectory.of(job.run_id)
        directory.create(job, source)
        write_record(directory.result_file, gather(job, TRAINED, scored(val_bpb(job.seed)), 1.0))
