"""What to do next, as commands that can be pasted, each with its reason: what `brief` ends with."""

from collections.abc import Sequence
from dataclasses import dataclass

from services.console.research import Place, seconds_of, tries_left
from shared.contracts import RunResult
from shared.experiment.presets import DEFAULT_BUDGET_S, SMALLEST_PRESET
from shared.machine.targets import TARGETS
from shared.research.book import Trial
from shared.research.comparable import Key, key_of
from shared.research.history import Row
from shared.research.idea import Idea
from shared.research.known import Known
from shared.research.noise import Noise
from shared.research.rule import ENOUGH_SEEDS
from shared.unranked import BY_THE_MACHINE

LONGEST_NOTE, LONGEST_REASON = 60, 200


@dataclass(frozen=True)
class Step:
    command: str
    why: str


def steps(
    known: Known,
    run: str,
    found: Sequence[Row],
    noise: Noise | None,
    best: tuple[Idea, float] | None,
    waiting: Sequence[dict[str, str]] = (),
) -> list[Step]:
    """`found`: the ideas of one key. `waiting`: jobs of the fleet that have not ended."""
    open_ones = [step for row in found if (step := _open(known, row, waiting))]
    if best is None:
        starts = [row for row in found if row.idea.parent is None]
        return [_to_a_best(run, starts, waiting), *open_ones]
    test = f"autoresearch {run} --recipe my_recipe.py --note 'why it helps'"
    more = [
        Step("autoresearch best --recipe my_recipe.py", "a new idea begins with the best recipe"),
        Step(test, "this tests it, once my_recipe.py is changed"),
    ]
    start = next((row.idea for row in found if row.state == "start"), None)
    if start is not None and (noise is None or noise.num_seeds < ENOUGH_SEEDS):
        seeds = f"rests on {noise.num_seeds} seeds" if noise else "is not known"
        why = f"the noise {seeds}; more runs of the start measure it, at any time, as a promising idea would cause too"
        place = len(more)
        if noise and noise.is_of_shorter:
            why = "the noise is that of much shorter runs, which differ more, so small gains are lost: this measures it"
            place = 0
        more.insert(place, Step(f"autoresearch decide {start.id} --wait", why))
    return [*open_ones, *more]


def _open(known: Known, row: Row, waiting: Sequence[dict[str, str]]) -> Step | None:
    """What an idea that is neither kept nor dropped waits for."""
    named = f"'{row.idea.note[:LONGEST_NOTE] or row.idea.kind}'"
    step = f"autoresearch decide {row.idea.id} --wait"
    if row.state == "not decided":
        return Step(step, f"{named} was run, and nobody has asked for its verdict")
    if row.state == "undecided":
        return Step(step, f"{named} is undecided: {row.reason[:LONGEST_REASON]}")
    is_left = row.state == "no run counts" and row.idea.parent and not job_of(row.idea, waiting)
    if is_left and may_count(known, row.idea):
        return Step(step, f"{named} has no run that counts ({row.reason[:LONGEST_REASON]}), and this makes it again")
    return None


def may_count(known: Known, idea: Idea) -> bool:
    """Whether an idea without a run that counts may have one: its last did not count by chance, and it may be made
    again."""
    results, trials = known.results.get(idea.id, ()), known.trials.get(idea.id, ())
    if not results or not trials or not _by_chance(results[-1]):
        return False
    return tries_left(known, idea, trials[-1], 0) > 0


def _by_chance(last: RunResult) -> bool:
    return last.void is not None or (bool(last.unranked) and set(last.unranked) <= BY_THE_MACHINE)


def _to_a_best(run: str, starts: Sequence[Row], waiting: Sequence[dict[str, str]]) -> Step:
    """How to come to a start that others are compared with. What was run is not to be submitted again."""
    if under_way := next(filter(None, (job_of(row.idea, waiting) for row in reversed(starts))), None):
        return Step(f"autoresearch wait {under_way['job']}", "ideas are compared with the start, which has not ended")
    if begun := next((row for row in starts if row.state == "no run counts"), None):
        why = f"no run of the start counts ({begun.reason[:LONGEST_REASON]}), and ideas are compared with it"
        return Step(f"autoresearch decide {begun.idea.id} --wait", why)
    crashed = {row.idea.preset for row in starts if row.state == "crash"}
    if SMALLEST_PRESET in crashed:
        return Step("autoresearch doctor", "the start crashed, also with the smallest preset")
    if crashed:
        smaller = f"autoresearch {run} --preset {SMALLEST_PRESET} --note baseline"
        return Step(smaller, "the start crashed, and a smaller one may not")
    return Step(f"autoresearch {run} --note baseline", "the shipped recipe is what the first ideas are compared with")


def job_of(idea: Idea, waiting: Sequence[dict[str, str]]) -> dict[str, str] | None:
    """The first of its jobs that waits or runs."""
    return next((job for job in waiting if job["job"].startswith(f"{idea.id}-")), None)


def run_command(place: Place, known: Known, key: Key | None, *, by_queue: bool) -> str:
    """What tests an idea under the conditions that the book is about, as far as to the recipe."""
    sent = _sent_last(known)
    seconds = key.budget_seconds if key else seconds_of(sent.asked) if sent else DEFAULT_BUDGET_S
    budget = f"--time-budget {seconds:.15g}"
    return f"submit --target {target_of(place, known, key)} --wait {budget}" if by_queue else f"train {budget}"


def calibrate_command(place: Place, known: Known, key: Key | None, *, by_queue: bool) -> str:
    """What measures the noise where the ideas run."""
    if not by_queue:
        return "autoresearch calibrate"
    return f"autoresearch submit --target {target_of(place, known, key)} --calibrate fast --wait"


def target_of(place: Place, known: Known, key: Key | None) -> str:
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
