"""The `autoresearch` command. Each subcommand is one file here; `--help` stays fast, because it imports no framework.

Exit codes: 0 success, 1 the experiment ended without a number, 2 wrong input (one line explains it), 130 interrupted;
`decide` has its own.
"""

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

app = typer.Typer(
    help="Language-model research on the hardware you own: train a recipe for a fixed budget and score it (val_bpb).",
    pretty_exceptions_enable=False,
    add_completion=False,
)
LOCAL = (prepare.prepare, calibrate.calibrate, train.train, sweep.sweep, evaluate.evaluate, runs.runs, ui.ui)
FLEET = (submit.submit, status.status, wait.wait, cancel.cancel, requeue.requeue)
RESEARCH = (brief.brief, decide.decide, best.best, history.history, diff.diff)
REVIEW = (transfer.transfer, prune.prune, report.report, mcp.mcp)
OPERATION = (hub.hub, worker.worker, drain.drain, doctor.doctor)
PROJECT = (golf.golf,)
for command in (*LOCAL, *FLEET, *RESEARCH, *REVIEW, *OPERATION, *PROJECT):
    app.command()(command)
app.add_typer(defaults.app, name="defaults")


def main() -> None:
    try:
        sys.exit(app(sys.argv[1:] or ["--help"], standalone_mode=False))
    except typer.TyperException as error:
        fail(error.format_message())
    except ValueError as error:
        fail(str(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": "))


def fail(message: str) -> NoReturn:
    print("autoresearch:", *message.split(), file=sys.stderr)
    sys.exit(2)
