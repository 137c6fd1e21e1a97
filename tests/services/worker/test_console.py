"""The fleet's commands, as an agent and an operator type them, against a real queue with its access rules."""

import json
import os
import plistlib
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import pytest

from services.console import hub_connection, submit
from services.console.service_file import launchd_hints, launchd_plist, systemd_unit
from shared.files import sha256_bytes
from shared.settings import settings
from tests.fleet import WorkerProcess, delivered, wait_for
from tests.hubs import HubQueue
from tests.recipes import HONEST

AUTORESEARCH = [str(Path(sys.executable).with_name("autoresearch"))]
HUB = HubQueue
FAST = ["--target", "cpu", "--preset", "m5-tiny", "--dataset", "words", "--time-budget", "0.2"]


@pytest.fixture
def autoresearch(hub, workplace):
    env = {**os.environ, "ARE_ENV_FILE": str(hub.env_file), "ARE_TRACKING_URI": ""}

    def run(*arguments: str, code: int = 0) -> str:
        done = subprocess.run([*AUTORESEARCH, *arguments], env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def recipe(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(HONEST)
    return str(path)


def test_a_group_that_an_outage_cuts_short_says_which_jobs_were_enqueued(hub, monkeypatch, tmp_path):
    connect, calls = hub_connection.queue, count(1)

    def queue(name, connection):
        if next(calls) == 3:
            hub.kill()
        return connect(name, connection)

    monkeypatch.setattr(hub_connection, "queue", queue)
    monkeypatch.setenv("ARE_REDIS_URL", hub.agent_url)
    monkeypatch.setenv("ARE_ENV_FILE", str(tmp_path / "none"))
    settings.cache_clear()
    with pytest.raises(ValueError, match="before that 2 of 4 jobs were enqueued") as failure:
        submit.enqueue(submit.TRAIN, [{"target": "cpu", "seed": seed} for seed in (1, 2, 3, 4)], None)
    settings.cache_clear()
    hub.start()
    waiting = [entry.decode() for entry in hub.connection.lrange("rq:queue:cpu", 0, -1)]
    assert len(waiting) == 2
    assert all(job_id in str(failure.value) for job_id in waiting)


def test_submit_takes_several_seeds_and_waits_for_all(autoresearch, worker, recipe, workplace):
    said = autoresearch("submit", *FAST, "--recipe", recipe, "--seed", "1", "--seed", "2", "--wait", "--json")
    group = json.loads(said)
    done = group["outcomes"]
    assert [job["job_id"] for job in done] == group["jobs"]
    assert {(job["preset"], job["group"], job["function"]) for job in done} == {("m5-tiny", group["group"], "train")}
    assert [job["outcome"]["result"]["val_bpb"] for job in done] == [2.000001, 2.000002]
    assert {record["attempt"]["group"] for record in delivered(workplace)} == {group["group"]}
    assert "val_bpb 2.000001" in autoresearch("status", group["group"])
    assert "val_bpb 2.000002" in autoresearch("status")


def test_what_no_worker_would_take_is_refused_before_it_is_queued(autoresearch, hub, tmp_path):
    assert "--target" in autoresearch("submit", code=2)
    assert "unknown target 'cray'" in autoresearch("submit", "--target", "cray", code=2)
    assert "m5-huge" in autoresearch("submit", "--target", "cpu", "--preset", "m5-huge", code=2)
    large = tmp_path / "large.py"
    large.write_text(HONEST + "#" * 300_000)
    assert "256" in autoresearch("submit", "--target", "cpu", "--recipe", str(large), code=2)
    assert hub.connection.llen("rq:queue:cpu") == 0


def test_cancel_ends_what_waits_and_what_runs(autoresearch, hub, start_worker):
    def submitted() -> str:
        said = autoresearch("submit", *FAST[:-1], "60", "--json")
        return json.loads(said)["jobs"][0]

    waiting = submitted()
    assert "cancelled before it began" in autoresearch("cancel", waiting)
    start_worker()
    running = submitted()
    wait_for(lambda: hub.store.progress(running))
    assert json.loads(autoresearch("status", running, "--json"))["jobs"][0]["state"] == "running"
    assert "cancelled on request" in autoresearch("cancel", running)


def test_status_shows_what_runs_then_what_ended_then_what_waits_however_much_waits(autoresearch, hub, start_worker):
    bad = hub.enqueue(job_id="bad", preset="m5-huge")
    odd = hub.enqueue(function="services.worker.jobs.sudo", job_id="odd")
    start_worker()
    assert "m5-huge" in hub.outcome(bad).reason
    assert "may not be run here" in hub.outcome(odd).reason
    running = hub.enqueue(job_id="running", recipe=HONEST, preset="m5-tiny", dataset="words", time_budget=60)
    wait_for(lambda: hub.store.progress(running))
    waiting = [hub.enqueue(job_id=f"waiting-{number}", preset="m5-tiny", seed=number) for number in range(25)]
    shown = json.loads(autoresearch("status", "--json"))
    ids = [job["job_id"] for job in shown["jobs"]]
    assert ids == ["running", "odd", "bad", *waiting[:20]]
    assert (shown["more_waiting"], shown["more_ended"]) == (5, 0)
    assert shown["jobs"][3]["position"] == 1
    assert shown["jobs"][3]["summary"] == "number 1 in line, the workers of cpu are busy"
    assert shown["jobs"][0]["recipe"] == sha256_bytes(HONEST.encode())[:8]
    said = autoresearch("status")
    assert "5 more wait: --limit shows them" in said
    assert "waiting-19 " in said


def test_jobs_that_are_to_be_first_go_before_all_that_wait_in_their_own_order(autoresearch, hub):
    waiting = hub.enqueue(job_id="waiting")
    said = json.loads(autoresearch("submit", *FAST, "--seed", "1", "--seed", "2", "--first", "--json"))
    assert [entry.decode() for entry in hub.connection.lrange("rq:queue:cpu", 0, -1)] == [*said["jobs"], waiting]
    assert [job[-2:] for job in said["jobs"]] == ["s1", "s2"]


def test_a_job_without_a_worker_says_so(autoresearch, hub):
    job = hub.enqueue(job_id="lonely")
    assert "no worker of cpu runs: start one with `make worker`" in autoresearch("status", job)


def test_a_worker_without_a_hub_says_so_at_once_without_a_password_and_waits_for_it(hub, workplace):
    hub.kill()
    worker = WorkerProcess(hub, real=True)
    try:
        wait_for(lambda: f"no hub answers at {hub.place.redis_address} yet" in worker.output())
        assert "make hub" in worker.output()
        assert hub.credentials.worker not in worker.output()
        hub.start()
        wait_for(lambda: "Listening on" in worker.output())
    finally:
        worker.end()


def test_waiting_without_a_hub_says_so_at_once(autoresearch, hub):
    hub.kill()
    began = time.monotonic()
    assert "make hub" in autoresearch("wait", "anything", code=2)
    assert time.monotonic() - began < 30
    hub.start()


def test_requeue_runs_a_job_again_and_keeps_what_came_of_it(autoresearch, hub, worker):
    job = json.loads(autoresearch("submit", *FAST, "--wait", "--json"))["jobs"][0]
    wait_for(lambda: hub.status(job) == "finished")
    assert "queued" in autoresearch("requeue", job) or hub.store.outcome(job)
    assert hub.outcome(job).attempt == 2
    assert hub.store.refused(job)[0].attempt == 1
    assert "unknown" in autoresearch("requeue", "nothing", code=2)


def test_wait_gives_up_in_time_and_knows_nothing_of_strangers(autoresearch):
    job = json.loads(autoresearch("submit", *FAST, "--json"))["jobs"][0]
    autoresearch("wait", job, "--timeout", "0.2", code=124)
    assert "no such job" in autoresearch("status", "nothing", code=1)


def test_drain_lets_the_attempt_end(autoresearch, hub, worker):
    job = json.loads(autoresearch("submit", *FAST[:-1], "8", "--json"))["jobs"][0]
    wait_for(lambda: hub.store.progress(job))
    assert job in autoresearch("drain", "cpu")
    assert worker.process.wait(30) == 0
    assert hub.store.outcome(job).status == "ok"


def test_doctor_says_what_to_do(autoresearch, hub):
    said = {line["what"]: line for line in json.loads(autoresearch("doctor", "--json"))}
    assert "make worker" in said["queue"]["advice"]
    assert {line["level"] for line in said.values()} <= {"ok", "warning"}
    hub.kill()
    assert "make hub" in autoresearch("doctor", code=1)
    hub.start()


def test_a_hub_that_is_away_is_one_line(autoresearch, hub):
    hub.kill()
    assert "make hub" in autoresearch("status", code=2)
    assert "Traceback" not in autoresearch("submit", *FAST, code=2)
    hub.start()


def test_plain_rq_works_with_the_agents_password(hub, worker, recipe):
    env = {**os.environ, "RQ_REDIS_URL": hub.agent_url}
    rq = [sys.executable, "-m", "rq.cli"]
    enqueue = [*rq, "enqueue", "-S", "json", "-q", "cpu", "--job-id", "plain", "services.worker.jobs.train"]
    arguments = [f"recipe=@{recipe}", "preset=m5-tiny", "dataset=words", "time_budget=0.2"]
    subprocess.run([*enqueue, *arguments], env=env, check=True, capture_output=True, timeout=30)
    assert hub.outcome("plain").status == "ok"
    wait_for(lambda: hub.status("plain") == "finished")
    info = subprocess.run([*rq, "info"], env=env, capture_output=True, text=True, timeout=30)
    assert info.returncode == 0, info.stderr
    assert "1 finished" in info.stdout


def test_service_files_hold_no_secret_and_restart_only_after_a_crash(monkeypatch):
    monkeypatch.setenv("ARE_REDIS_URL", "redis://agent:secret@hub:6379/0")
    monkeypatch.setenv("ARE_HOME", "/Users/me/data")
    start = ["autoresearch", "worker", "--target=mac"]
    plist, unit = plistlib.loads(launchd_plist(start)), systemd_unit(start)
    assert plist["KeepAlive"] == {"SuccessfulExit": False}
    assert plist["ProgramArguments"] == [*start, "--service"]
    assert plist["ProcessType"] == "Interactive"
    assert plist["EnvironmentVariables"]["ARE_HOME"] == "/Users/me/data"
    assert "Restart=on-failure" in unit
    assert "RestartPreventExitStatus=2" in unit
    assert "redis://" not in str(plist) + unit


def test_what_launchd_is_told_holds_in_its_folder_and_names_no_password(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARE_RUNS", "my/runs")
    monkeypatch.setenv("ARE_TRACKING_URI", "http://me:secret@hub:5050")
    monkeypatch.setenv("HF_ENDPOINT", "https://hub.example")
    told = plistlib.loads(launchd_plist(["autoresearch", "worker"]))["EnvironmentVariables"]
    assert told["ARE_RUNS"] == str(tmp_path / "my" / "runs")
    assert told["HF_ENDPOINT"] == "https://hub.example"
    assert "ARE_TRACKING_URI" not in told


def test_a_unit_of_systemd_knows_the_folders_of_the_shell_that_wrote_it(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARE_RUNS", "my 100% runs")
    monkeypatch.setenv("ARE_TRACKING_URI", "http://me:secret@hub:5050")
    unit = systemd_unit(["autoresearch", "worker"])
    assert f'Environment="ARE_RUNS={tmp_path}/my 100%% runs"\n' in unit
    assert "secret" not in unit


def test_as_a_service_of_launchd_bad_input_is_a_clean_end():
    argv = [sys.executable, "-m", "services.worker", "--target", "abacus"]
    codes = [subprocess.run([*argv, *more], capture_output=True, timeout=60).returncode for more in ([], ["--service"])]
    assert codes == [2, 0]


def test_a_checkout_in_a_guarded_folder_of_a_mac_is_warned_about(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    plist = tmp_path / "Library" / "LaunchAgents" / "autoresearch-worker.plist"
    assert "WARNING" in launchd_hints(plist, tmp_path / "Documents" / "autoresearch")[-1]
    hints = launchd_hints(plist, tmp_path / "src" / "autoresearch")
    assert not any("WARNING" in hint for hint in hints)
    assert any("bootout" in hint for hint in hints)
