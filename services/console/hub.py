"""`autoresearch hub`: the queue and the tracking server of a fleet, on this machine, without Docker."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from shared.settings import settings


def hub(
    bind: Annotated[
        str,
        typer.Option(envvar="HUB_BIND", help="Address to listen on. Anything but loopback opens both to the network."),
    ] = "127.0.0.1",
    redis_port: Annotated[int, typer.Option(envvar="HUB_REDIS_PORT", help="Port of the queue.")] = 6379,
    mlflow_port: Annotated[int, typer.Option(envvar="HUB_MLFLOW_PORT", help="Port of the MLflow server.")] = 5000,
    data: Annotated[Path | None, typer.Option(help="Where jobs and runs are kept. Default: ARE_HOME/hub.")] = None,
) -> None:
    """Run Redis and MLflow until Ctrl-C. Passwords are made once and kept in .env, for this user's eyes only."""
    from services.console.hub_credentials import Hub, keep_credentials
    from services.console.hub_servers import Servers

    place = Hub(bind=bind, redis_port=redis_port, mlflow_port=mlflow_port, data=data or settings().home / "hub")
    credentials = keep_credentials(settings().env_file, place)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with Servers(place, credentials) as servers:
        print(
            f"queue   {place.redis_address}  ({servers.redis_kind})",
            f"MLflow  {place.mlflow_url}",
            f"secrets {settings().env_file}",
            sep="\n",
        )
        print("next: make worker (in another terminal), then autoresearch submit --target cpu --wait", flush=True)
        servers.until_one_ends()
