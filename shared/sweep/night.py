"""The loop of a sweep: begin points while there is time, collect what ended, keep or discard, write everything down.

A point is written down before it is begun and after it ended, so the loop may be killed at any moment: the next one
takes up what was begun. keep means a lower mean val_bpb than anything kept before, and only ranked runs can be kept
that compare with the base's (shared/sweep/comparison.py).
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import Protocol

from shared.contracts import IdeaRef, RunResult, Status, Unranked
from shared.experiment.request import TrainRequest, validated
from shared.files import sha256_bytes
from shared.kernel_names import kernels_of
from shared.research.comparable import most_again
from shared.runs.shipped import Trained
from shared.sweep.comparison import unlike
from shared.sweep.constants import with_constants
from shared.sweep.folder import Begun, Ended, Header, Run, SweepFolder, Verdict
from shared.sweep.plan import Plan, Point
from shared.sweep.proposals import Searched, proposals_of
from shared.unranked import reasons_of

AROUND_A_RUN_S = 60.0
"""guess of what a run takes beside its budget, until one has ended"""


@dataclass(frozen=True)
class Experiment:
    """What a place is asked to run."""

    run_id: str
    request: TrainRequest
    source: bytes | None
    """None takes the recipe of whoever runs it"""


@dataclass(frozen=True)
class Finished:
    run_id: str
    result: RunResult | None
    """None when no experiment was made of it"""
    reason: str = ""


@dataclass(frozen=True)
class Entry:
    """A point in the book of ideas, with the runs that belong to it."""

    idea: IdeaRef
    runs: tuple[Run, ...]


class Register(Protocol):
    def enter(self, point: Point, source: bytes) -> Entry:
        """The same for the same point, however often it is asked."""


class Place(Protocol):
    """Where experiments run. An experiment that was begun before, under the same id, is taken up."""

    slots: int
    """points that may be under way at once"""

    def begin(self, experiment: Experiment) -> None: ...

    def collect(self) -> list[Finished]:
        """Waits until at least one experiment has ended."""


@dataclass
class Open:
    begun: Begun
    finished: dict[str, Finished] = field(default_factory=dict)


class Night:
    def __init__(
        self,
        folder: SweepFolder,
        header: Header,
        place: Place,
        register: Register,
        ends_at: float,
        tell: Callable[[Begun, Ended], None],
    ) -> None:
        self.folder, self.header, self.plan, self.place = folder, header, header.asked, place
        self.register, self.ends_at, self.tell = register, ends_at, tell
        self.begun, self.ended = folder.records()
        self.proposals = proposals_of(self.plan, folder.journal_file, header.tag)
        self.say: Callable[[str], None] = lambda line: None
        self.open: dict[int, Open] = {}
        self.exhausted = False

    def run(self) -> None:
        """To the end of the time or of the points. ValueError when the base itself has no number."""
        if isinstance(self.proposals, Searched):
            self.proposals.take_up(self.begun, self.ended)
        self._require_base()
        for number in sorted(self.begun.keys() - self.ended.keys()):
            self._start(self.begun[number])
        while self._fill() or self.open:
            for finished in self.place.collect():
                self._note(finished)

    def _fill(self) -> bool:
        """Begins what may be begun; whether anything was."""
        before = len(self.open)
        while len(self.open) < self.place.slots and self._may_begin():
            number = max(self.begun, default=-1) + 1
            proposed = self.proposals.next(number, self.begun, self.ended)
            if proposed is None:
                self.exhausted = True
                break
            self._begin(number, *proposed)
        return len(self.open) > before

    def _may_begin(self) -> bool:
        """The base goes first and alone: nothing is worth comparing with one that does not run."""
        if self.exhausted or (self.begun and 0 not in self.ended):
            return False
        return time.time() + self.expected_s <= self.ends_at

    @property
    def expected_s(self) -> float:
        """How long a point takes."""
        took = [end.total_seconds for end in self.ended.values() if end.val_bpb is not None]
        return mean(took) if took else self.plan.seeds * (self.plan.time_budget + AROUND_A_RUN_S)

    def _begin(self, number: int, point: Point, trial: int | None) -> None:
        source = with_constants(self.folder.recipe_file.read_bytes(), point.constants)
        entry = self.register.enter(point, source)
        begun = Begun(
            number=number, point=point, recipe_sha=sha256_bytes(source), runs=entry.runs, idea=entry.idea, trial=trial
        )
        self.folder.put_recipe(begun.recipe_sha, source)
        self.folder.append(begun)
        self._start(begun)

    def _start(self, begun: Begun) -> None:
        self.begun[begun.number], self.open[begun.number] = begun, Open(begun)
        for run in begun.runs:
            self._ask(begun, run)

    def _ask(self, begun: Begun, run: Run) -> None:
        source = self.folder.recipe(begun.recipe_sha)
        self.place.begin(Experiment(run.run_id, request_of(self.plan, begun.point, run.seed, begun.idea), source))

    def _note(self, finished: Finished) -> None:
        for number, opened in list(self.open.items()):
            run = next((one for one in opened.begun.runs if one.run_id == finished.run_id), None)
            if run is None:
                continue
            if was_disturbed(finished.result) and self._may_repeat(opened.begun, run):
                self._repeat(opened, run)
                continue
            opened.finished[finished.run_id] = finished
            if len(opened.finished) == len(opened.begun.runs):
                del self.open[number]
                self._end(opened)

    def _may_repeat(self, begun: Begun, run: Run) -> bool:
        asked = Trained(begun.recipe_sha, kernels_of({**self.plan.set, **begun.point.set}))
        return run.again + 1 < most_again(asked) and time.time() + self.expected_s <= self.ends_at

    def _repeat(self, opened: Open, run: Run) -> None:
        """The point is written down anew, with the name of the run that takes the disturbed one's place."""
        again = run.next()
        runs = tuple(again if one == run else one for one in opened.begun.runs)
        opened.begun = opened.begun.model_copy(update={"runs": runs})
        self.folder.append(opened.begun)
        self.begun[opened.begun.number] = opened.begun
        self.say(f"#{opened.begun.number:<3} others used the machine while {run.run_id} trained: once more")
        self._ask(opened.begun, again)

    def _end(self, opened: Open) -> None:
        ended = judged(opened.begun, list(opened.finished.values()), self.ended.values())
        self.folder.append(ended)
        self.ended[ended.number] = ended
        self.proposals.tell(opened.begun, ended)
        self.tell(opened.begun, ended)
        self._require_base()

    def _require_base(self) -> None:
        """ValueError when it has ended and nothing can be compared with it."""
        if 0 in self.ended and self.ended[0].val_bpb is None:
            raise ValueError(
                f"the base has no number, so nothing can be compared with it: {self.ended[0].reason}; when that is "
                "mended, choose another --tag"
            )


