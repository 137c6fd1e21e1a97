"""Nothing is lost, recorded twice or beside another on its device, whatever is killed; stock RQ fails the storm."""

import os

import pytest

from tests.chaos.storm import Storm
from tests.mlflow_server import MlflowServer, empty_store

__all__ = ["empty_store"]

SEED = int(os.environ.get("CHAOS_SEED", "1"))


def test_forty_jobs_survive_twenty_seconds_of_kills(workplace, tmp_path):
    tally = Storm(tmp_path, workplace, SEED).run(40, mean_pause_s=0.7, storm_s=20, longest_s=150, freeze_s=3)
    print(tally)
    assert tally.is_clean, tally.details


@pytest.mark.chaos
@pytest.mark.parametrize("seed", [SEED, SEED + 1])
def test_two_hundred_jobs_survive_a_storm_and_each_outcome_is_in_mlflow_once(workplace, tmp_path, empty_store, seed):
    mlflow = MlflowServer(tmp_path / "mlflow", empty_store)
    storm = Storm(tmp_path, workplace, seed, mlflow=mlflow)
    tally = storm.run(200, mean_pause_s=2.0, storm_s=300, longest_s=1200)
    print(f"\nfleet, seed {seed}: {tally}")
    assert tally.is_clean, tally.details


@pytest.mark.chaos
def test_stock_rq_does_not_survive_the_same_storm(workplace, tmp_path):
    tally = Storm(tmp_path, workplace, SEED, stock=True).run(200, mean_pause_s=2.0, storm_s=300, longest_s=400)
    print(f"\nstock RQ, seed {SEED}: {tally}")
    assert not tally.is_clean or tally.ended["failed"]
