"""`autoresearch ui`: shows the runs in MLflow, of the local store or of the server that they are recorded on."""

import os
import subprocess
import sys
from typing import Annotated

import typer

from services.console import browser
from shared.settings import default_mlflow_port, settings


def ui(
    port: Annotated[int, typer.Option(help="Port of the pages: http://127.0.0.1:PORT.")] = default_mlflow_port(),
) -> None:
    """Serve MLflow's pages with the runs of this machine until you press Ctrl-C, and open the one that shows val_bpb.

    With ARE_TRACKING_URI set, only open the page of that server.
    """
    elsewhere = settings().tracking_uri
    addresses = announce("" if elsewhere else f"http://127.0.0.1:{port}")
    if browser.has_screen():
        subprocess.Popen([sys.executable, "-m", "services.console.browser", addresses[0]], start_new_session=True)
    if elsewhere:
        return
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"  # its job runner holds 1.3 GB for nothing here
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    print("press Ctrl-C to stop the server", flush=True)
    command = ["mlflow", "server", "--backend-store-uri", settings().mlflow_uri, "--port", str(port), "--workers", "1"]
    command += ["--default-artifact-root", str(settings().runs / "mlflow-artifacts")]
    os.execv(sys.executable, [sys.executable, "-m", *command])


def announce(server: str) -> list[str]:
    """Prints where to look, and returns it. ValueError when a server elsewhere does not answer."""
    found = known_pages(server)
    for target, address in found:
        print(f"open {address} in a browser: runs on {target}, sorted by val_bpb", flush=True)
    if not found:
        # without the last part a fresh browser opens MLflow's page for chat traces
        found = [("", f"{server or settings().tracking_uri}/#/experiments?workflowType=machine_learning")]
        print(f"open {found[0][1]} in a browser; there are no runs yet", flush=True)
    return [address for _, address in found]


def known_pages(server: str) -> list[tuple[str, str]]:
    if server and not (settings().runs / "mlflow.db").exists():
        return []
    from shared.tracking.mlflow_store import Unreachable
    from shared.tracking.pages import pages

    try:
        return pages(server)
    except Unreachable as error:
        raise ValueError(f"{error}: start it (`make hub`), or unset ARE_TRACKING_URI to see local runs") from None
