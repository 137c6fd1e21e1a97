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


def test_a_worker_prints_the_start_and_the_end_of_each_job_and_no_routine(hub, start_worker):
    worker = start_worker()
    name = hub.enqueue(job_id="one", recipe=HONEST, seed=1, time_budget="0.1", **SMALL)
    broken = hub.enqueue(job_id="two", recipe=HONEST, time_budget="none")
    hub.outcome(name)
    hub.outcome(broken)

    wait_for(lambda: "job two: invalid: " in worker.output())
    assert "cpu: one" in worker.output()
    assert "job one: ok: val_bpb 2.000001 (cheap" in worker.output()
    for routine in ("cleaning", "Job OK", "Successfully", "is kept for"):
        assert routine not in worker.output()
