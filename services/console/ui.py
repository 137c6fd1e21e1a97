"""`autoresearch ui`: the MLflow pages of the local store, on loopback."""

import os
import sys
from typing import Annotated

import typer

from shared.settings import settings


def ui(port: Annotated[int, typer.Option(help="Where the pages are: http://127.0.0.1:PORT.")] = 5000) -> None:
    """Open the MLflow UI of this machine's runs."""
    if settings().tracking_uri:
        raise ValueError(f"runs are recorded on {settings().tracking_uri}: open that address")
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its job runner holds 1.3 GB for nothing here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    # without the last part a fresh browser opens MLflow's page for chat traces
    page = f"http://127.0.0.1:{port}/#/experiments?workflowType=machine_learning"
    print(f"MLflow: {page}  (Ctrl-C ends it)", flush=True)
    command = ["mlflow", "server", "--backend-store-uri", settings().mlflow_uri, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(settings().runs / "mlflow-artifacts")]
    os.execv(sys.executable, [sys.executable, "-m", *command])
