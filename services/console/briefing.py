"""The state of research in one record: what `brief` shows and `mcp` answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.console import looking
from services.console.research import Place, seconds_of
from shared import sandbox
from shared.experiment.presets import DEFAULT_BUDGET_S, SMALLEST_PRESET
from shared.machine.targets import TARGETS
from shared.research.book import Trial
from shared.research.comparable import Key, key_of
from shared.research.doubt import Doubt, doubts
from shared.research.history import Row, rows
from shared.research.idea import Idea
from shared.research.known import Known
from shared.research.noise import Noise
from shared.research.rule import ENOUGH_SEEDS, resolves
from shared.settings import settings

NO_NUMBER = {"no run counts": "has no run that counts", "crash": "came to no number"}


@dataclass(frozen=True)
class State:
    where: str
    key: Key | None
    best: tuple[Idea, float] | None
    noise: Noise | None
    resolves: dict[str, float]
    """smallest effect on the best, by number of runs"""
    counts: dict[str, int]
    last: Sequence[Row]
    waiting: Sequence[dict[str, str]]
    """jobs of the fleet that wait or run"""
    next: Sequence[str]
    """what to do, as commands"""
    doubts: Sequence[Doubt] = ()
    """keeps on the way to the best that would be none by today's noise"""
    unfenced: str = ""
    """why recipes would run here without a sandbox, which nobody asked for"""

    def as_json(self) -> dict[str, Any]:
        idea = self.best and self.best[0]
        about = idea and {"id": idea.id, "note": idea.note, "settings": idea.settings, "recipe_sha": idea.recipe_sha}
        return {
            "where": self.where,
            "key": self.key and self.key.model_dump(mode="json"),
            "best": about and self.best and {**about, "val_bpb": self.best[1]},
            "noise": self.noise and asdict(self.noise),
            "resolves": self.resolves,
            "counts": self.counts,
            "last": [row.as_json() for row in self.last],
            "waiting": list(self.waiting),
            "next": list(self.next),
            "doubts": [one.as_json() for one in self.doubts],
            "unfenced": self.unfenced,
        }


def state(place: Place, hardware: str | None, limit: int) -> State:
    known = place.known()
    key = looking.key_at(known, hardware)
    found = [row for row in rows(known) if row.key in (None, key)]
    noise = looking.noise_of(place, known, key) if key else None
    best = known.best(key) if key else None
    pool = len(known.evidence(best[0], key).results) if best and key else 1
    doubted = doubts(known, key, place.default(key)) if key else []
    waiting, unfenced = (_waiting(), "") if place.is_fleet else ([], why_unfenced())
    run = _run_command(place, known, key, by_queue=place.is_fleet or bool(unfenced))
    return State(
        where="the hub" if place.is_fleet else "this machine",
        key=key,
        best=best,
        noise=noise,
        resolves=resolves(noise, pool) if noise else {},
        counts=dict(Counter(row.state for row in found)),
        last=found[-limit:],
        waiting=waiting,
        next=[
            *dict.fromkeys(one.command for one in doubted),
            *_next(run, found, noise, best, waiting),
        ],
        doubts=doubted,
        unfenced=unfenced,
    )


def why_no_best(known: Known, waiting: Sequence[dict[str, str]] = ()) -> str:
    """Where no start has a run that counts, nothing can be the best. waiting: jobs of the fleet that have not ended."""
    starts = [row for row in rows(known) if row.idea.parent is None]
    if not starts:
        return "no idea was run here yet"
    start = starts[-1]
    if job := _job_of(start.idea, waiting):
        return f"the start {start.idea.id} has not ended: {job['what']}"
    said = NO_NUMBER.get(start.state, "was not run yet")
    return f"the start {start.idea.id} {said}{f' ({start.reason})' if start.reason else ''}"


def nothing_counts(known: Known) -> str:
    return f"there is nothing to look at: {why_no_best(known)}; `autoresearch brief` says what to do next"


def why_unfenced() -> str:
    """Empty where recipes are fenced, or run unfenced because ARE_SANDBOX says so."""
    found = sandbox.describe()
    return found.reason if found.chosen == sandbox.SandboxKind.NONE and settings().sandbox == "on" else ""


def _waiting() -> list[dict[str, str]]:
    from services.console.hub_connection import hub, store
    from shared.fleet.view import overview, view

    with hub() as connection:
        jobs = store(connection)
        seen = [view(jobs, job) for job in overview(jobs, 200).job_ids]
    return [{"job": one.job_id, "state": one.state, "what": one.summary} for one in seen if not one.is_over]


