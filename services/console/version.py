"""`autoresearch --version`: what a report of a defect should name."""

import subprocess
from importlib.metadata import version

import typer

from shared.settings import CHECKOUT

PACKAGE = "autoresearch-everywhere"


def say_version(asked: bool) -> None:
    """With the commit, since the project runs from a checkout. Ends the command when it is asked for."""
    if asked:
        print(f"autoresearch {version(PACKAGE)} ({_commit()})")
        raise typer.Exit


def _commit() -> str:
    command = ["git", "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True)
    except OSError:
        return "commit unknown: git is missing"
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "commit unknown: no git checkout"
