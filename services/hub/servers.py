"""The two servers of a hub, as children of one command. They end with it, and it ends if one of them does."""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import suppress

from services.hub.credentials import Credentials, Hub, acl, write_private
from services.hub.queue_program import command, find_program
from shared.machine.ports import is_free, likely_owner
from shared.sandbox.parent_death import dies_with_parent

QUEUE_TIMEOUT_S, MLFLOW_TIMEOUT_S, STOP_TIMEOUT_S = 10.0, 120.0, 15.0


class Servers:
    def __init__(self, hub: Hub, credentials: Credentials):
        self.hub, self.credentials = hub, credentials
        self.children: dict[str, subprocess.Popen] = {}
        self.queue = find_program()

    def __enter__(self) -> "Servers":
        try:
            self.hub.data.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._start_queue()
            self._start_mlflow()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start_queue(self) -> None:
        self._check_free(self.hub.redis_port, "--redis-port")
        folder = self.hub.data / "redis"
        folder.mkdir(exist_ok=True)
        write_private(folder / "users.acl", acl(self.credentials))
        self._start("redis", command(self.queue, self.hub, folder))
        self._wait("redis", self._queue_answers, QUEUE_TIMEOUT_S)

    def _start_mlflow(self) -> None:
        self._check_free(self.hub.mlflow_port, "--mlflow-port")
        argv = [sys.executable, "-m", "mlflow", "server", "--host", self.hub.bind, "--port", str(self.hub.mlflow_port)]
        argv += ["--backend-store-uri", f"sqlite:///{self.hub.data / 'mlflow.db'}", "--workers", "1"]
        argv += ["--artifacts-destination", str(self.hub.data / "artifacts"), "--allowed-hosts", self.hub.allowed_hosts]
        # its job runner holds 1.3 GB for nothing here
        self._start("mlflow", argv, MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false", MLFLOW_DISABLE_TELEMETRY="true")
        self._wait("mlflow", self._mlflow_answers, MLFLOW_TIMEOUT_S)

    def _start(self, name: str, argv: list[str], **environment: str) -> None:
        with open(self.hub.data / f"{name}.log", "ab") as log:
            self.children[name] = subprocess.Popen(
                dies_with_parent(argv, by=signal.SIGTERM),  # SIGKILL would leave MLflow's workers
                env={**os.environ, **environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def _check_free(self, port: int, option: str) -> None:
        if not is_free(port, self.hub.reached_as):
            owner = likely_owner(port)
            raise ValueError(
                f"port {port} is in use, perhaps by {owner}: stop it, or choose another port with {option}"
            )

    def _wait(self, name: str, answers: Callable[[], bool], timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while not answers():
            if self.children[name].poll() is not None or time.monotonic() > deadline:
                raise ValueError(f"{name} did not start: see {self.hub.data / name}.log")
            time.sleep(0.1)

    def _queue_answers(self) -> bool:
        from redis import Redis
        from redis.exceptions import RedisError

        host, port = self.hub.reached_as, self.hub.redis_port
        try:
            return Redis(host, port, username="worker", password=self.credentials.worker, socket_timeout=1).ping()
        except RedisError:
            return False

    def _mlflow_answers(self) -> bool:
        try:
            urllib.request.urlopen(f"{self.hub.mlflow_url}/health", timeout=1).close()
        except (OSError, urllib.error.URLError):
            return False
        return True

    def until_one_ends(self) -> None:
        """Returns at Ctrl-C. ValueError if a server ends by itself."""
        try:
            while True:
                for name, child in self.children.items():
                    if child.poll() is not None:
                        raise ValueError(
                            f"{name} ended with code {child.returncode}, so the hub stops: "
                            f"see {self.hub.data / name}.log"
                        )
                time.sleep(0.5)
        except KeyboardInterrupt:
            return

    def stop(self) -> None:
        """Stops MLflow first, so that nothing new arrives, and then the queue, which finishes writing its file."""
        for child in reversed(self.children.values()):
            if child.poll() is None:
                child.terminate()
            with suppress(subprocess.TimeoutExpired):
                child.wait(STOP_TIMEOUT_S)
            # itself when it did not listen, else what it left behind
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
            child.wait()
