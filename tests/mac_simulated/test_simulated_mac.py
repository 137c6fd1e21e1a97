"""What a Mac owner does first, on a machine that answers the project as a Mac would (machine.py says how)."""

import json
import plistlib
import signal
import subprocess
from pathlib import Path

import psutil
import pytest

from shared.settings import CHECKOUT
from tests.fleet import RedisServer, free_port, wait_for
from tests.mac_simulated.machine import Mac, make_mac

pytestmark = pytest.mark.simulated
TINY = ["--preset", "m5-tiny", "--set", "depth=1", "--set", "d_model=128", "--set", "seq_len=64"]
TINY += ["--set", "device_batch_size=4", "--set", "total_batch_size=512", "--dataset", "words", "--smoke"]


@pytest.fixture(scope="module")
def mac(tmp_path_factory) -> Mac:
    return make_mac(tmp_path_factory.mktemp("mac") / "machine")


def test_the_machine_is_recognized(mac, workplace):
    said = mac.run("doctor")
    assert "Apple M5 (mac), driver macOS 15.5, key apple-m5-32gb-10gpu" in said.stdout, said.stderr


def test_an_experiment_runs_fenced_and_keeps_the_machine_awake(mac, workplace):
    said = mac.run("train", *TINY, "--time-budget", "1", "--engine", "torch", "--device", "cpu", timeout_s=300)
    assert said.returncode == 0, said.stdout + said.stderr
    result = json.loads(next(workplace.glob("*/result.json")).read_text())
    assert (result["status"], result["integrity"]) == ("ok", "partial")
    chosen = {choice["what"]: choice["chosen"] for choice in result["choices"]}
    assert chosen["sandbox"] == "seatbelt"
    assert any("(deny network*)" in call for call in " ".join(mac.calls("sandbox-exec")).split("-p "))
    assert mac.calls("caffeinate")


def test_a_recipe_that_reads_the_validation_rows_fails_as_on_linux(mac, workplace, prepared_home, tmp_path):
    shipped = (CHECKOUT / "services/trainer/recipes/gpt_torch.py").read_text()
    secret = next((prepared_home / "validation").rglob("*.bin"), None) or next(prepared_home.rglob("*2048*"))
    recipe = tmp_path / "reads.py"
    recipe.write_text(f"{shipped}\n\nopen({str(secret)!r}, 'rb')\n")
    options = ["--engine", "torch", "--device", "cpu", "--recipe", str(recipe), "--time-budget", "1"]
    said = mac.run("train", *TINY, *options, timeout_s=300)
    assert said.returncode == 2, said.stdout + said.stderr
    assert "recipe does not import: PermissionError: [Errno 1] Operation not permitted" in said.stdout + said.stderr


def test_the_launchd_file_is_written_with_what_to_do_next(mac, workplace):
    said = mac.run("worker", "--install")
    file = mac.prefix / "home" / "Library" / "LaunchAgents" / "autoresearch-worker.plist"
    plist = plistlib.loads(file.read_bytes())
    assert plist["ProgramArguments"][1:] == ["worker", "--service"]
    assert "launchctl bootstrap gui/$UID" in said.stdout
    assert "launchctl bootout" in said.stdout


def test_the_pages_of_the_runs_stay_off_the_port_of_airplay(mac, workplace):
    assert "5050" in mac.run("hub", "--help").stdout


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGKILL])
def test_nothing_of_a_hub_is_left_when_its_window_is_closed_or_it_is_killed(mac, workplace, tmp_path, number):
    ports = ["--redis-port", str(free_port()), "--mlflow-port", str(free_port())]
    env = {**mac.environment, "ARE_ENV_FILE": str(tmp_path / ".env")}
    argv = mac.argv("hub", *ports, "--data", str(tmp_path / "data"))
    with open(tmp_path / "hub.log", "wb") as log:
        hub = subprocess.Popen(argv, env=env, stdout=log, stderr=log, cwd=CHECKOUT, start_new_session=True)
    output = lambda: Path(tmp_path / "hub.log").read_text()  # noqa: E731
    wait_for(lambda: "next:" in output() or hub.poll() is not None, 120)
    assert hub.poll() is None, output()
    started = psutil.Process(hub.pid).children(recursive=True)
    assert len(started) >= 4, "two keepers and two servers"
    hub.send_signal(number)
    hub.wait(60)
    _, alive = psutil.wait_procs(started, timeout=40)
    assert [process.name() for process in alive] == []


def test_a_worker_runs_a_job_in_a_process_that_it_spawned(mac, workplace, tmp_path):
    redis = RedisServer(tmp_path / "redis")
    try:
        sizes = {"depth": 1, "d_model": 128, "seq_len": 64, "device_batch_size": 4, "total_batch_size": 512}
        job = redis.enqueue(
            queue="cpu", preset="m5-tiny", dataset="words", time_budget=0.5, engine="torch", device="cpu",
            set=sizes, smoke=True,
        )  # fmt: skip
        argv = [mac.python, "-m", "services.worker", "--target", "cpu", "--device", "cpu", "--burst"]
        env = {**mac.environment, "ARE_REDIS_URL": redis.url}
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, cwd=CHECKOUT, check=False)
        assert ended.returncode == 0, ended.stderr
        outcome = redis.outcome(job, 1.0)
        assert outcome.status == "ok", outcome
    finally:
        redis.kill()
