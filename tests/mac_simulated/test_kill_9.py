"""kill -9 of each process of a hub, a worker, its running experiment and a prepare, on a Mac that has no death signal.

After each of them nothing is left that should not be, what should be started again is, and whoever started it all, a
shell in the place of `make` and of its terminal, lives on.
"""

import os
import signal
import subprocess
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from shared.settings import CHECKOUT
from tests.fleet import SPAWNED, RedisServer, command_line, free_port, horses_of, is_keeper, wait_for
from tests.mac_simulated.machine import Mac

pytestmark = pytest.mark.simulated
SIZES = {"depth": 1, "d_model": 128, "seq_len": 64, "device_batch_size": 4, "total_batch_size": 512}
LOOK_EVERY_S, LEFT_S = 0.2, 40.0
"""after a kill -9 of anything, nothing that it had started is left: a keeper gives a program 15 s to end"""
MAKE = ["/bin/sh", "-c", '"$@"; echo "make goes on after $?"', "make"]
"""in one process group with what it runs, which its last line survives"""


class Started:
    """A command under a shell that stands for make, in a session of its own as a terminal's window has."""

    def __init__(self, mac: Mac, argv: list[str], log: Path, **env: str):
        self.log = log
        with open(log, "ab") as output:
            self.make = subprocess.Popen(
                [*MAKE, *argv], env={**mac.environment, **env}, stdout=output, stderr=output, stdin=subprocess.DEVNULL,
                cwd=CHECKOUT, start_new_session=True,
            )  # fmt: skip
        (self.process,) = wait_for(psutil.Process(self.make.pid).children)

    def says(self, text: str, timeout_s: float = 120) -> None:
        wait_for(lambda: text in self.log.read_text() or self.make.poll() is not None, timeout_s, LOOK_EVERY_S)
        assert text in self.log.read_text(), self.log.read_text()

    def everything(self) -> list[psutil.Process]:
        return [self.process, *self.process.children(recursive=True)]

    def ended(self) -> None:
        """All of it, and make was not taken along."""
        self.says("make goes on after", LEFT_S)
        assert self.make.wait(LEFT_S) == 0, self.log.read_text()

    def end(self) -> None:
        for process in self.everything() if self.make.poll() is None else []:
            with suppress(psutil.Error):
                process.kill()
        self.make.kill()
        self.make.wait()


def left_of(processes: list[psutil.Process]) -> list[str]:
    """By their command lines, which a process that ended and was not collected has no more."""
    with suppress(AssertionError):
        wait_for(lambda: not any(map(command_line, processes)), LEFT_S, LOOK_EVERY_S)
    return [" ".join(line) for line in map(command_line, processes) if line]


def kept_by(parent: psutil.Process, words: str) -> tuple[psutil.Process, psutil.Process]:
    """A keeper below `parent` and its program, by words of the program's command line."""
    keeper = next(one for one in parent.children() if is_keeper(one) and words in " ".join(command_line(one)))
    return keeper, wait_for(keeper.children)[0]


# the hub


def processes_of(hub: psutil.Process) -> dict[str, psutil.Process]:
    found = {"hub": hub}
    found["queue's keeper"], found["queue"] = kept_by(hub, "users.acl")
    found["MLflow's keeper"], found["MLflow"] = kept_by(hub, "mlflow server")
    (found["MLflow's server"], *_) = wait_for(found["MLflow"].children)
    return found


HUB = ("hub", "queue's keeper", "queue", "MLflow's keeper", "MLflow", "MLflow's server")


@pytest.mark.parametrize(
    ("number", "name"),
    [(signal.SIGHUP, "hub"), *((signal.SIGKILL, name) for name in HUB)],
)
def test_nothing_of_a_hub_is_left_when_its_window_is_closed_or_a_process_of_it_is_killed(
    mac, workplace, tmp_path, number, name
):
    ports = ["--redis-port", str(free_port()), "--mlflow-port", str(free_port())]
    argv = mac.argv("hub", *ports, "--data", str(tmp_path / "data"))
    hub = Started(mac, argv, tmp_path / "hub.log", ARE_ENV_FILE=str(tmp_path / ".env"))
    try:
        hub.says("submit --target mac --wait")
        found, everything = processes_of(hub.process), hub.everything()
        assert set(found) == set(HUB)
        found[name].send_signal(number)
        hub.ended()
        assert left_of(everything) == []
    finally:
        hub.end()


# the worker and its experiment


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


