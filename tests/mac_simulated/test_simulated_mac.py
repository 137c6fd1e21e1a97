"""What a Mac owner does first, on a machine that answers the project as a Mac would (machine.py says how)."""

import json
import plistlib
import shutil
import signal
import subprocess

import pytest

from shared.settings import CHECKOUT
from tests.fleet import RedisServer, free_port, wait_for

pytestmark = pytest.mark.simulated
TINY = ["--preset", "m5-tiny", "--set", "depth=1", "--set", "d_model=128", "--set", "seq_len=64"]
TINY += ["--set", "device_batch_size=4", "--set", "total_batch_size=512", "--dataset", "words", "--smoke"]
SIZES = {"depth": 1, "d_model": 128, "seq_len": 64, "device_batch_size": 4, "total_batch_size": 512}


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


TRIES = """

import os
tries = {{
    "rows": lambda: open({secret!r}, "rb"),
    "their attributes": lambda: os.listxattr({secret!r}),
    "the supervisor's environment": lambda: open(f"/proc/{{os.getppid()}}/environ", "rb"),
    "what others do": lambda: open("/proc/1/stat"),
    "a connection": lambda: __import__("socket").create_connection(("127.0.0.1", 9)),
    "the folder of all runs": lambda: open({elsewhere!r}, "w"),
    "its own file": lambda: open(__file__),
}}
refused = []
for name, attempt in tries.items():
    try:
        attempt()
    except PermissionError:
        refused.append(name)
raise RuntimeError("refused: " + ", ".join(refused))
"""


def test_a_recipe_is_refused_what_it_is_refused_on_linux(mac, workplace, prepared_home, tmp_path):
    shipped = (CHECKOUT / "services/trainer/recipes/gpt_torch.py").read_text()
    secret = next((prepared_home / "validation").rglob("*.bin"), None) or next(prepared_home.rglob("*2048*"))
    recipe = tmp_path / "reads.py"
    recipe.write_text(shipped + TRIES.format(secret=str(secret), elsewhere=str(workplace / "x")))
    options = ["--engine", "torch", "--device", "cpu", "--recipe", str(recipe), "--time-budget", "1"]
    said = mac.run("train", *TINY, *options, timeout_s=300)
    assert said.returncode == 2, said.stdout + said.stderr
    refused = (
        "rows, their attributes, the supervisor's environment, what others do, a connection, the folder of all runs"
    )
    assert f"RuntimeError: refused: {refused}" in " ".join((said.stdout + said.stderr).split())
    assert "its own file" not in said.stdout + said.stderr


def test_the_launchd_file_is_written_with_what_to_do_next(mac, workplace):
    said = mac.run("worker", "--install")
    file = mac.prefix / "home" / "Library" / "LaunchAgents" / "autoresearch-worker.plist"
    plist = plistlib.loads(file.read_bytes())
    assert plist["ProgramArguments"][1:] == ["worker", "--service"]
    assert "launchctl bootstrap gui/$UID" in said.stdout
    assert "launchctl bootout" in said.stdout


def test_launchd_starts_and_stops_the_worker_with_no_more_than_the_file_says(mac, workplace, tmp_path):
    """As launchd does: no variable but the file's, its folder, its program, and SIGTERM for `bootout`."""
    (tmp_path / ".env").write_text(f"ARE_WORKER_REDIS_URL=redis://worker:s3cret@127.0.0.1:{free_port()}/0\n")
    said = mac.run("worker", "--install", "--target", "cpu", "--device", "cpu", ARE_ENV_FILE=str(tmp_path / ".env"))
    assert said.returncode == 0, said.stderr
    content = (mac.prefix / "home" / "Library" / "LaunchAgents" / "autoresearch-worker.plist").read_bytes()
    plist = plistlib.loads(content)
    assert set(plist) <= KEYS_OF_LAUNCHD
    assert b"s3cret" not in content
    assert (plist["KeepAlive"], plist["RunAtLoad"]) == ({"SuccessfulExit": False}, True)
    assert all(isinstance(value, str) for value in plist["EnvironmentVariables"].values())
    env = {"HOME": str(mac.prefix / "home"), **plist["EnvironmentVariables"]}
    with open(tmp_path / "log", "wb") as log:
        argv = plist["ProgramArguments"]
        process = subprocess.Popen(argv, env=env, cwd=plist["WorkingDirectory"], stdout=log, stderr=log)
    output = (tmp_path / "log").read_text
    wait_for(lambda: "no hub answers" in output() or process.poll() is not None, 60)
    assert process.poll() is None, output()
    process.terminate()
    assert process.wait(30) in (0, -signal.SIGTERM), output()


KEYS_OF_LAUNCHD = {"Label", "ProgramArguments", "WorkingDirectory", "EnvironmentVariables", "RunAtLoad", "KeepAlive"}
KEYS_OF_LAUNCHD |= {"ThrottleInterval", "ProcessType", "ExitTimeOut", "StandardOutPath", "StandardErrorPath"}
"""of those in launchd.plist(5), the ones that are meant"""


def test_the_pages_of_the_runs_stay_off_the_port_of_airplay(mac, workplace):
    assert "5050" in mac.run("hub", "--help").stdout


def test_a_worker_runs_a_job_in_a_process_that_it_spawned(mac, workplace, tmp_path):
    redis = RedisServer(tmp_path / "redis")
    try:
        job = redis.enqueue(
            queue="cpu", preset="m5-tiny", dataset="words", time_budget=0.5, engine="torch", device="cpu",
            set=SIZES, smoke=True,
        )  # fmt: skip
        argv = [mac.python, "-m", "services.worker", "--target", "cpu", "--device", "cpu", "--burst"]
        env = {**mac.environment, "ARE_REDIS_URL": redis.url}
        ended = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=300, cwd=CHECKOUT, check=False)
        assert ended.returncode == 0, ended.stderr
        outcome = redis.outcome(job, 1.0)
        assert outcome.status == "ok", outcome
    finally:
        redis.kill()


@pytest.mark.parametrize(("python", "says"), [("true", "macOS 13.6 is too old"), ("false", "brew install python@3.12")])
def test_setup_says_what_is_too_old_before_it_makes_anything(mac, tmp_path, python, says):
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(CHECKOUT / name, tmp_path)
    stand_ins = tmp_path / "bin"
    stand_ins.mkdir()
    for name, script in (("uname", "echo Darwin"), ("sw_vers", "echo 13.6")):
        (stand_ins / name).write_text(f"#!/bin/sh\n{script}\n")
        (stand_ins / name).chmod(0o755)
    env = {**mac.environment, "PATH": f"{stand_ins}:{mac.environment['PATH']}"}
    argv = ["make", "setup", f"PYTHON={python}"]
    done = subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert says in done.stdout
    assert not (tmp_path / ".venv").exists()
