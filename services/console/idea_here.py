"""An idea on this machine alone: into the book, and what its first run asks for."""

from typing import Any

from services.console.proposals import register, tell_alike
from services.console.research import Here, arguments, check_tries, tell
from shared.contracts import Job
from shared.data.dataset import open_reference
from shared.experiment.request import TrainRequest, build_job, validated
from shared.research.book import Trial
from shared.research.idea import Idea
from shared.runs.shipped import default_recipe

OWN = {"preset", "set", "seed", "target", "idea"}


def as_idea(
    asked: dict[str, Any], source: bytes | None, note: str | None, parent: str | None, seed_given: bool
) -> tuple[dict[str, Any], bytes | None]:
    """(request, recipe), as they were where there is neither note nor parent.

    ValueError for an idea that was tested before, or that cannot be run here.
    """
    if note is None and parent is None:
        return asked, source
    return first_run(validated(TrainRequest, asked), source, note or "", parent, seed_given)


def first_run(
    request: TrainRequest, source: bytes | None, note: str, parent: str | None, seed_given: bool
) -> tuple[dict[str, Any], bytes]:
    """Writes the idea into the book: what its first run asks for, and its recipe."""
    if seed_given:
        raise ValueError("the seeds of an idea are drawn for it: leave out --seed, or --note and --parent")
    idea, trial, content = written_down(request, source, note, parent)
    check_tries(Here().known(), idea, trial, 0)
    tell(f"idea {idea.id}, compared with {idea.parent or 'nothing: it is a start'}")
    tell_alike(idea, Here().known())
    return arguments(idea, trial, 0), content


def written_down(
    request: TrainRequest, source: bytes | None, note: str, parent: str | None
) -> tuple[Idea, Trial, bytes]:
    """The idea as the book has it now, what its runs ask for, and its recipe."""
    job, content = build_job(request, source)  # nothing is written down that could not be run
    refuse_demo(job)
    asked = request.model_dump(mode="json", exclude_defaults=True)
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
    return idea, trial, content


def refuse_demo(job: Job) -> None:
    """ValueError for a corpus whose results nobody compares."""
    if open_reference(job.dataset).manifest.is_demo:
        raise ValueError(
            f"{job.dataset.name} is a demo corpus whose runs are never ranked, so no idea can be tested on it: "
            "`autoresearch prepare --corpus climbmix` makes a real one"
        )
