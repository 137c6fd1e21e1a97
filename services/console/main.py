"""The `autoresearch` command. Each subcommand is one file here; `--help` stays fast, because it imports no framework.

Exit codes: 0 success, 1 the experiment ended without a number, 2 wrong input, 74 a full disk or a folder that is closed
to us, 130 interrupted; one line explains those but 1. `decide` has its own.
"""

import errno
import sys
from typing import NoReturn

import typer

from services.console import (
    best,
    brief,
    calibrate,
    cancel,
    decide,
    defaults,
    diff,
    doctor,
    drain,
    evaluate,
    golf,
    history,
    hub,
    lab,
    logs,
    mcp,
    prepare,
    prune,
    report,
    requeue,
    runs,
    status,
    submit,
    sweep,
    train,
    transfer,
    ui,
    wait,
    worker,
)
from services.console.packages import what_is_missing
from shared.settings import CHECKOUT
from shared.stages.executors import BAD_INPUT, DISK_FAULT

app = typer.Typer(
    help="Language-model research on the hardware you own: train a recipe for a fixed budget and score it (val_bpb).",
    pretty_exceptions_enable=False,
)
LOCAL = (prepare.prepare, calibrate.calibrate, train.train, sweep.sweep, evaluate.evaluate, ui.ui)
FLEET = (submit.submit, status.status, wait.wait, cancel.cancel, requeue.requeue, logs.logs)
RESEARCH = (brief.brief, decide.decide, best.best, history.history, diff.diff)
REVIEW = (transfer.transfer, prune.prune, report.report, mcp.mcp)
OPERATION = (hub.hub, worker.worker, drain.drain, doctor.doctor)
PROJECT = (golf.golf,)
for command in (*LOCAL, *FLEET, *RESEARCH, *REVIEW, *OPERATION, *PROJECT):
    app.command()(command)
app.add_typer(runs.app, name="runs")
app.add_typer(defaults.app, name="defaults")
app.add_typer(lab.app, name="lab")


CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def main() -> None:
    if not (CHECKOUT / "pyproject.toml").is_file():
        fail(
            f"this is an installed copy in {CHECKOUT}, and the project runs from its checkout: clone the repository, "
            "run `make setup` in it, and use its .venv/bin/autoresearch"
        )
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as error:
        fail(error.format_message())
    except ValueError as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        fail(what_is_missing(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ") + advice_for(error), DISK_FAULT)


def advice_for(error: OSError) -> str:
    if error.errno in CLOSED:
        return "; set ARE_RUNS and ARE_HOME (of a sweep --results) to folders that you may write"
    return "; `autoresearch runs prune` makes room" if error.errno == errno.ENOSPC else ""


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    print("autoresearch:", *message.split(), file=sys.stderr)
    sys.exit(code)
