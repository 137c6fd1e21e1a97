"""Asks the kernel lab one thing and shows the answer. Exit code 0: yes; 1: no, or something is missing here."""

from pathlib import Path
from typing import Any

import typer

from services.console.interruption import ends_like_ctrl_c
from services.console.lab_progress import shown
from shared.experiment.request import validated
from shared.stages.executors import NativeExecutor, raise_fault


def ask(model: str, as_json: bool, **values: Any) -> None:
    """model: name of a command in shared/kernel_lab/job.py. ValueError for wrong input."""
    from shared.kernel_lab import job as commands

    given = {name: _from_here(value) for name, value in values.items() if value is not None}
    job = commands.LabJob(command=validated(getattr(commands, model), given))
    with ends_like_ctrl_c(), shown(job.id) as watch:
        code, line = NativeExecutor(term_timeout_s=30.0).execute("kernel-lab", [job.model_dump_json()], watch)
    raise_fault(code, line)
    if code:
        raise ValueError(f"the kernel lab was ended ({line or f'exit code {code}'}); run the same command again")
    answer = commands.take_answer(job)
    print(answer.model_dump_json(indent=2) if as_json else "\n".join([_said(answer), *answer.lines]))
    raise typer.Exit(0 if answer.status is commands.LabStatus.OK else 1)


def _from_here(value: Any) -> Any:
    """Stages run in the checkout, whatever the directory a relative path was meant in."""
    if isinstance(value, Path):
        return value.expanduser().absolute()
    if isinstance(value, str) and Path(value).expanduser().is_dir() and (Path(value) / "workspace.json").is_file():
        return str(Path(value).expanduser().absolute())
    return value


def _said(answer: Any) -> str:
    return answer.headline if answer.status in ("ok", "failed") else f"{answer.status}: {answer.headline}"
