"""`autoresearch ui`: shows runs in MLflow: the hub's pages when there is a hub, else those of the local store."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from services.console import browser
from services.console.env_file import use_tracking_of_hub
from shared.machine.ports import free_port_from, is_free
from shared.settings import default_mlflow_port, settings

PAGE = "/#/experiments?workflowType=machine_learning"
"""without the last part a fresh browser opens MLflow's page for chat traces"""


def ui(
    port: Annotated[
        int | None, typer.Option(help="Port of the pages. Default: 5000 (5050 on a Mac), or the next one that is free.")
    ] = None,
) -> None:
    """Show your runs in MLflow, sorted by val_bpb: the hub's page if .env names one, else a server until Ctrl-C."""
    use_tracking_of_hub()
    if settings().tracking_uri:
        show(announce(""))
        return
    port = chosen_port(port)
    make_store()
    show(announce(f"http://127.0.0.1:{port}"))
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its job runner holds 1.3 GB for nothing here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    print("press Ctrl-C to stop the server", flush=True)
    command = ["mlflow", "server", "--backend-store-uri", settings().mlflow_uri, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(settings().runs / "mlflow-artifacts")]
    os.execv(sys.executable, [sys.executable, "-m", *command])


def show(addresses: list[str]) -> None:
    if browser.has_screen():
        subprocess.Popen([sys.executable, "-m", "services.console.browser", addresses[0]], start_new_session=True)


def announce(server: str) -> list[str]:
    """Prints where to look, and returns it. ValueError when a server elsewhere does not answer."""
    found = known_pages(server)
    for target, address in found:
        print(f"open {address} in a browser: runs on {target}, sorted by val_bpb", flush=True)
    if not found:
        found = [("", (server or without_passwords()) + PAGE)]
        print(f"open {found[0][1]} in a browser; there are no runs yet", flush=True)
    return [address for _, address in found]


def without_passwords() -> str:
    from shared.tracking import mlflow_store

    return mlflow_store.without_passwords(settings().tracking_uri).rstrip("/")


def known_pages(server: str) -> list[tuple[str, str]]:
    from shared.tracking.mlflow_store import Unreachable
    from shared.tracking.pages import pages

    try:
        return pages(server)
    except Unreachable as error:
        raise ValueError(
            f"runs are recorded at the hub's MLflow, which does not answer ({error}): start it with `make hub`, or "
            "unset ARE_TRACKING_URI and move .env away to use the store of this machine"
        ) from None


def chosen_port(asked: int | None) -> int:
    """ValueError when the one that was asked for is taken."""
    if asked is None:
        return free_port_from(default_mlflow_port())
    if not is_free(asked):
        raise ValueError(f"port {asked} is taken: leave --port out, and a free one is chosen")
    return asked


def make_store() -> None:
    """Whole before the server opens it; ValueError while another process records its first run."""
    from filelock import Timeout

    from shared.tracking.outbox import make_local_store

    try:
        make_local_store()
    except Timeout:
        raise ValueError("another process is recording a run: try again in some seconds") from None
