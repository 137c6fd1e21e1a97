"""The `autoresearch` command. Each subcommand is one file here; `--help` imports none of the work.

Exit codes: 0 done, 1 the experiment ended without a number, 2 bad input (one line says what), 130 cancelled.
"""

import sys

import typer

from services.console import evaluate, prepare, runs, train, ui

app = typer.Typer(
    help="Language-model research on the hardware you own: one recipe, a fixed budget, one number (val_bpb).",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for command in (prepare.prepare, train.train, evaluate.evaluate, runs.runs, ui.ui):
    app.command()(command)


def main() -> None:
    try:
        app()
    except ValueError as error:
        print(f"autoresearch: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:
        print(f"autoresearch: {error.strerror or error}: {error.filename or ''}".rstrip(": "), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
