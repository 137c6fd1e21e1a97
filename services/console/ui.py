"""`autoresearch ui`: shows runs in MLflow: the hub's pages when there is a hub, else those of the local store."""

import json
import os
import subprocess
import sys
from typing import Annotated

import typer

from services.console import browser
from services.console.browser import Page
from services.console.env_file import use_tracking_of_hub
from shared.machine.ports import free_port_from, is_free
from shared.settings import default_mlflow_port, settings

PAGE = "/#/experiments?workflowType=machine_learning"
"""without the last part a fresh browser opens MLflow's page for chat traces"""


def ui(
    port: Annotated[
        int | None,
        typer.Option(
            min=1, max=65535, help="Port of the pages. Default: 5000 (5050 on a Mac) or the next one that is free."
        ),
    ] = None,
) -> None:
    """Show your runs in MLflow, sorted by val_bpb: the hub's page if .env names one, else a server until Ctrl-C."""
    use_tracking_of_hub()
    if settings().tracking_uri:
        browser.show(pages_to_open(""))
        return
    port = chosen_port(port)
    make_store()
    show_when_it_answers(pages_to_open(f"http://127.0.0.1:{port}"))
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its job runner holds 1.3 GB for nothing here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    print("starting MLflow's server; its address follows when it answers. Ctrl-C stops it", flush=True)
    command = ["mlflow", "server", "--backend-store-uri", settings().mlflow_uri, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(settings().runs / "mlflow-artifacts")]
    os.execv(sys.executable, [sys.executable, "-m", *command])


def show_when_it_answers(found: list[Page]) -> None:
    command = [sys.executable, "-m", "services.console.browser", json.dumps(found), str(os.getpid())]
    subprocess.Popen(command, start_new_session=True)


def pages_to_open(server: str) -> list[Page]:
    """What to say of each page, and its address. ValueError when a server elsewhere does not answer."""
    if found := known_pages(server):
        return [(f"runs on {target}, sorted by val_bpb", address) for target, address in found]
    return [("there are no runs yet", (server or without_passwords()) + PAGE)]


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
