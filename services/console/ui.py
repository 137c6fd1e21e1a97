"""`autoresearch ui`: shows the runs of the local store in MLflow, on this machine only."""

import os
import sys
from typing import Annotated

import typer

from shared.settings import default_mlflow_port, settings


def ui(
    port: Annotated[int, typer.Option(help="Port of the pages: http://127.0.0.1:PORT.")] = default_mlflow_port(),
) -> None:
    """Serve MLflow's pages with the runs of this machine until you press Ctrl-C."""
    if settings().tracking_uri:
        raise ValueError(f"runs are recorded on the server {settings().tracking_uri}. Open that address in a browser")
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its job runner holds 1.3 GB for nothing here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # without the last part a fresh browser opens MLflow's page for chat traces
    page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
    print(f"open {page} in a browser; press Ctrl-C to stop the server", flush=True)
    command = ["mlflow", "server", "--backend-store-uri", settings().mlflow_uri, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(settings().runs / "mlflow-artifacts")]
    os.execv(sys.executable, [sys.executable, "-m", *command])