def request_of(plan: Plan, point: Point, seed: int = 0, idea: IdeaRef | None = None) -> TrainRequest:
    """ValueError for settings that no run can have."""
    asked = plan.model_dump(include={"preset", "target", "engine", "device", "dataset", "time_budget", "rung"})
    return validated(TrainRequest, asked | {"seed": seed, "idea": idea, "set": {**plan.set, **point.set}})


def judged(begun: Begun, finished: Sequence[Finished], earlier: Iterable[Ended]) -> Ended:
    results, before = tuple(one.result for one in finished if one.result is not None), list(earlier)
    base = next((end.results for end in before if end.number == 0), ())
    other = unlike(begun.point, [result for result in results if result.val_bpb is not None], base)
    numbers = [result.val_bpb for result in results if result.val_bpb is not None]
    whole = len(numbers) == len(begun.runs) and all(usable(result) for result in results) and not other
    score = mean(numbers) if whole else None
    verdict = verdict_of(score, results, before)
    reasons = [*(why(one) for one in finished), other]
    return Ended(
        number=begun.number,
        verdict=verdict,
        val_bpb=score,
        reason="; ".join(dict.fromkeys(filter(None, reasons))),
        results=results,
        total_seconds=sum(result.total_seconds for result in results),
    )


def verdict_of(score: float | None, results: Sequence[RunResult], earlier: Iterable[Ended]) -> Verdict:
    if score is None:
        return "crash" if any(result.val_bpb is None for result in results) or not results else "unranked"
    if not all(result.ranked for result in results):
        return "unranked"
    best = min((end.val_bpb for end in earlier if end.verdict == "keep" and end.val_bpb is not None), default=None)
    return "keep" if best is None or score < best else "discard"


def was_disturbed(result: RunResult | None) -> bool:
    """Whether it says nothing of the point, and may say more when it is made again."""
    return result is not None and Unranked.BUSY_MACHINE in result.unranked


def usable(result: RunResult) -> bool:
    """Whether its number may guide the search: of all that is not ranked, runs on the demo corpus alone."""
    return result.status is Status.OK and set(result.unranked) <= {Unranked.DEMO_CORPUS}


def why(finished: Finished) -> str:
    result = finished.result
    if result is None:
        return finished.reason or "it was not run"
    if result.val_bpb is None:
        return f"{result.status}: {result.reason}"
    return f"not ranked: {reasons_of(result)}" if result.unranked else ""
