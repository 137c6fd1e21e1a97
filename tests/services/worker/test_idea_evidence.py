"""What a worker writes down of an idea when a run of it was accepted: what its page in MLflow shows."""

import json

from services.worker.attempt import deliver, open_note
from shared.fleet.contracts import AttemptRecord
from shared.research.book import FleetBook, Proposal, Trial
from shared.runs.directory import RunDirectory
from tests.hubs import HubQueue
from tests.shared.research import makers

HUB = HubQueue
IDEA = makers.idea(nonce="0123456789abcdef")
TRIAL = Trial(idea=IDEA.id, target="cpu", asked={})


def end(hub, job_id: str, index: int, val_bpb: float | None, **changes) -> dict | None:
    """A run of the idea that is over is delivered; what delivery.json says of the idea by then."""
    store = hub.store
    store.begin(job_id, job_id, "")
    result = makers.result(IDEA, index, val_bpb, **{"run_id": f"{job_id}-a1"} | changes)
    record = AttemptRecord(
        job_id=job_id, number=1, execution=job_id, queue="cpu", device="cpu", worker="w", pid=1, started_at=0.0
    )
    directory = RunDirectory.of(record.run_id)
    directory.path.mkdir()
    directory.result_file.write_text(result.model_dump_json())
    open_note(record)
    deliver(record, result, store)
    return json.loads(directory.delivery_file.read_text())["counted"]


def counts(counted: dict) -> tuple[list[float], int]:
    return counted["values"], counted["num_failed"]


def test_it_is_what_the_book_and_the_accepted_outcomes_bear_out(hub, workplace):
    for entry in (Proposal(idea=makers.START), Proposal(idea=IDEA), TRIAL):
        FleetBook(hub.connection).append(entry)
    assert counts(end(hub, TRIAL.job_id(0), 0, 2.0)) == ([2.0], 0)
    assert counts(end(hub, "by-another-name", 1, 1.0)) == ([2.0], 0)
    assert counts(end(hub, TRIAL.job_id(1), 1, 1.0, seed=7)) == ([2.0], 0)
    assert counts(end(hub, TRIAL.job_id(0, again=1), 0, 2.5)) == ([2.5], 0)
    assert counts(end(hub, TRIAL.job_id(1, again=1), 1, None)) == ([2.5], 1)
    assert counts(end(hub, TRIAL.job_id(2), 2, 2.1)) == ([2.5, 2.1], 1)


def test_a_run_of_an_idea_that_the_book_does_not_have_is_delivered_without(hub, workplace):
    assert end(hub, TRIAL.job_id(0), 0, 2.0) is None


def test_a_run_of_no_idea_is_delivered_without(hub, workplace):
    assert end(hub, "some-job", 0, 2.0, idea=None) is None
