"""`autoresearch train`: one experiment on this machine, from a recipe to its score."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from services.console import progress, summary
from services.console.idea_here import as_idea
from services.console.interruption import ends_like_ctrl_c
from services.console.options import AsJson, Note, Parent
from services.console.packages import require
from services.console.prepare import make_dataset
from shared.contracts import PrepareJob
from shared.data.dataset import prepared_datasets
from shared.experiment.request import TrainRequest, build_job, validated
from shared.experiment.run import resume as resume_run
from shared.experiment.run import run
from shared.runs.directory import RunDirectory
from shared.runs.recipe_file import read_source
from shared.stages.executors import NativeExecutor

DEMO, STDERR = PrepareJob(corpus="stdlib"), 2
SET_HELP = "Change one value of the shape, or attention, compile, dtype or eval_batch_size."


def train(
    context: typer.Context,
    recipe: Annotated[
        Path | None, typer.Option(help="Recipe to train. Default: services/trainer/recipes/gpt_<engine>.py.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Model and batch shape: m5-tiny, m5-small, m5-balanced, m5-large, m5-xlarge, upstream."),
    ] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds of training (3 digits). Default: 300.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Train on this number of tokens instead of for a time.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the initial weights and of everything random.")] = 42,
    note: Note = None,
    parent: Parent = None,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help=SET_HELP)] = None,
    rung: Annotated[
        str, typer.Option(help="How much validation text is scored: auto, cheap, reference or full.")
    ] = "auto",
    smoke: Annotated[
        bool, typer.Option("--smoke", help="One quick pass through everything; the result is never ranked.")
    ] = False,
    dataset: Annotated[
        str | None, typer.Option(help="Name of a prepared dataset. Default: the one that was prepared last.")
    ] = None,
    engine: Annotated[str | None, typer.Option(help="torch or mlx. Default: the one that suits this machine.")] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda:N, mps, metal or cpu. Default: the best device of this machine.")
    ] = None,
    target: Annotated[
        str | None, typer.Option(help="Stop with an error unless this machine is of this target.")
    ] = None,
    checkpoint_every: Annotated[
        float | None,
        typer.Option(help="Seconds of training between checkpoints. Default: 300, for budgets above 300 s."),
    ] = None,
    checkpoint_mode: Annotated[
        str, typer.Option(help="sync: training waits while a checkpoint is written; async: it continues.")
    ] = "sync",
    curve_points: Annotated[int, typer.Option(help="Also score the weights at this many points during training.")] = 0,
    json: AsJson = False,
    resume: Annotated[
        Path | None,
        typer.Option(metavar="RUN_DIR", help="Continue an interrupted run. No other option may be given with it."),
    ] = None,
) -> None:
    """Train a recipe for a fixed budget, score and record it, and print val_bpb (bits per byte, lower is better)."""
    if resume is not None:
        refuse_others(context)
        refuse_what_is_no_run(resume)
        with ends_like_ctrl_c():
            raise typer.Exit(_resume(RunDirectory(resume.resolve())))
    request = dict(
        preset=preset, time_budget=time_budget, tokens=tokens, seed=seed, set=pairs(set_ or []), rung=rung,
        smoke=smoke, dataset=dataset, engine=engine, device=device, target=target,
        checkpoint_every=checkpoint_every, checkpoint_mode=checkpoint_mode, curve_points=curve_points,
    )  # fmt: skip
    source = read_recipe(recipe) if recipe else None
    request, source = as_idea(request, source, note, parent, was_given(context, "seed"))
    with ends_like_ctrl_c():
        raise typer.Exit(_train(validated(TrainRequest, request), source, json))


def prepare_demo() -> None:
    """A smoke run is what people type first: in a fresh clone it makes the dataset that it needs."""
    if prepared_datasets():
        return
    print("autoresearch: no dataset is prepared, so the demo corpus stdlib is prepared first, offline", file=sys.stderr)
    if code := make_dataset(DEMO, reports_to=STDERR):  # stdout is the summary's
        raise typer.Exit(code)


def _train(request: TrainRequest, recipe_source: bytes | None, json: bool) -> int:
    if request.smoke and request.dataset is None:
        prepare_demo()
    job, source = build_job(request, recipe_source)
    require(job.engine)
    directory = RunDirectory.of(job.run_id)
    summary.announce(job, directory)
    with resumable(directory), progress.shown(directory) as watch:
        result = run(job, source, NativeExecutor(), watch)
    return summary.conclude(result, directory, json)


def _resume(directory: RunDirectory) -> int:
    with resumable(directory), progress.shown(directory) as watch:
        result = resume_run(directory, NativeExecutor(), watch)
    return summary.conclude(result, directory)


def refuse_what_is_no_run(folder: Path) -> None:
    if not (folder / "job.json").is_file():
        raise ValueError(
            f"{folder} is no run's folder, it has no job.json: give the one that `train` printed behind `run`"
        )


def refuse_others(context: typer.Context) -> None:
    """A resumed run follows its own job, so another option would have no effect: refuse it instead of ignoring it."""
    given = [parameter for parameter in context.command.params if was_given(context, parameter.name)]
    if others := [parameter.opts[0] for parameter in given if parameter.name != "resume"]:
        raise ValueError(f"--resume continues the run's job unchanged, so leave out {', '.join(others)}")


def was_given(context: typer.Context, name: str | None) -> bool:
    source = context.get_parameter_source(name or "")
    return source is not None and source.name == "COMMANDLINE"


@contextmanager
def resumable(directory: RunDirectory) -> Iterator[None]:
    """Says how to continue when the work ends without a result but has left something to continue from."""
    hint = f"continue it with: autoresearch train --resume {directory.path}"
    try:
        yield
    except KeyboardInterrupt:
        print(f"autoresearch: the run was interrupted; {hint}", file=sys.stderr)
        raise
    except (ValueError, OSError) as error:
        told_by_a_stage = not getattr(error, "strerror", None)
        if not directory.training_file.exists() or not told_by_a_stage:
            raise
        raise type(error)(f"{error}; after that, {hint}") from None


def read_recipe(path: Path) -> bytes:
    if not path.is_file():
        raise ValueError(f"the recipe {path} does not exist")
    return read_source(path)


def pairs(items: list[str], wanted: str = "--set needs KEY=VALUE, for example depth=4") -> dict[str, str]:
    """ValueError says what is `wanted`."""
    parsed = {}
    for item in items:
        key, separator, value = item.partition("=")
        if not separator:
            raise ValueError(f"{wanted}, but got '{item}'")
        parsed[key.strip()] = value.strip()
    return parsed
