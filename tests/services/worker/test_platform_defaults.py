"""The default that others judge by: the worker of its machine writes it down in the queue, and agents read it."""

from datetime import UTC, datetime, timedelta

import pytest
from redis import Redis
from redis.exceptions import NoPermissionError

from services.console.research import Fleet
from services.worker import calibrations
from shared.contracts import Rung, Status
from shared.experiment.platform_default import NoiseFloor, default_file, write_default
from shared.fleet import keys
from shared.fleet.platform_defaults import publish, published
from shared.research.comparable import Key
from shared.settings import settings
from tests.fleet import wait_for
from tests.hubs import HubQueue
from tests.platform_defaults import calibrated, unmeasured

HUB = HubQueue
OWN = calibrated(calibration="own")
WHERE = (OWN.hardware_key, OWN.engine)
KEY = Key(
    hardware_key=OWN.hardware_key, engine="torch", dataset="d", budget_seconds=300, rung="cheap", eval_signature=""
)


def floor(**changes) -> NoiseFloor:
    values = dict(sigma=0.01, low=0.005, high=0.02, num_seeds=8, budget_seconds=300, rung=Rung.CHEAP, weak=False)
    return NoiseFloor(**values | changes)


@pytest.fixture
def own_default(workplace):
    path = write_default(OWN)
    yield OWN
    path.unlink()


def test_a_worker_that_starts_writes_down_what_was_measured_on_its_machine(hub, own_default, start_worker):
    start_worker(real=True)
    assert wait_for(lambda: published(hub.connection, *WHERE)) == OWN


def test_another_machine_judges_by_what_the_worker_wrote_down(hub, workplace, monkeypatch):
    publish(hub.connection, OWN)
    monkeypatch.setenv("ARE_REDIS_URL", hub.agent_url)
    settings.cache_clear()
    assert not default_file(*WHERE).exists()
    assert Fleet().default(KEY) == OWN
    settings.cache_clear()


def test_a_calibration_job_writes_down_what_it_found(hub, monkeypatch, tmp_path):
    class Attempt:
        store = hub.store

    monkeypatch.setattr(calibrations, "bring_fleet_rows", lambda *_: None)
    monkeypatch.setattr(calibrations, "run_stage", lambda *_: (Status.OK, ""))
    monkeypatch.setattr(calibrations, "read_default_of", lambda place: OWN)
    monkeypatch.setattr("shared.tracking.keep_calibration_for_later", lambda place: None)

    class Job:
        place = tmp_path

    assert calibrations.run_calibration(Attempt, Job)[0] is Status.OK
    assert published(hub.connection, *WHERE) == OWN


def test_an_agent_reads_a_default_and_cannot_write_one(hub):
    publish(hub.connection, OWN)
    agent = Redis.from_url(hub.agent_url)
    assert published(agent, *WHERE) == OWN
    with pytest.raises(NoPermissionError):
        publish(agent, OWN)
    with pytest.raises(NoPermissionError):
        agent.setnx(keys.platform_default("new", "torch"), "{}")


def test_an_older_default_of_another_machine_of_the_kind_does_not_replace_a_newer_one(hub):
    publish(hub.connection, OWN)
    publish(hub.connection, calibrated(calibration="older", made_at=OWN.made_at - timedelta(days=1)))
    assert published(hub.connection, *WHERE) == OWN
    newer = calibrated(made_at=OWN.made_at + timedelta(minutes=1))
    publish(hub.connection, newer)
    assert published(hub.connection, *WHERE) == newer


UNTRUE = {
    "more seeds than a calibration runs": {"noise": floor(num_seeds=10**9, sigma=1e-6)},
    "made in the year 2096": {"made_at": datetime(2096, 1, 1, tzinfo=UTC)},
    "of another machine": {"hardware_key": "another"},
    "of another engine": {"engine": "mlx"},
}


@pytest.mark.parametrize("changes", UNTRUE.values(), ids=UNTRUE)
def test_what_no_calibration_of_the_machine_can_have_found_counts_for_nothing_and_is_replaced(hub, changes):
    hub.connection.set(keys.platform_default(*WHERE), calibrated(**changes).model_dump_json())
    assert published(hub.connection, *WHERE) is None
    publish(hub.connection, OWN)
    assert published(hub.connection, *WHERE) == OWN


@pytest.mark.parametrize("content", [b"", b"[]", b"{" * 300_000])
def test_what_is_no_default_counts_for_nothing(hub, content):
    hub.connection.set(keys.platform_default(*WHERE), content)
    assert published(hub.connection, *WHERE) is None


def test_one_in_which_nothing_was_measured_hides_no_better_one(hub):
    publish(hub.connection, OWN)
    publish(hub.connection, unmeasured(made_at=OWN.made_at + timedelta(minutes=1)))
    assert published(hub.connection, *WHERE) == OWN
