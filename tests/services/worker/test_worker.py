"""A job's way through a real queue and a real worker, from a plain RQ client to the record."""

import subprocess
import sys

from shared.contracts import Status
from shared.fleet.contracts import Delivery
from shared.runs.directory import RunDirectory, read_record
from tests.fleet import wait_for
from tests.recipes import HONEST

SMALL = {"dataset": "words", "set": {"seq_len": 64, "device_batch_size": 4, "total_batch_size": 512}}


def test_a_job_from_the_rq_command_line_trains_and_is_scored(hub, start_worker, tmp_path):
    recipe = tmp_path / "mine.py"
    recipe.write_text(HONEST)
    start_worker(real=True)
    arguments = [f"recipe=@{recipe}", "preset=m5-tiny", "dataset=words", "tokens=10240", "rung=cheap", "seed=7"]
    arguments += ['set:={"seq_len": 64, "device_batch_size": 4, "total_batch_size": 512, "eval_batch_size": 4}']
    rq = [sys.executable, "-m", "rq.cli", "enqueue", "-u", hub.url, "-S", "json", "-q", "cpu", "--job-id", "first"]
    subprocess.run([*rq, "services.worker.jobs.train", *arguments], check=True, capture_output=True)

    outcome = hub.outcome("first", timeout_s=90)

    assert (outcome.status, outcome.reason) == (Status.OK, "")
    assert outcome.result.val_bpb > 0
    assert outcome.result.seed == 7
    directory = RunDirectory.of("first-a1")
    assert directory.recipe_file.read_text() == HONEST
    assert directory.result() == outcome.result
    wait_for(lambda: hub.status("first") == "finished")
    assert read_record(directory.path / "delivery.json", Delivery).verdict == "accepted"
    assert hub.queue().fetch_job("first").return_value()["result"]["val_bpb"] == outcome.result.val_bpb


def test_jobs_run_one_after_another_and_each_is_recorded_once(hub, start_worker, workplace):
    start_worker()
    names = [
        hub.enqueue(job_id=f"job-{seed}", seed=seed, recipe=HONEST, time_budget="0.1", **SMALL) for seed in (1, 2, 3)
    ]

    assert [hub.outcome(name).result.val_bpb for name in names] == [2.000001, 2.000002, 2.000003]
    assert len(list(workplace.glob("*/result.json"))) == 3
