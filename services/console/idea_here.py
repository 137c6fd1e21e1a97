"""An idea on this machine alone: into the book, and what its first run asks for."""

from typing import Any

from services.console.proposals import register
from services.console.research import Here, arguments, tell
from shared.experiment.request import TrainRequest, build_job, default_recipe

OWN = {"preset", "set", "seed", "target", "idea"}


def first_run(
    request: TrainRequest, source: bytes | None, note: str, parent: str | None, seed_given: bool
) -> tuple[dict[str, Any], bytes]:
    """(request, recipe). ValueError for an idea that was tested before, or that cannot be run here."""
    if seed_given:
        raise ValueError("the seeds of an idea are drawn for it: leave out --seed, or --note and --parent")
    job, content = build_job(request, source)  # nothing is written down that could not be run
    asked = {name: value for name, value in request.model_dump(mode="json", exclude_defaults=True).items()}
    terms = {name: value for name, value in asked.items() if name not in OWN}
    idea, trial = register(
        Here(),
        content if source else default_recipe(job.engine).read_bytes(),
        engine=job.engine,
        target=job.target,
        asked=terms,
        note=note,
        parent=parent,
        preset=request.preset,
        settings=request.set,
    )
    tell(f"idea {idea.id}, compared with {idea.parent or 'nothing: it is a start'}")
    return arguments(idea, trial, 0), content
