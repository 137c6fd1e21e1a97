"""A hub and workers for tests: the queue's real server on a free port, workers as real processes, fast stages."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import psutil
from redis import Redis
from rq import Queue
from rq.serializers import JSONSerializer

from services.hub.queue_program import find_program
from shared.fleet.store import FleetStore
from shared.sandbox.parent_death import KEEPER
from shared.settings import CHECKOUT

Value = TypeVar("Value")
FAST_WORKER = CHECKOUT / "tests" / "fleet_worker.py"
SPAWNED = "services.worker.spawn_worker"


def wait_for(look: Callable[[], Value], timeout_s: float = 30.0, every_s: float = 0.02) -> Value:
    """The first true answer. AssertionError when there is none in time."""
    deadline = time.monotonic() + timeout_s
    while not (answer := look()):
        assert time.monotonic() < deadline, f"{look} said {answer!r} for {timeout_s} s"
        time.sleep(every_s)
    return answer


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class RedisServer:
    """The program that a hub would start, without users: every write is on disk before it is acknowledged."""

    def __init__(self, folder: Path):
        self.program, self.folder, self.port = find_program(), folder, free_port()
        self.url = f"redis://127.0.0.1:{self.port}/0"
        folder.mkdir(parents=True, exist_ok=True)
        self.start()

    def start(self) -> None:
        argv = [self.program.path, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        argv += ["--appendonly", "yes", "--appendfsync", "always", "--save", "", "--logfile", "redis.log"]
        self.process = subprocess.Popen(argv)
        wait_for(self.answers)

    def answers(self) -> bool:
        try:
            return Redis.from_url(self.url, socket_timeout=1).ping()
        except Exception:
            return False

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    @staticmethod
    def connect(url: str) -> Redis:
        return Redis.from_url(url)

    @property
    def connection(self) -> Redis:
        return Redis.from_url(self.url)

    @property
    def store(self) -> FleetStore:
        return FleetStore(self.connection)

    def enqueue(self, function: str = "train", queue: str = "cpu", job_id: str | None = None, **kwargs: Any) -> str:
        """A plain RQ client. Returns the job's id."""
        name = function if "." in function else f"services.worker.jobs.{function}"
        return self.queue(queue).enqueue_call(name, kwargs=kwargs, job_id=job_id).id

    def queue(self, name: str = "cpu") -> Queue:
        return Queue(name, connection=self.connection, serializer=JSONSerializer)

    def outcome(self, job_id: str, timeout_s: float = 30.0):
        return wait_for(lambda: self.store.outcome(job_id), timeout_s)

    def status(self, job_id: str) -> str:
        """RQ's own word for the job."""
        return (self.connection.hget(f"rq:job:{job_id}", "status") or b"").decode()


class WorkerProcess:
    """A worker in a process group of its own. `device` is a made-up name when the stages are fast ones."""

    def __init__(
        self, redis: RedisServer, device: str = "cpu", *, real: bool = False, program: Path = FAST_WORKER, **env: str
    ):
        argv = [sys.executable, "-m", "services.worker", "--target", "cpu", "--device", device]
        if not real:
            argv = [sys.executable, str(program), device]
        env = {**os.environ, "ARE_REDIS_URL": redis.url, "PYTHONPATH": str(CHECKOUT), **env}
        self.log = redis.folder / f"worker-{time.monotonic_ns()}.log"
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                argv, cwd=CHECKOUT, env=env, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )  # fmt: skip

    @property
    def pid(self) -> int:
        return self.process.pid

    def ready(self) -> "WorkerProcess":
        wait_for(lambda: "Listening on" in self.output() or self.process.poll() is not None)
        assert self.process.poll() is None, self.output()
        return self

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    def end(self) -> None:
        """The horse and its stages die with it."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()


def command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:  # it ended meanwhile
        return []


def is_keeper(process: psutil.Process) -> bool:
    """macOS has no death signal: a keeper stands between a process and what it started (shared/sandbox/keeper.py)."""
    return str(KEEPER) in command_line(process)


def horses_of(worker: WorkerProcess) -> list[psutil.Process]:
    """Forked, a horse looks as its worker does; spawned, it has a program of its own. A recorder is neither."""
    parent = psutil.Process(worker.pid)
    own = command_line(parent)
    lines = {process: command_line(process) for process in parent.children()}
    return [one for one, line in lines.items() if line == own or line[-1:] == ["--horse"] or SPAWNED in line]


def horse_of(worker: WorkerProcess) -> psutil.Process:
    return wait_for(lambda: horses_of(worker))[0]


def intervals(runs: Path) -> list[dict]:
    """What the fast stages wrote down: one entry a start, with the device and the first and last moment it ran."""
    seen: dict[str, dict] = {}
    for file in sorted((runs / "intervals").glob("*.txt")):
        lines = file.read_text().split()
        job, device, _ = file.stem.split("@")
        if lines:
            seen[file.stem] = {"run": job, "device": device, "start": float(lines[0]), "end": float(lines[-1])}
    return sorted(seen.values(), key=lambda entry: entry["start"])


def overlaps(runs: Path) -> list[tuple[str, str]]:
    """Pairs of starts that ran on one device at the same time."""
    found = []
    by_device: dict[str, list[dict]] = {}
    for entry in intervals(runs):
        for other in by_device.setdefault(entry["device"], []):
            if other["end"] > entry["start"]:
                found.append((other["run"], entry["run"]))
        by_device[entry["device"]].append(entry)
    return found


def delivered(runs: Path) -> list[dict]:
    return [json.loads(file.read_text()) for file in runs.glob("*/delivery.json")]
