"""`autoresearch submit`: experiments for the fleet, checked here before they wait in a queue."""

import json as json_module
import secrets
from itertools import product
from pathlib import Path
from typing import Annotated, Any

import typer

from services.console import wait as waiting
from services.console.train import pairs, read_recipe
from shared.experiment.presets import find_preset
from shared.experiment.recipe import check_source
from shared.experiment.request import TrainRequest, validated
from shared.machine.targets import find_target
from shared.stages.table import job_path

JOB_FUNCTION = job_path("train")


def submit(
    recipe: Annotated[Path | None, typer.Option(help="The recipe to train. Default: the worker's own.")] = None,
    target: Annotated[list[str] | None, typer.Option(help="Queue: gb10, h100, mac, cpu, ... May be repeated.")] = None,
    preset: Annotated[list[str] | None, typer.Option(help="May be repeated. Default: the worker's.")] = None,
    seed: Annotated[list[int] | None, typer.Option(help="May be repeated. Default: 42.")] = None,
    time_budget: Annotated[float | None, typer.Option(help="Seconds of training. Default: 300.")] = None,
    tokens: Annotated[int | None, typer.Option(help="Train on this many tokens instead of a time.")] = None,
    dataset: Annotated[str | None, typer.Option(help="Dataset as the workers know it. Default: their latest.")] = None,
    rung: Annotated[str, typer.Option(help="Evaluation fidelity: auto, cheap, reference, full.")] = "auto",
    smoke: Annotated[bool, typer.Option("--smoke", help="Everything once in under a minute; never ranked.")] = False,
    set_: Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="As for train.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for all of them, showing how far they are.")] = False,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, for programs.")] = False,
) -> None:
    """Enqueue one experiment for every combination of targets, presets and seeds. Prints their group and ids."""
    if not target:
        raise ValueError("say which --target: each is a queue of its own (autoresearch status shows what waits)")
    common = dict(
        time_budget=time_budget, tokens=tokens, dataset=dataset, rung=rung, smoke=smoke, set=pairs(set_ or [])
    )
    source = checked_source(recipe) if recipe else None
    presets: list[str | None] = [*preset] if preset else [None]
    requests = [
        checked(common | {"target": name, "preset": shape, "seed": number})
        for name, shape, number in product(target, presets, seed or [42])
    ]
    group_id, job_ids = enqueue(requests, source)
    if json:
        print(json_module.dumps({"group": group_id, "jobs": job_ids}))
    else:
        print(f"group {group_id}", *job_ids, sep="\n")
    if wait:
        raise typer.Exit(waiting.until_over([group_id], json=json))


def checked(arguments: dict[str, Any]) -> dict[str, Any]:
    """ValueError for what no worker would accept; what only a worker knows (datasets, devices) is left to it."""
    request = validated(TrainRequest, arguments)
    find_target(request.target)
    if request.preset is not None:
        find_preset(request.preset)
    if request.time_budget is not None and request.tokens is not None:
        raise ValueError("a budget is either --time-budget or --tokens")
    return request.model_dump(mode="json", exclude_defaults=True) | {"target": request.target}


def checked_source(path: Path) -> str:
    source = read_recipe(path)
    check_source(source, path.name)
    return source.decode()


def enqueue(requests: list[dict[str, Any]], source: str | None) -> tuple[str, list[str]]:
    """Every job, or ValueError: when the hub goes away half-way it says which jobs were enqueued."""
    from services.console.hub_connection import hub, queue, store

    group_id, job_ids = f"g-{secrets.token_hex(4)}", []
    try:
        with hub() as connection:
            connection.ping()
            for number, arguments in enumerate(requests):
                kwargs = arguments | ({"recipe": source} if source else {})
                job_id = f"{group_id[2:]}-{number:02d}-{arguments['target']}-s{arguments.get('seed', 42)}"
                store(connection).add_to_group(group_id, job_id)
                queue(arguments["target"], connection).enqueue_call(JOB_FUNCTION, kwargs=kwargs, job_id=job_id)
                job_ids.append(job_id)
    except ValueError as error:
        if not job_ids:
            raise
        done, last = f"{len(job_ids)} of {len(requests)} jobs", f"autoresearch status {group_id} shows whether one more"
        raise ValueError(f"{error}; before that {done} were enqueued: {', '.join(job_ids)} ({last} was)") from None
    return group_id, job_ids