class WorkerAtWork:
    """Of the Mac's kind, with more jobs than are needed; each trains until it is ended."""

    def __init__(self, mac: Mac, folder: Path):
        self.mac, self.folder = mac, folder
        self.redis = RedisServer(folder / "redis")
        job = dict(queue="cpu", preset="m5-tiny", dataset="words", time_budget=300, engine="mlx", device="cpu")
        for _ in range(20):
            self.redis.enqueue(**job, set=SIZES)
        self.start()

    def start(self) -> None:
        argv = [self.mac.python, "-m", "services.worker", "--target", "cpu", "--device", "cpu"]
        self.started = Started(self.mac, argv, self.folder / "worker.log", ARE_REDIS_URL=self.redis.url)

    @property
    def worker(self) -> psutil.Process:
        return self.started.process

    def attempt(self, but: psutil.Process | None = None) -> dict[str, psutil.Process]:
        """One that trains, of another horse than `but`."""

        def look() -> dict[str, psutil.Process]:
            with suppress(psutil.Error, IndexError, StopIteration):
                horses = [horse for horse in horses_of(self.worker) if horse != but]
                return attempt_of(horses[0]) if horses else {}
            return {}

        return wait_for(look, 90, LOOK_EVERY_S)

    def recorder(self, but: psutil.Process | None = None) -> dict[str, psutil.Process]:
        def look() -> dict[str, psutil.Process]:
            with suppress(psutil.Error, StopIteration):
                keeper, recorder = kept_by(self.worker, "services.worker.recorder")
                return {"recorder's keeper": keeper, "recorder": recorder} if keeper != but else {}
            return {}

        return wait_for(look, 60, LOOK_EVERY_S)


@pytest.fixture(scope="module")
def at_work(mac, prepared_home, tmp_path_factory):
    folder = tmp_path_factory.mktemp("worker")
    (folder / "runs").mkdir()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ARE_HOME", str(prepared_home))
        patch.setenv("ARE_RUNS", str(folder / "runs"))
        at_work = WorkerAtWork(mac, folder)
        yield at_work
    at_work.started.end()
    at_work.redis.kill()


STAGE = ("recipe", "recipe's keeper", "trainer", "trainer's keeper")


@pytest.mark.parametrize("name", [*STAGE, "horse"])
def test_kill_9_in_an_experiment_leaves_nothing_of_its_stage_and_the_worker_starts_another_attempt(at_work, name):
    attempt, recorder = at_work.attempt(), at_work.recorder()
    assert SPAWNED in command_line(attempt["horse"])
    everything = [attempt["horse"], *attempt["horse"].children(recursive=True)]
    attempt[name].kill()
    assert left_of(everything) == []
    assert at_work.attempt(but=attempt["horse"]).keys() == attempt.keys()
    assert at_work.recorder() == recorder


def test_an_experiment_goes_on_without_what_keeps_the_machine_awake(at_work):
    attempt = at_work.attempt()
    guards = [one for one in attempt["horse"].children() if "caffeinate" in " ".join(command_line(one))]
    guards[0].kill()
    assert left_of(guards) == []
    assert all(map(command_line, attempt.values()))


@pytest.mark.parametrize("name", ["recorder", "recorder's keeper"])
def test_a_recorder_whose_process_is_killed_is_started_again_and_the_experiment_goes_on(at_work, name):
    attempt, recorder = at_work.attempt(), at_work.recorder()
    recorder[name].kill()
    assert left_of(list(recorder.values())) == []
    assert at_work.recorder(but=recorder["recorder's keeper"])
    assert all(map(command_line, attempt.values()))
    assert command_line(at_work.worker)


@pytest.mark.parametrize("how", ["kill -9", "its window is closed"])
def test_nothing_is_left_of_a_worker_that_is_killed(at_work, how):
    at_work.attempt()
    at_work.recorder()
    everything = at_work.started.everything()
    if how == "kill -9":
        at_work.worker.kill()
        at_work.started.ended()
    else:
        os.killpg(at_work.started.make.pid, signal.SIGHUP)
        at_work.started.make.wait(LEFT_S)
    assert left_of(everything) == []
    at_work.start()  # for the tests that come after this one: their order is not fixed
    assert at_work.attempt()


# prepare


@pytest.mark.parametrize("name", ["console", "keeper", "prepare"])
def test_nothing_of_a_prepare_is_left_after_kill_9_of_any_of_its_processes(mac, tmp_path, name):
    home = tmp_path / "home"
    argv = mac.argv("prepare", "--corpus", "stdlib", "--name", f"without-{name}")
    started = Started(mac, argv, tmp_path / "prepare.log", ARE_HOME=str(home))
    wait_for(lambda: list(home.glob("datasets/*/train/.00000.u16.*.tmp")), 60)
    everything = started.everything()
    (keeper,) = [one for one in started.process.children() if is_keeper(one)]
    {"console": started.process, "keeper": keeper, "prepare": keeper.children()[0]}[name].kill()
    started.ended()
    assert left_of(everything) == []
    assert not list(home.glob("datasets/*/dataset.json")), "it ended before its work did"
