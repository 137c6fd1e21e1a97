"""`autoresearch hub`: the queue and the tracking server of a fleet, on this machine, without Docker."""

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from services.console.packages import require
from shared.machine.ports import free_port_from
from shared.settings import CHECKOUT, default_mlflow_port, settings


def hub(
    bind: Annotated[
        str,
        typer.Option(
            envvar="HUB_BIND",
            help="Address to listen on. Any address but loopback opens queue and MLflow to the network.",
        ),
    ] = "127.0.0.1",
    redis_port: Annotated[
        int, typer.Option(envvar="HUB_REDIS_PORT", min=1, max=65535, help="Port of the queue.")
    ] = 6379,
    mlflow_port: Annotated[
        int | None,
        typer.Option(
            envvar="HUB_MLFLOW_PORT",
            min=1,
            max=65535,
            help="Port of the MLflow server. Default: 5000 (5050 on a Mac), or the next free one.",
        ),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder for the data of queue and MLflow. Default: ARE_HOME/hub.")
    ] = None,
) -> None:
    """Run the queue and MLflow until you press Ctrl-C.

    Passwords are created once and kept in .env, which only you can read.
    """
    require("fleet", "tracking")
    folder = data.absolute() if data else settings().home / "hub"
    mlflow_port = mlflow_port or free_port_from(default_mlflow_port())
    options = [f"--bind={bind}", f"--redis-port={redis_port}", f"--mlflow-port={mlflow_port}"]
    options += [f"--data={folder}", f"--env-file={settings().env_file}"]
    os.chdir(CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "services.hub", *options])
