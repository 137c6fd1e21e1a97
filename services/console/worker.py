"""`autoresearch worker`: takes jobs of this machine's target, one at a time."""

import os
import sys
from typing import Annotated

import typer

from shared.settings import CHECKOUT


def worker(
    target: Annotated[str | None, typer.Option(help="Queue to work on. Default: what this machine is.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda:N, metal or cpu. Default: the best there is.")] = None,
    spool: Annotated[str | None, typer.Option(help="Hand stages to containers through this folder.")] = None,
    burst: Annotated[bool, typer.Option("--burst", help="End when the queue is empty.")] = False,
    install: Annotated[
        bool, typer.Option("--install", help="Write a launchd (macOS) or systemd file that keeps a worker running.")
    ] = False,
) -> None:
    """Work for the hub. One worker a device; Ctrl-C once lets the attempt end, twice ends it now."""
    chosen = (("target", target), ("device", device), ("spool", spool))
    options = [f"--{name}={value}" for name, value in chosen if value]
    command = [sys.executable, "-m", "services.worker", *options, *(["--burst"] if burst else [])]
    if install:
        from services.console.service_file import write_service_file

        print(write_service_file(command))
        return
    from services.console.hub_connection import load_env

    load_env()
    os.chdir(CHECKOUT)
    os.execv(sys.executable, command)
