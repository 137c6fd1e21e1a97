"""The `autoresearch` command. Each subcommand is one file here; `--help` stays fast, because it imports no framework.

Exit codes: 0 success, 1 the experiment ended without a number, 2 wrong input, 74 a full disk or a folder that is closed
to us, 130 interrupted; one line explains those but 1. `decide` has its own.
"""

import errno
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, NoReturn

import typer

from services.console.packages import what_is_missing
from services.console.version import say_version
from shared.settings import CHECKOUT
from shared.stages.executors import BAD_INPUT, DISK_FAULT

HELP = "Language-model research on the hardware you own: train a recipe for a fixed budget and score it (val_bpb)."
LOCAL = ("prepare", "calibrate", "train", "sweep", "evaluate", "ui")
FLEET = ("submit", "status", "wait", "cancel", "requeue", "logs")
RESEARCH = ("brief", "decide", "best", "history", "diff")
REVIEW = ("transfer", "prune", "report", "mcp")
OPERATION = ("hub", "worker", "drain", "doctor")
PROJECT = ("golf",)
GROUPS = ("runs", "defaults", "lab")
EVERY = (*LOCAL, *FLEET, *RESEARCH, *REVIEW, *OPERATION, *PROJECT, *GROUPS)
"""names of modules here, each with a function of that name, or in GROUPS with an `app`"""


def application(names: Sequence[str] = EVERY) -> typer.Typer:
    """The command with these subcommands."""
    app = typer.Typer(help=HELP, pretty_exceptions_enable=False)
    app.callback()(options_of_all)  # without one, one subcommand alone would be the command itself
    for name in names:
        module = import_module(f"services.console.{name}")
        if name in GROUPS:
            app.add_typer(module.app, name=name)
        else:
            app.command()(getattr(module, name))
    return app


def options_of_all(
    version: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=say_version, help="Print the version and its commit.")
    ] = False,
) -> None: ...


def named(arguments: Sequence[str]) -> Sequence[str]:
    """Only the subcommand that was named is imported: beside a run on the CPU, every second of work is noise."""
    return arguments[:1] if arguments and arguments[0] in EVERY else EVERY


CLOSED = (errno.EACCES, errno.EPERM, errno.EROFS)


def main() -> None:
    if not (CHECKOUT / "pyproject.toml").is_file():
        fail(
            f"this is an installed copy in {CHECKOUT}, and the project runs from its checkout: clone the repository, "
            "run `make setup` in it, and use its .venv/bin/autoresearch"
        )
    try:
        arguments = sys.argv[1:] or ["--help"]
        sys.exit(application(named(arguments))(arguments, prog_name="autoresearch", standalone_mode=False))
    except typer.TyperException as error:
        fail_at_usage(error)
    except ValueError as error:
        fail(str(error))
    except ModuleNotFoundError as error:
        fail(what_is_missing(error))
    except OSError as error:
        fail(f"{error.strerror or error}: {error.filename or ''}".rstrip(": ") + advice_for(error), DISK_FAULT)


def fail_at_usage(error: typer.TyperException) -> NoReturn:
    """What is missing is not explained by its name alone. Without a message, help was printed."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    if not message:
        sys.exit(BAD_INPUT)
    if context and message.startswith("Missing"):
        message += f" `autoresearch {context.command_path.partition(' ')[2]} --help` explains it"
    fail(message)


def advice_for(error: OSError) -> str:
    if error.errno in CLOSED:
        return "; set ARE_RUNS and ARE_HOME (of a sweep --results) to folders that you may write"
    return "; `autoresearch runs prune` makes room" if error.errno == errno.ENOSPC else ""


def fail(message: str, code: int = BAD_INPUT) -> NoReturn:
    print("autoresearch:", *message.split(), file=sys.stderr)
    sys.exit(code)
