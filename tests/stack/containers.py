"""A stack of its own: a copy of this checkout, brought up by the Makefile as a person would, spoken to from outside."""

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

from redis import Redis

from services.hub.credentials import read_env
from shared.files import sha256_bytes
from shared.fleet.contracts import Outcome
from shared.fleet.store import FleetStore
from shared.settings import CHECKOUT
from tests.fleet import free_port, wait_for

BIN = Path(sys.executable).parent
TAG = "stack-test"
JOBS = "services.worker.jobs"
# a gigabyte is filled sooner than the eight of a real stack
EXECUTOR_MEMORY = "3g"


def stack_name() -> str:
    """Of this checkout: another may test on the same engine, and what a killed session of this one left is found."""
    return f"are-stack-{sha256_bytes(str(CHECKOUT).encode())[:6]}"


def copy_checkout(folder: Path) -> Path:
    """What a clone would hold, as it is in this working tree, and the wheels that lie ready for the images."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=CHECKOUT, check=True, capture_output=True, text=True,
    ).stdout.split("\0")  # fmt: skip
    wheels = [str(path.relative_to(CHECKOUT)) for path in (CHECKOUT / "images" / "wheels").glob("*.whl")]
    for name in filter(None, [*listed, *wheels]):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (_link if name in wheels else shutil.copy2)(CHECKOUT / name, folder / name)
    return folder


def _link(source: Path, target: Path) -> None:
    """A copy of 200 MB only where it must be one."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


class Stack:
    def __init__(self, checkout: Path, name: str, **environment: str):
        self.checkout, self.name, self.env_file = checkout, name, checkout / ".env"
        self.mlflow_port = free_port()
        ours = {"HUB_REDIS_PORT": str(free_port()), "HUB_MLFLOW_PORT": str(self.mlflow_port), "TAG": TAG, "STACK": name}
        self.environment = {**os.environ, **ours, "EXECUTOR_MEMORY": EXECUTOR_MEMORY, **environment}

    def make(self, *arguments: str, timeout_s: float = 1200, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["make", "--no-print-directory", *arguments], cwd=self.checkout, env={**self.environment, **environment},
            capture_output=True, text=True, timeout=timeout_s,
        )  # fmt: skip

    def up(self, **environment: str) -> None:
        done = self.make("up-cpu", **environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]

    def end(self) -> None:
        """Nothing of it stays but its images."""
        if containers := self.containers():
            docker("rm", "--force", "--volumes", *containers)
        for kind in ("volume", "network"):
            for name in docker(kind, "ls", "--quiet", "--filter", self._label).split():
                docker(kind, "rm", name)

    # containers

    @property
    def _label(self) -> str:
        return f"label=com.docker.compose.project={self.name}"

    def containers(self) -> list[str]:
        """All ids, whether they run or not."""
        return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", self._label).split()

    def container(self, service: str) -> str:
        """Its id, whether it runs or not."""
        label = f"label=com.docker.compose.service={service}"
        return docker("ps", "--all", "--quiet", "--no-trunc", "--filter", self._label, "--filter", label)

    def state(self, service: str) -> dict:
        return json.loads(docker("inspect", "--format", "{{json .State}}", self.container(service)))

    def address(self, service: str) -> str:
        """Of the first of its networks."""
        networks = json.loads(docker("inspect", "--format", "{{json .NetworkSettings}}", self.container(service)))
        return next(iter(networks["Networks"].values()))["IPAddress"]

    def inside(self, service: str, *command: str, stdin: str = "", timeout_s: float = 120) -> str:
        """What a command prints in the container, as its user; an executor is up again in a moment."""
        wait_for(lambda: self.state(service)["Running"] and not self.state(service)["Restarting"], every_s=0.1)
        return docker("exec", "--interactive", self.container(service), *command, stdin=stdin, timeout_s=timeout_s)

    def kill(self, service: str) -> None:
        """As a person would, who starts it again too."""
        docker("kill", self.container(service), check=False)  # it may be between two lives
        docker("start", self.container(service))

    def crash(self, service: str) -> None:
        """Every process in it dies; Docker starts it again."""
        docker("exec", self.container(service), "sh", "-c", "kill -9 -1", check=False)

    def run_file(self, run_id: str, name: str) -> str:
        return self.inside("worker", "cat", f"/runs/{run_id}/{name}")

    # the hub from outside, with the agents' password

    def command(self, *argv: str, check: bool = True, timeout_s: float = 300) -> str:
        """A program of this environment as a person runs it after `set -a; . ./.env; set +a`."""
        env = {**os.environ, **read_env(self.env_file), "ARE_ENV_FILE": str(self.env_file), "COLUMNS": "500"}
        done = subprocess.run(
            [str(BIN / argv[0]), *argv[1:]], env=env, capture_output=True, text=True, timeout=timeout_s
        )
        assert not check or done.returncode == 0, f"{argv}: {done.stdout} {done.stderr}"
        return done.stdout

    def rq(self, function: str, job_id: str, *arguments: str) -> str:
        """Enqueued by the stock client. Returns the job's id."""
        self.command("rq", "enqueue", "-S", "json", "-q", "cpu", "--job-id", job_id, f"{JOBS}.{function}", *arguments)
        return job_id

    @property
    def redis(self) -> Redis:
        return Redis.from_url(read_env(self.env_file)["ARE_REDIS_URL"], socket_timeout=5)

    def outcome(self, job_id: str, timeout_s: float = 180) -> Outcome:
        return wait_for(lambda: FleetStore(self.redis).outcome(job_id), timeout_s, every_s=0.2)

    def activity(self, job_id: str) -> str:
        """What its attempt does now, as `autoresearch status` shows it."""
        progress = FleetStore(self.redis).progress(job_id)
        return progress.activity if progress else ""

    def in_training(self, job_id: str) -> str:
        """The same id, as soon as it trains."""
        wait_for(lambda: self.activity(job_id) == "training", 90, every_s=0.1)
        return job_id

    def mlflow(self, path: str, **question: Any) -> dict:
        """MLflow's REST API."""
        url = f"http://127.0.0.1:{self.mlflow_port}/api/2.0/mlflow/{path}"
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(url, json.dumps(question).encode(), headers)
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.load(answer)

    def experiments(self) -> list[dict]:
        return self.mlflow("experiments/search", max_results=100)["experiments"]

    def recorded(self) -> list[dict]:
        """All runs of all experiments, as {"run_id", "status", "metrics"}."""
        ids = [experiment["experiment_id"] for experiment in self.experiments()]
        runs = self.mlflow("runs/search", experiment_ids=ids, max_results=1000).get("runs", [])
        return [_described(run) for run in runs]

    def is_recorded(self, run_id: str) -> bool:
        """Once, and finished. No, while MLflow does not answer."""
        try:
            return [run["status"] for run in self.recorded() if run["run_id"] == run_id] == ["FINISHED"]
        except OSError:
            return False


def _described(run: dict) -> dict:
    tags = {tag["key"]: tag["value"] for tag in run["data"].get("tags", [])}
    metrics = {metric["key"]: metric["value"] for metric in run["data"].get("metrics", [])}
    return {"run_id": tags.get("are.run_id"), "status": run["info"]["status"], "metrics": metrics}


def docker(*arguments: str, stdin: str = "", check: bool = True, timeout_s: float = 120) -> str:
    done = subprocess.run(
        ["docker", *arguments], input=stdin, capture_output=True, text=True, timeout=timeout_s
    )  # fmt: skip
    assert not check or done.returncode == 0, f"docker {' '.join(arguments)[:200]}: {done.stdout} {done.stderr}"
    return done.stdout.strip()
