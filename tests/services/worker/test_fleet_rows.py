"""What a calibration job is told of the fleet's runs: accepted outcomes of the queue, which agents cannot write."""

from redis import Redis

from services.worker.calibrations import bring_fleet_rows
from shared.calibration.folder import fleet_rows_file
from shared.contracts import Integrity, Rung
from shared.evaluation.rungs import eval_signature
from shared.experiment.presets import find_preset
from shared.fleet import keys
from shared.fleet.contracts import Outcome
from shared.fleet.store import FleetStore
from shared.quality import read_rows
from shared.runs.shipped import shipped_recipes
from tests.hubs import HubQueue
from tests.shared.tracking.finished_runs import make_result

HUB = HubQueue


def accept(store: FleetStore, job_id: str, **changes) -> None:
    shape = find_preset("m5-small").shape
    own = {"recipe_sha": min(shipped_recipes()), "eval_signature": eval_signature(), "rung": Rung.CHEAP, "shape": shape}
    own["integrity"] = Integrity.FULL
    result = make_result(f"{job_id}-a1").model_copy(update=own | changes)
    store.begin(job_id, "x", "")
    store.accept("x", Outcome(job_id=job_id, status=result.status, result=result))


def test_accepted_runs_of_shipped_recipes_are_rows_oldest_first(hub, workplace):
    accept(hub.store, "first")
    accept(hub.store, "edited", recipe_sha="e" * 64)
    accept(hub.store, "older", eval_signature="old")
    hub.store.accept("y", Outcome(job_id="no-experiment", status="invalid"))
    accept(hub.store, "second")
    bring_fleet_rows(hub.store)
    first, second = read_rows(fleet_rows_file()).rows
    assert (first.source, first.val_bpb, first.rung) == ("first-a1", 1.441619, Rung.CHEAP)
    assert first.num_tokens == 120 * first.shape.total_batch_size
    assert second.source == "second-a1"
    fleet_rows_file().unlink()


def test_an_outcome_that_cannot_be_read_costs_no_other_row(hub, workplace):
    accept(hub.store, "first")
    hub.connection.hset(keys.job("newer"), "outcome", "{}")
    hub.connection.zadd(keys.INDEX, {"newer": 1.0})
    bring_fleet_rows(hub.store)
    assert [row.source for row in read_rows(fleet_rows_file()).rows] == ["first-a1"]
    fleet_rows_file().unlink()


def test_an_empty_queue_has_no_rows(hub, workplace):
    bring_fleet_rows(hub.store)
    assert read_rows(fleet_rows_file()).rows == ()
    fleet_rows_file().unlink()


def test_many_outcomes_are_read_in_batches(hub):
    for number in range(230):
        accept(hub.store, f"job-{number}")
    agent = FleetStore(Redis.from_url(hub.agent_url))
    assert len(list(agent.recent_results(1000))) == 230
    assert [result.run_id for result in agent.recent_results(2)] == ["job-229-a1", "job-228-a1"]
