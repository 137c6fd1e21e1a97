"""An idea on the fleet: into the book, and its first run into the queue of each target."""

import secrets
from collections.abc import Mapping
from typing import Any

from services.console.proposals import described, register
from services.console.research import Fleet
from services.console.submit import checked
from shared.machine.targets import find_target
from shared.research.book import Trial
from shared.runs.shipped import default_recipe

NATIVE_ENGINE = {"mac": "mlx"}


def enqueue_idea(
    source: str | None, targets: list[str], common: Mapping[str, Any], own: Mapping[str, Any]
) -> tuple[str, list[str], dict[str, Any]]:
    """(group, jobs, what was submitted). ValueError for an idea that was tested before, or that no worker would run."""
    settings = common["set"]
    asked = {name: value for name, value in checked_terms(common, own, targets).items() if name != "target"}
    engine = NATIVE_ENGINE.get(find_target(targets[0]).name, "torch")
    content = source.encode() if source else default_recipe(engine).read_bytes()
    place, jobs, group = Fleet(), [], f"g-{secrets.token_hex(4)}"
    idea, trial = register(place, content, engine=engine, target=targets[0], asked=asked, settings=settings, **own)
    about = described(idea, trial, place.known())
    for target in targets:
        there = Trial(idea=idea.id, target=target, asked=trial.asked)
        if there != trial:
            place.append(there)
        jobs += place.enqueue(idea, there, [0], group)
    return group, jobs, about


def checked_terms(common: Mapping[str, Any], own: Mapping[str, Any], targets: list[str]) -> dict[str, Any]:
    """What all runs of the idea ask for, beside its own settings."""
    asked = dict(common) | {"preset": own["preset"]}
    plain, *_ = [checked(asked | {"target": target}) for target in targets]
    return {name: value for name, value in plain.items() if name not in ("preset", "set")}
