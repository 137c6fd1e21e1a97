"""What a Mac owner does first, on a machine that answers the project as a Mac would (machine.py says how)."""

import json
import plistlib
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from shared.settings import CHECKOUT
from tests.fleet import SPAWNED, RedisServer, command_line, free_port, horse_of, is_keeper, wait_for
from tests.mac_simulated.machine import Mac, make_mac

pytestmark = pytest.mark.simulated
TINY = ["--preset", "m5-tiny", "--set", "depth=1", "--set", "d_model=128", "--set", "seq_len=64"]
TINY += ["--set", "device_batch_size=4", "--set", "total_batch_size=512", "--dataset", "words", "--smoke"]
SIZES = {"depth": 1, "d_model": 128, "seq_len": 64, "device_batch_size": 4, "total_batch_size": 512}
LEFT_S = 20.0
"""after a kill -9 of anything, nothing that it had started is left: a keeper gives a program 15 s to end"""


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


def the_hub(started: list[psutil.Process], hub: psutil.Process) -> psutil.Process:
    return hub


def the_keeper_of_its_queue(started: list[psutil.Process], hub: psutil.Process) -> psutil.Process:
    return next(one for one in started if is_keeper(one) and "users.acl" in " ".join(command_line(one)))


@pytest.mark.parametrize(
    ("number", "whom"),
    [(signal.SIGHUP, the_hub), (signal.SIGKILL, the_hub), (signal.SIGKILL, the_keeper_of_its_queue)],
)
def test_nothing_of_a_hub_is_left_when_its_window_is_closed_or_it_is_killed(mac, workplace, tmp_path, number, whom):
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
    whom(started, psutil.Process(hub.pid)).send_signal(number)
    hub.wait(60)
    _, alive = psutil.wait_procs(started, timeout=40)
    assert [process.name() for process in alive] == []


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


def attempt_of(horse: psutil.Process) -> dict[str, psutil.Process]:
    """The processes of an attempt that trains, by what they are; empty before it does."""
    found = {"horse": horse}
    for parent, keeper, child in (("horse", "trainer's keeper", "trainer"), ("trainer", "recipe's keeper", "recipe")):
        kept = [one for one in found[parent].children() if is_keeper(one)]
        if not kept or not kept[0].children():
            return {}
        found[keeper], found[child] = kept[0], kept[0].children()[0]
    run = Path(command_line(found["trainer"])[-1])
    return found if (run / "metrics.jsonl").exists() else {}


def attempt_at_work(worker: psutil.Process) -> dict[str, psutil.Process]:
    def look():
        with suppress(psutil.Error, IndexError):
            return attempt_of(horse_of(worker))
        return {}

    return wait_for(look, 60)


def left_of(processes: list[psutil.Process]) -> list[str]:
    """By their command lines, which a process that ended and was not collected has no more."""
    with suppress(AssertionError):
        wait_for(lambda: not any(map(command_line, processes)), LEFT_S)
    return [" ".join(line) for line in map(command_line, processes) if line]


@pytest.fixture
def worker_at_work(mac, workplace, tmp_path):
    """Of the Mac's kind, with more jobs than are needed; each trains until it is ended."""
    redis = RedisServer(tmp_path / "redis")
    job = dict(queue="cpu", preset="m5-tiny", dataset="words", time_budget=300, engine="mlx", device="cpu", set=SIZES)
    for _ in range(6):
        redis.enqueue(**job)
    argv = [mac.python, "-m", "services.worker", "--target", "cpu", "--device", "cpu"]
    env = {**mac.environment, "ARE_REDIS_URL": redis.url}
    with open(tmp_path / "worker.log", "wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, cwd=CHECKOUT, start_new_session=True)
    yield psutil.Process(process.pid)
    print((tmp_path / "worker.log").read_text())
    process.kill()
    process.wait()
    redis.kill()


def test_nothing_is_left_after_kill_9_of_each_process_of_a_worker(worker_at_work):
    worker = worker_at_work
    for name in ("recipe", "recipe's keeper", "trainer", "trainer's keeper", "horse"):
        attempt = attempt_at_work(worker)
        assert SPAWNED in command_line(attempt["horse"])
        stage = [one for one in attempt.values() if one != attempt["horse"]]
        everything = attempt["horse"].children(recursive=True)
        attempt[name].kill()
        assert left_of([attempt["horse"], *everything] if name == "horse" else stage) == [], name
    recorder = [one for one in worker.children() if "services.worker.recorder" in command_line(one)]
    recorder += recorder[0].children()
    recorder[0].kill()
    assert left_of(recorder) == []
    attempt_at_work(worker)
    everything = worker.children(recursive=True)
    worker.kill()
    assert left_of(everything) == []


@pytest.mark.parametrize("name", ["console", "keeper", "prepare"])
def test_nothing_of_a_prepare_is_left_after_kill_9_of_any_of_its_processes(mac, tmp_path, name):
    home = tmp_path / "home"
    argv = mac.argv("prepare", "--corpus", "stdlib", "--name", f"without-{name}")
    env = {**mac.environment, "ARE_HOME": str(home)}
    with open(tmp_path / "prepare.log", "wb") as log:
        process = subprocess.Popen(argv, env=env, stdout=log, stderr=log, cwd=CHECKOUT, start_new_session=True)
    console = psutil.Process(process.pid)
    wait_for(lambda: list(home.glob("datasets/*/train/.00000.u16.*.tmp")), 60)
    started = console.children(recursive=True)
    (keeper,) = [one for one in console.children() if is_keeper(one)]
    {"console": console, "keeper": keeper, "prepare": keeper.children()[0]}[name].kill()
    process.wait(LEFT_S)
    assert left_of(started) == []
    assert not list(home.glob("datasets/*/dataset.json")), "it ended before its work did"
