"""`autoresearch submit`: puts experiments into the queues of the fleet, after checking them here."""

import json as json_module
import secrets
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from services.console import wait as waiting
from services.console.options import Note, Parent
from services.console.status import document, show
from services.console.train import pairs, read_recipe
from shared.experiment.presets import find_preset
from shared.experiment.recipe import check_source
from shared.experiment.request import TrainRequest, validated
from shared.machine.hardware import target_here
from shared.machine.targets import find_target
from shared.stages.table import job_path
from shared.time_budget import said

TRAIN, CALIBRATE = job_path("train"), job_path("calibrate")


def submit(
    recipe: Annotated[Path | None, typer.Option(help="Recipe to train. Default: the worker's own recipe.")] = None,
    target: Annotated[
        list[str] | None, typer.Option(help="Hardware: gb10, mac, cpu, ... Repeat it for several.")
    ] = None,
    preset: Annotated[list[str] | None, typer.Option(help="As for train. Repeat it for several.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="Default: 42. Repeat it for several.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds of training (3 digits). Default: 300.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Train on this number of tokens instead of for a time.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Name of a dataset. Default: the worker's latest.")] = None,
    rung: Annotated[str, typer.Option(help="Text that is scored: auto, cheap, reference or full.")] = "auto",
    smoke: Annotated[bool, typer.Option("--smoke", help="One quick pass through everything; never ranked.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for train.")] = None,
    note: Note = None,
    parent: Parent = None,
    calibrate: Annotated[
        str | None, typer.Option(metavar="MODE", help="Calibrate the targets instead: fast or full.")
    ] = None,
    first: Annotated[bool, typer.Option("--first", help="Put them at the front of their queues.")] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until all have ended, and show progress.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, for programs.")] = False,
) -> None:
    """Enqueue one experiment for every combination of targets, presets and seeds.

    It prints the name of their group and the name of each job. With --note, the recipe becomes an idea, and its first
    run is enqueued on each target, with a seed that is drawn for it. With --wait, the exit code is that of `wait`.
    """
    if not target:
        example = f"--target {target_here()} for this machine"
        raise ValueError(f"choose the kind of hardware, for example {example}: each has a queue of its own")
    about: dict[str, Any] = {}
    common = dict(
        time_budget=time_budget, tokens=tokens, dataset=dataset, rung=rung, smoke=smoke, set=pairs(set_ or [])
    )
    if calibrate is not None:
        refuse_train_options(recipe=recipe, seed=seed, tokens=tokens, smoke=smoke, set=set_, note=note, parent=parent)
        wanted = {"mode": calibrate, "presets": preset or (), "time_budget": time_budget, "dataset": dataset}
        group_id, job_ids = enqueue(CALIBRATE, [checked_calibration(wanted, name) for name in target], None, first)
    elif note is not None or parent is not None:
        from services.console.idea_jobs import enqueue_idea

        refuse_for_idea(seed=seed, preset=(preset or [])[1:])
        own = {"note": note or "", "parent": parent, "preset": preset[0] if preset else None}
        if first:
            raise ValueError("--first is for experiments of their own: leave out --note and --parent")
        group_id, job_ids, about = enqueue_idea(checked_source(recipe) if recipe else None, target, common, own)
    else:
        source = checked_source(recipe) if recipe else None
        presets: list[str | None] = [*preset] if preset else [None]
        requests = [
            checked(common | {"target": name, "preset": shape, "seed": number})
            for name, shape, number in product(target, presets, seed or [42])
        ]
        group_id, job_ids = enqueue(TRAIN, requests, source, first)
    conclude(group_id, job_ids, wait, json, about)


def conclude(group_id: str, job_ids: list[str], wait: bool, json: bool, about: dict[str, Any]) -> None:
    """With --json one document at the very end: the group, its jobs and, if they were waited for, their outcomes."""
    if not json:
        if about:
            against = about["parent"] or "nothing: it is a start"
            print(f"idea {about['idea']}, {said(about['budget_seconds'])}, compared with {against}")
        print(f"group {group_id}", *job_ids, sep="\n", flush=True)
    views, code = waiting.until_over([group_id]) if wait else ([], 0)
    if json:
        ended = {"outcomes": document(views)["jobs"]} if wait else {}
        print(json_module.dumps({"group": group_id, "jobs": job_ids, **about, **ended}))
    elif wait:
        show(views, json=False)
    waiting.tell_in_vain(views)
    if code:
        raise typer.Exit(code)


def checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """ValueError for what no worker would accept. Datasets and devices are checked by the worker."""
    request = validated(TrainRequest, arguments)
    find_target(request.target)
    if request.preset is not None:
        find_preset(request.preset)
    if request.time_budget is not None and request.tokens is not None:
        raise ValueError("a budget is either --time-budget or --tokens")
    return request.model_dump(mode="json", exclude_defaults=True) | {"target": request.target}


def refuse_train_options(**options: Any) -> None:
    """ValueError instead of ignoring what a calibration has no use for."""
    if given := [f"--{name}" for name, value in options.items() if value]:
        raise ValueError(
            f"--calibrate trains the shipped recipe with seeds of its own, so leave out {', '.join(given)}"
        )


def refuse_for_idea(**options: Any) -> None:
    """ValueError for what would let somebody choose the runs by which an idea is judged."""
    if options["seed"]:
        raise ValueError("the seeds of an idea are drawn for it: leave out --seed, or --note and --parent")
    if options["preset"]:
        raise ValueError("an idea has one preset: submit it again with --preset for another")


def checked_calibration(arguments: dict[str, Any], target: str) -> dict[str, Any]:
    """ValueError for what no worker would accept."""
    from shared.calibration.job import CalibrationRequest

    given = {name: value for name, value in arguments.items() if value}
    request = validated(CalibrationRequest, given | {"target": find_target(target).name})
    return request.model_dump(mode="json", exclude_defaults=True) | {"target": target}


def checked_source(path: Path) -> str:
    source = read_recipe(path)
    check_source(source, path.name)
    return source.decode()


def enqueue(
    function: str, requests: list[dict[str, Any]], source: str | None, first: bool = False
) -> tuple[str, list[str]]:
    """(group, jobs), in the order in which they will run. ValueError if the hub goes away; it names the jobs that were
    already enqueued. first: before all that wait.
    """
    from services.console.hub_connection import hub, queue, store

    group_id, job_ids = f"g-{secrets.token_hex(4)}", []
    try:
        with hub() as connection:
            connection.ping()
            numbered = list(enumerate(requests))
            for number, arguments in reversed(numbered) if first else numbered:
                kwargs = arguments | ({"recipe": source} if source else {})
                job_id = f"{group_id[2:]}-{number:02d}-{arguments['target']}-s{arguments.get('seed', 42)}"
                store(connection).add_to_group(group_id, job_id)
                home = queue(arguments["target"], connection)
                home.enqueue_call(function, kwargs=kwargs, job_id=job_id, at_front=first, meta={"group": group_id})
                job_ids.append(job_id)
    except ValueError as error:
        if not job_ids:
            raise
        done, last = f"{len(job_ids)} of {len(requests)} jobs", f"autoresearch status {group_id} shows whether one more"
        raise ValueError(f"{error}; before that {done} were enqueued: {', '.join(job_ids)} ({last} was)") from None
    return group_id, job_ids[::-1] if first else job_ids
