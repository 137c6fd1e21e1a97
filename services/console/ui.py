"""`autoresearch ui`: shows runs in MLflow: the hub's pages when there is a hub, else those of the local store."""

import os
import sys
from typing import Annotated

import typer

from services.console.env_file import use_tracking_of_hub
from services.console.ports import DEFAULT_MLFLOW_PORT, free_port_from, is_free
from shared.settings import settings

PAGE = "/#/experiments?workflowType=machine_learning"
"""without the last part a fresh browser opens MLflow's page for chat traces"""


def ui(
    port: Annotated[
        int | None, typer.Option(help="Port of the pages. Default: 5000, or the next one that is free.")
    ] = None,
) -> None:
    """Show your runs in MLflow: the hub's address if .env names one, else a server until you press Ctrl-C."""
    use_tracking_of_hub()
    if settings().tracking_uri:
        show_hub()
        return
    port = chosen_port(port)
    make_store()
    print(f"open http://127.0.0.1:{port}{PAGE} in a browser; press Ctrl-C to stop the server", flush=True)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its job runner holds 1.3 GB for nothing here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    command = ["mlflow", "server", "--backend-store-uri", settings().mlflow_uri, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(settings().runs / "mlflow-artifacts")]
    os.execv(sys.executable, [sys.executable, "-m", *command])


def show_hub() -> None:
    """ValueError when nobody answers there."""
    from shared.tracking.mlflow_store import Unreachable, probe, without_passwords

    try:
        probe(settings().tracking_uri)
    except Unreachable as error:
        raise ValueError(
            f"runs are recorded at the hub's MLflow, which does not answer ({error}): start it with `make hub`, or "
            "unset ARE_TRACKING_URI and move .env away to use the store of this machine"
        ) from None
    print(f"your runs are recorded at the hub: open {without_passwords(settings().tracking_uri).rstrip('/')}{PAGE}")


def chosen_port(asked: int | None) -> int:
    """ValueError when the one that was asked for is taken."""
    if asked is None:
        return free_port_from(DEFAULT_MLFLOW_PORT)
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
