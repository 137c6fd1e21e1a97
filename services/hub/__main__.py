"""The hub of a fleet without Docker: `python -m services.hub --data DIR --env-file FILE` (`autoresearch hub`).

Queue and MLflow run until Ctrl-C, SIGTERM or a closed window, or until one of them ends. Exit code 2 when they cannot
start.
"""

import argparse
import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

from services.hub.credentials import Hub, keep_credentials
from services.hub.servers import Servers
from shared.machine.hardware import target_here
from shared.sandbox.parent_death import dies_with_parent
from shared.settings import CHECKOUT, default_mlflow_port


def main() -> int:
    for number in (signal.SIGTERM, signal.SIGHUP):  # SIGHUP: its window was closed
        signal.signal(number, signal.default_int_handler)
    try:
        serve(parse_arguments())
    except KeyboardInterrupt:
        return 130
    except ValueError as error:
        print(f"hub: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"hub: {error.strerror or error}: {error.filename or ''}{advice_for(error)}", file=sys.stderr)
        return 2
    return 0


def advice_for(error: OSError) -> str:
    closed = error.errno in (errno.EACCES, errno.EPERM, errno.EROFS)
    return "; set ARE_ENV_FILE to a file and ARE_HOME to a folder that you may write" if closed else ""


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m services.hub", description="Run the queue and MLflow until Ctrl-C."
    )
    parser.add_argument("--bind", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--redis-port", type=int, default=6379, help="port of the queue")
    parser.add_argument("--mlflow-port", type=int, default=default_mlflow_port(), help="port of the MLflow server")
    parser.add_argument("--data", type=Path, required=True, help="folder for the data of queue and MLflow")
    parser.add_argument("--env-file", type=Path, required=True, help="file that receives passwords and addresses")
    return parser.parse_args()


def serve(asked: argparse.Namespace) -> None:
    """Passwords are created once and kept in the env file, which only this user can read."""
    hub = Hub(bind=asked.bind, redis_port=asked.redis_port, mlflow_port=asked.mlflow_port, data=asked.data.absolute())
    credentials = keep_credentials(asked.env_file, hub)
    with Servers(hub, credentials) as servers:
        print(f"queue      {hub.redis_address}  ({servers.queue.says})")
        print(f"runs       {hub.mlflow_url}/#/experiments?workflowType=machine_learning")
        print(f"passwords  {asked.env_file}")
        submit = f"autoresearch submit --target {target_here()} --wait"
        print(f"next: run `make worker` in another terminal, then `{submit}`", flush=True)
        pages = show_pages(hub)
        try:
            servers.until_one_ends()
        finally:
            pages.terminate()  # SIGKILL would end only its keeper
            pages.wait()


def show_pages(hub: Hub) -> subprocess.Popen:
    """Prints where runs are to be seen, some seconds later: a process of its own imports MLflow's client for that."""
    argv = dies_with_parent([sys.executable, "-m", "shared.tracking.pages", hub.mlflow_url])
    environment = {**os.environ, "ARE_TRACKING_URI": hub.mlflow_url}
    return subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=CHECKOUT)


if __name__ == "__main__":
    sys.exit(main())
