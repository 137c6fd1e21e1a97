"""The state of research in one record: what `brief` shows and `mcp` answers."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from services.console import looking
from services.console.next_steps import Step, calibrate_command, job_of, run_command, steps
from services.console.research import Place
from shared import sandbox
from shared.research.comparable import Key
from shared.research.doubt import Doubt, doubts
from shared.research.history import Row, rows
from shared.research.idea import Idea
from shared.research.known import Known
from shared.research.noise import Noise
from shared.research.rule import resolves
from shared.settings import settings

DOUBTED = "more noise is known now than when it was kept"
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
    next: Sequence[Step]
    """what to do"""
    doubts: Sequence[Doubt] = ()
    """keeps on the way to the best that would be none by today's noise"""
    unfenced: str = ""
    """why recipes would run here without a sandbox, which nobody asked for"""
    calibrate: str = "autoresearch calibrate"
    """the command that measures the noise there"""
    best_of: str = ""
    """which runs the best's number is of"""
    lower: Sequence[str] = ()
    """why discards have a lower number than the best"""

    def as_json(self) -> dict[str, Any]:
        idea = self.best and self.best[0]
        about = idea and {"id": idea.id, "note": idea.note, "settings": idea.settings, "recipe_sha": idea.recipe_sha}
        return {
            "where": self.where,
            "key": self.key and self.key.model_dump(mode="json"),
            "best": about and self.best and {**about, "val_bpb": self.best[1], "val_bpb_of": self.best_of},
            "noise": self.noise and asdict(self.noise),
            "resolves": self.resolves,
            "counts": self.counts,
            "last": [row.as_json() for row in self.last],
            "waiting": list(self.waiting),
            "next": [step.command for step in self.next],
            "why_next": {step.command: step.why for step in self.next},
            "doubts": [one.as_json() for one in self.doubts],
            "unfenced": self.unfenced,
        }


def state(place: Place, hardware: str | None, limit: int) -> State:
    known = place.known()
    key = looking.key_at(known, hardware)
    found = [row for row in rows(known) if row.key in (None, key)]
    noise = looking.noise_of(place, known, key) if key else None
    best = known.best(key) if key else None
    pool = len(known.pool(best[0], key).results) if best and key else 1
    doubted = doubts(known, key, place.default(key)) if key else []
    waiting, unfenced = (_waiting(), "") if place.is_fleet else ([], why_unfenced())
    by_queue = place.is_fleet or bool(unfenced)
    run = run_command(place, known, key, by_queue=by_queue)
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
            *{one.command: Step(one.command, DOUBTED) for one in doubted}.values(),
            *steps(known, run, found, noise, best, waiting),
        ],
        doubts=doubted,
        unfenced=unfenced,
        calibrate=calibrate_command(place, known, key, by_queue=by_queue),
        best_of=looking.number_of(known, best[0], key) if best and key else "",
        lower=looking.why_lower(known, found),
    )


def why_no_best(known: Known, waiting: Sequence[dict[str, str]] = ()) -> str:
    """Where no start has a run that counts, nothing can be the best. waiting: jobs of the fleet that have not ended."""
    starts = [row for row in rows(known) if row.idea.parent is None]
    if not starts:
        return "no idea was run here yet"
    start = starts[-1]
    if job := job_of(start.idea, waiting):
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


def _no_noise(state: State) -> str:
    """Of the best, because that is what ideas are held against."""
    if state.best and state.best[0].parent:
        return (
            "too few runs tell it of the best, and the start has another shape, so no idea can be kept yet: `decide` "
            "makes more runs of the best once an idea looks better than it"
        )
    return (
        f"nobody has measured it here, so no idea can be kept yet: `{state.calibrate}` measures it, or `decide`, "
        "which runs the shipped recipe three times once an idea looks better than it"
    )


def show(state: State) -> None:
    print(f"book      of {state.where}: {', '.join(f'{n} {name}' for name, n in state.counts.items()) or 'empty'}")
    if state.key:
        print(f"where     {state.key}")
    if state.unfenced:
        print(f"sandbox   none: {state.unfenced}")
    if state.best:
        named = f"{state.best[0].id}  {state.best[0].note or state.best[0].kind}"
        print(f"best      {state.best[1]:.6f}  {named}{f'  ({state.best_of})' if state.best_of else ''}")
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
    for line in state.lower:
        print(line)
    for step in state.next:
        print(f"next      {step.command}\n          {step.why}")
