"""MLflow's pages that show val_bpb, one for each target: `python -m shared.tracking.pages ADDRESS [TARGET]`.

ADDRESS is how a browser reaches the server, where that is not how this process does. The experiment of TARGET (this
machine's, if it is not given) is made if it is not there, so that a new hub has a page before its first run.
"""

import sys

from shared.machine.hardware import detect
from shared.settings import settings
from shared.tracking.mlflow_store import experiment_of, reachable_client, without_passwords
from shared.tracking.saved_view import views


def pages(address: str = "", also: str | None = None) -> list[tuple[str, str]]:
    """(target, address) of every kind of hardware that has runs, the newest first, and of target `also`.

    Unreachable when the server does not answer.
    """
    server = address or without_passwords(settings().mlflow_uri)
    with reachable_client() as client:
        if also:
            experiment_of(client, also)
        return [(target, f"{server.rstrip('/')}/{page}") for target, page in views(client)]


def main() -> int:
    try:
        target = sys.argv[2] if len(sys.argv) > 2 else detect(None).target
        found = pages(sys.argv[1], also=target)
    except Exception as error:  # a process edge: whoever asked goes on without the addresses
        print(without_passwords(" ".join(str(error).split())), file=sys.stderr)
        return 1
    for target, address in found:
        print(f"runs on {target}: {address}", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
