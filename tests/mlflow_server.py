"""A real MLflow server for tests: sqlite, a free port, killed without warning and started again on the same store."""

import os
import shutil
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest

from shared.settings import settings
from shared.tracking import mlflow_store
from tests.fleet import free_port, wait_for

if TYPE_CHECKING:
    from mlflow.entities import Run

QUIET = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
START_TIMEOUT_S = 90.0


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory) -> Path:
    """An sqlite store with its tables made: that takes MLflow seconds, so it is done once and copied."""
    path = tmp_path_factory.mktemp("store") / "mlflow.db"
    mlflow_store._client(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def runs(tmp_path, monkeypatch, empty_store) -> Iterator[Path]:
    """ARE_RUNS with the default store in it."""
    shutil.copy(empty_store, tmp_path / "mlflow.db")
    monkeypatch.setenv("ARE_RUNS", str(tmp_path))
    monkeypatch.delenv("ARE_TRACKING_URI", raising=False)
    settings.cache_clear()
    yield tmp_path
    settings.cache_clear()


@pytest.fixture
def use_server(monkeypatch) -> Callable[[str], None]:
    def use(address: str) -> None:
        monkeypatch.setenv("ARE_TRACKING_URI", address)
        settings.cache_clear()

    return use


class MlflowServer:
    """As the hub runs it. `store` is a database with its tables made, which saves the server seconds."""

    def __init__(self, folder: Path, store: Path | None = None):
        self.folder, self.port = folder, free_port()
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None
        folder.mkdir(parents=True, exist_ok=True)
        if store:
            shutil.copy(store, folder / "server.db")

    def launch(self) -> None:
        """Without waiting until it answers. Nothing to do when it runs."""
        if self.process and self.process.poll() is None:
            return
        store = ["--backend-store-uri", f"sqlite:///{self.folder / 'server.db'}"]
        store += ["--artifacts-destination", str(self.folder / "files")]
        place = ["--host", "127.0.0.1", "--port", str(self.port), "--workers", "1"]
        with open(self.folder / "log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mlflow", "server", *place, *store],
                env={**os.environ, **QUIET},
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )

    def start(self) -> "MlflowServer":
        self.launch()
        wait_for(self.answers, START_TIMEOUT_S)
        return self

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
        try:
            urllib.request.urlopen(f"{self.uri}/health", timeout=2).close()
        except OSError:
            return False
        return True

    def kill(self) -> None:
        """The whole group; also when it is down already."""
        if self.process is None:
            return
        for process in psutil.Process(self.process.pid).children(recursive=True) if self.process.poll() is None else []:
            process.kill()
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def __enter__(self) -> "MlflowServer":
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.kill()

    def runs(self) -> list["Run"]:
        """Everything that is recorded and not deleted."""
        client = mlflow_store._client(self.uri)
        experiments = [experiment.experiment_id for experiment in client.search_experiments()]
        return list(client.search_runs(experiments, max_results=10_000))