def _run_command(place: Place, known: Known, key: Key | None, *, by_queue: bool) -> str:
    """What tests an idea under the conditions that the book is about, as far as to the recipe."""
    sent = _sent_last(known)
    seconds = key.budget_seconds if key else seconds_of(sent.asked) if sent else DEFAULT_BUDGET_S
    budget = f"--time-budget {seconds:g}"
    return f"submit --target {_target(place, known, key)} --wait {budget}" if by_queue else f"train {budget}"


def _target(place: Place, known: Known, key: Key | None) -> str:
    """Where the runs of the key ran, else where an idea was sent last, else where a worker is, else this machine's."""
    ran = [one.target for results in known.results.values() for one in results if key and key_of(one) == key]
    if ran:
        return ran[-1]
    if sent := _sent_last(known):
        return sent.target
    served, here = _served() if place.is_fleet else [], _target_here()
    return here if here in served or not served else served[0]


def _target_here() -> str:
    from shared.machine.hardware import target_here  # psutil, for a book in which nothing is

    return target_here()


def _sent_last(known: Known) -> Trial | None:
    return next((trials[-1] for trials in reversed([*known.trials.values()]) if trials), None)


def _served() -> list[str]:
    """Targets with a worker."""
    from services.console.hub_connection import hub, store
    from shared.fleet.view import num_workers

    with hub() as connection:
        return [target.name for target in TARGETS if num_workers(store(connection), target.queue)]


def _job_of(idea: Idea, waiting: Sequence[dict[str, str]]) -> dict[str, str] | None:
    """The first of its jobs that waits or runs."""
    return next((job for job in waiting if job["job"].startswith(f"{idea.id}-")), None)


def _next(
    run: str,
    found: Sequence[Row],
    noise: Noise | None,
    best: tuple[Idea, float] | None,
    waiting: Sequence[dict[str, str]] = (),
) -> list[str]:
    steps = [f"autoresearch decide {row.idea.id} --wait" for row in found if row.state == "undecided"]
    start = next((row.idea for row in found if row.state == "start"), None)
    if best is None:
        starts = [row for row in found if row.idea.parent is None]
        under_way = next(filter(None, (_job_of(row.idea, waiting) for row in reversed(starts))), None)
        return [f"autoresearch wait {under_way['job']}" if under_way else _first(run, starts), *steps]
    test = f"autoresearch {run} --recipe my_recipe.py --note 'why it helps'"
    steps += ["autoresearch best --recipe my_recipe.py", test]
    if start is not None and (noise is None or noise.num_seeds < ENOUGH_SEEDS):
        steps.append(f"autoresearch decide {start.id} --wait")  # any time: a promising idea would cause it too
    return steps


def _first(run: str, starts: Sequence[Row]) -> str:
    """How to come to a start that others are compared with. What was run is not to be submitted again."""
    if begun := next((row.idea for row in starts if row.state == "no run counts"), None):
        return f"autoresearch decide {begun.id} --wait"
    crashed = {row.idea.preset for row in starts if row.state == "crash"}
    if SMALLEST_PRESET in crashed:
        return "autoresearch doctor"
    smaller = f" --preset {SMALLEST_PRESET}" if crashed else ""
    return f"autoresearch {run}{smaller} --note baseline"


def _no_noise(state: State) -> str:
    """Of the best, because that is what ideas are held against."""
    if state.best and state.best[0].parent:
        return (
            "too few runs tell it of the best, and the start has another shape, so no idea can be kept yet: `decide` "
            "makes more runs of the best once an idea looks better than it"
        )
    return (
        "nobody has measured it here, so no idea can be kept yet: `autoresearch calibrate` measures it, or `decide`, "
        "which runs the shipped recipe three times once an idea looks better than it"
    )


def show(state: State) -> None:
    print(f"book      of {state.where}: {', '.join(f'{n} {name}' for name, n in state.counts.items()) or 'empty'}")
    if state.key:
        print(f"where     {state.key}")
    if state.unfenced:
        print(f"sandbox   none: {state.unfenced}")
    if state.best:
        print(f"best      {state.best[1]:.6f}  {state.best[0].id}  {state.best[0].note or state.best[0].kind}")
    if state.noise:
        print(f"noise     sigma {state.noise.sigma:.6f} ({state.noise.source})")
        print(f"resolves  {looking.resolves_said(state.resolves)}")
    elif state.key:
        print(f"noise     {_no_noise(state)}")
    for one in state.doubts:
        print(f"doubt     {one.said}")
    for job in state.waiting:
        print(f"waiting   {job['job']}  {job['what']}")
    if state.last:
        looking.print_history(state.last)
    for step in state.next:
        print(f"next      {step}")
