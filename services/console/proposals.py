"""Writes an idea into the book before its first run: against which parent, and that nobody had it before."""

from collections.abc import Mapping, Sequence
from typing import Any

from services.console.research import Place, seconds_of, tell, whoami
from shared.experiment.presets import DEFAULT_BUDGET_S
from shared.research.alike import open_alike
from shared.research.book import OWN_TERMS, Proposal, Trial
from shared.research.comparable import Key, why_not
from shared.research.idea import Idea, new_nonce, propose
from shared.research.known import Known
from shared.runs.shipped import default_recipe

START = "none"
"""what --parent says for a recipe that is compared with nothing"""


def register(
    place: Place,
    source: bytes,
    *,
    engine: str,
    target: str,
    asked: Mapping[str, Any],
    note: str = "",
    parent: str | None = None,
    preset: str | None = None,
    settings: Mapping[str, str] | None = None,
    without: str | None = None,
    exactly: bool = False,
) -> tuple[Idea, Trial]:
    """The idea as the book has it, and what its runs will ask for. ValueError when it was tested before.

    `exactly`: with these settings alone, none of the parent's.
    """
    check_terms(asked)
    known = place.known()
    asked = with_budget(known, parent, target, asked)
    before = find_parent(known, place, parent, engine, target, asked, preset, settings or {})
    asked = with_terms_of(known, before, target, asked)
    if not exactly:
        preset, settings = inherited(before, preset, settings)
    idea = propose(
        source,
        before,
        place.recipe(before) if before else b"",
        note=note,
        preset=preset,
        settings=settings,
        without=without,
        by=whoami(),
        nonce=new_nonce(),
    )
    if before is not None and idea.id == before.id:  # the shipped recipe itself
        idea = before = before.model_copy(update={"note": note or before.note})
    refuse_known(known, idea, asked)
    trial = Trial(idea=idea.id, target=target, asked=dict(asked))
    place.put_recipe(source)
    new = {one.id: one for one in (before, idea) if one is not None and one.id not in known.ideas}
    place.append(*(Proposal(idea=one) for one in new.values()), trial)
    return place.known().ideas[idea.id], trial


def described(idea: Idea, trial: Trial, known: Known) -> dict[str, Any]:
    """What was submitted, for whoever submitted it."""
    about = {"idea": idea.id, "parent": idea.parent, "budget_seconds": seconds_of(trial.asked)}
    return {**about, "alike": tell_alike(idea, known)}


def tell_alike(idea: Idea, known: Known) -> list[dict[str, Any]]:
    """At once, since whoever submitted it may want to cancel it."""
    alike = open_alike(known, idea)
    for one in alike:
        tell(one.said)
    return [one.as_json() for one in alike]


def check_terms(asked: Mapping[str, Any]) -> None:
    """ValueError for runs that no rule could compare."""
    if asked.get("smoke"):
        raise ValueError("a smoke run tests no idea: leave out --note and --parent, or --smoke")
    if asked.get("tokens"):
        raise ValueError("runs with a token budget are not ranked, so they test no idea: use --time-budget")
    if given := [f"--{name.replace('_', '-')}" for name in OWN_TERMS if asked.get(name)]:
        raise ValueError(
            f"{', '.join(given)} would slow the runs of an idea and of its parent: leave it out, or --note and --parent"
        )


def with_budget(known: Known, parent: str | None, target: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """With the time that the named parent was given last on this target, else others, where none is asked for.

    A run need not have ended, nor count: what it was asked for stands in the book before it begins. The default stands
    nowhere, so that who names it and who does not ask for the same runs.
    """
    others = {name: value for name, value in asked.items() if name != "time_budget"}
    seconds = asked.get("time_budget") or _budget_of_others(known, parent, target)
    return others if seconds in (None, DEFAULT_BUDGET_S) else {**others, "time_budget": seconds}


def _budget_of_others(known: Known, parent: str | None, target: str) -> float | None:
    named = known.idea(parent).id if parent not in (None, START) else ""
    counted = (key.budget_seconds for key in known.all_keys() if key.hardware_key in hardware_of(known, target))
    everybody = [trial for trials in known.trials.values() for trial in trials]
    return last_budget(known.trials.get(named, ()), target) or next(counted, None) or last_budget(everybody, target)


def last_budget(trials: Sequence[Trial], target: str) -> float | None:
    """Seconds; None where nothing was sent to that target."""
    there = [trial for trial in trials if trial.target == target]
    return seconds_of(there[-1].asked) if there else None


def with_terms_of(known: Known, parent: Idea | None, target: str, asked: Mapping[str, Any]) -> dict[str, Any]:
    """With the parent's dataset and rung, where none are asked for: its runs are what the idea is compared with."""
    trials = [trial for trial in known.trials.get(parent.id if parent else "", ()) if trial.target == target]
    inherited = {name: trial.asked[name] for trial in trials for name in ("dataset",) if name in trial.asked}
    keys = [key for key in keys_at(known, target, asked) if parent and key in known.keys(parent)]
    rung = {"rung": keys[0].rung.value} if keys else {}
    return {**rung, **inherited, **asked}


def find_parent(
    known: Known,
    place: Place,
    name: str | None,
    engine: str,
    target: str,
    asked: Mapping[str, Any],
    preset: str | None,
    settings: Mapping[str, str],
) -> Idea | None:
    """Who was named, else the best on this target at this budget, else the shipped recipe, which becomes the start.

    Then it need not be in the book yet; its recipe is.
    """
    if name == START:
        return None
    if name is not None:
        return known.idea(name)
    for key in keys_at(known, target, asked):
        if found := known.best(key):
            return found[0]
    source = default_recipe(engine).read_bytes()
    start = propose(source, note="the shipped recipe", preset=preset, settings=settings, by=whoami(), nonce=new_nonce())
    place.put_recipe(source)
    return known.ideas.get(start.id, start)


def keys_at(known: Known, target: str, asked: Mapping[str, Any]) -> list[Key]:
    """The latest first."""
    seconds, there = seconds_of(asked), hardware_of(known, target)
    return [key for key in known.all_keys() if key.hardware_key in there and key.budget_seconds == seconds]


def hardware_of(known: Known, target: str) -> set[str]:
    return {one.hardware_key for results in known.results.values() for one in results if one.target == target}


def inherited(
    parent: Idea | None, preset: str | None, settings: Mapping[str, str] | None
) -> tuple[str | None, dict[str, str]]:
    """What is not asked for stays as the parent has it; another preset starts from that preset alone."""
    if parent is None or preset not in (None, parent.preset):
        return preset, dict(settings or {})
    return parent.preset, {**parent.set, **(settings or {})}


def refuse_known(known: Known, idea: Idea, asked: Mapping[str, Any]) -> None:
    """ValueError for a recipe that has a result at this budget, or trains what another idea trains."""
    ran = [result for result in known.results.get(idea.id, ()) if result.budget.seconds == seconds_of(asked)]
    if idea.id in known.ideas and any(why_not(idea, result) is None for result in ran):
        raise ValueError(
            f"this recipe with these settings is idea {idea.id} ('{known.ideas[idea.id].note}') and was run: "
            f"`autoresearch decide {idea.id} --wait` adds the runs it needs; running it again is no new evidence"
        )
    if idea.id not in known.ideas and (twin := known.twin(idea)):
        raise ValueError(
            f"this recipe differs from idea {twin.id} ('{twin.note}') in comments, layout or the writing of its "
            f"settings alone: `autoresearch decide {twin.id}` says what became of it"
        )
