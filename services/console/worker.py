"""`autoresearch worker`: runs jobs of this machine's target, one at a time."""

import os
import sys
from typing import Annotated

import typer

from services.console.packages import require
from shared.settings import CHECKOUT


def worker(
    target: Annotated[
        str | None, typer.Option(help="Take jobs of this target. Default: the target of this machine.")
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda:N, metal or cpu. Default: the best device of this machine.")
    ] = None,
    spool: Annotated[
        str | None, typer.Option(help="Folder through which containers get the stages to run. Default: run them here.")
    ] = None,
    burst: Annotated[bool, typer.Option("--burst", help="Stop when the queue is empty.")] = False,
    service: Annotated[
        bool, typer.Option("--service", hidden=True, help="End with exit code 0 after bad input: see --install.")
    ] = False,
    install: Annotated[
        bool,
        typer.Option(
            "--install", help="Write a launchd (macOS) or systemd file that keeps a worker running, and exit."
        ),
    ] = False,
) -> None:
    """Run jobs for the hub. Start one worker for each device.

    Ctrl-C lets the worker finish its attempt; a second Ctrl-C ends the attempt now.
    """
    chosen = (("target", target), ("device", device), ("spool", spool))
    options = [f"--{name}={value}" for name, value in chosen if value]
    command = [
        sys.executable,
        "-m",
        "services.worker",
        *options,
        *(["--burst"] if burst else []),
        *(["--service"] if service else []),
    ]
    if install:
        from services.console.service_file import write_service_file

        print(write_service_file(command))
        return
    from services.console.env_file import load_env

    require("fleet")
    load_env()
    os.chdir(CHECKOUT)
    os.execv(sys.executable, command)
