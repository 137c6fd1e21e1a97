"""Where ideas are: on the hub, when this checkout knows one, else on this machine alone. No command sees a difference.

Evidence is the outcomes of the hub's jobs there, and the run directories of ARE_RUNS here.
"""

import getpass
import socket
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

from shared.contracts import RunResult, Status
from shared.experiment.platform_default import PlatformDefault, read_default
from shared.experiment.presets import DEFAULT_BUDGET_S
from shared.research.book import Book, Entry, FleetBook, LocalBook, Trial
from shared.research.comparable import Key, most_again, most_jobs, said_of, why_not
from shared.research.idea import Idea
from shared.research.known import Known, read_known, results_of_jobs, results_on_disk
from shared.runs.directory import RunDirectory
from shared.settings import Settings, settings
from shared.time_budget import rounded
from shared.unranked import reasons_of

if TYPE_CHECKING:
    from shared.fleet.store import FleetStore
    from shared.fleet.view import JobView

LOOK_EVERY_S = 0.5
UNDER_WAY = ("queued", "running")


class Place(Protocol):
    is_fleet: bool

    def known(self) -> Known: ...

    def append(self, *entries: Entry) -> None: ...

    def put_recipe(self, source: bytes) -> None: ...

    def recipe(self, idea: Idea) -> bytes: ...

    def run(
        self,
        idea: Idea,
        trial: Trial,
        indices: Iterable[int],
        timeout_s: float | None = None,
        hardware_key: str | None = None,
    ) -> None:
        """Makes runs of an idea and returns when they have ended. ValueError when they cannot be made.

        `hardware_key`: one that another machine of the target takes is made again.
        """

    def default(self, key: Key) -> PlatformDefault | None: ...


class Here:
    """This machine alone, without hub."""

    is_fleet = False

    @property
    def book(self) -> Book:
        return LocalBook()

    def known(self) -> Known:
        return read_known(self.book.entries(), results_on_disk(), self.book.recipe, believe_missing=True)

    def append(self, *entries: Entry) -> None:
        for entry in entries:
            self.book.append(entry)

    def put_recipe(self, source: bytes) -> None:
        self.book.put_recipe(source)

    def recipe(self, idea: Idea) -> bytes:
        return self.book.recipe(idea.recipe_sha)

    def run(
        self,
        idea: Idea,
        trial: Trial,
        indices: Iterable[int],
        timeout_s: float | None = None,
        hardware_key: str | None = None,
    ) -> None:
        """A run that has begun is finished, whatever the time. There is one machine, whatever is asked for."""
        from services.console import progress, summary
        from services.console.train import resumable
        from shared.experiment.request import TrainRequest, build_job, validated
        from shared.experiment.run import run
        from shared.machine.awake import kept_awake
        from shared.stages.executors import NativeExecutor

        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        with kept_awake():
            for index in indices:
                check_tries(self.known(), idea, trial, index)
                if deadline is not None and time.monotonic() >= deadline:
                    raise ValueError(
                        f"the time is over before run {index} of {idea.id}: ask again, and it goes on there"
                    )
                job, source = build_job(validated(TrainRequest, arguments(idea, trial, index)), self.recipe(idea))
                directory = RunDirectory.of(job.run_id)
                summary.announce(job, directory)
                with resumable(directory), progress.shown(directory) as watch:
                    result = run(job, source, NativeExecutor(), watch)
                if why := why_not(idea, result):
                    tell(f"{job.run_id} does not count ({said_of(why, result)})")
                summary.record_run(directory)

    def measured_nothing(self, run_id: str, is_answer: Callable[[RunResult], bool]) -> bool:
        """Whether the run has ended with a result that is none."""
        result = RunDirectory.of(run_id).result()
        return result is not None and not is_answer(result)

    def default(self, key: Key) -> PlatformDefault | None:
        return read_default(key.hardware_key, key.engine)


class NothingMeasured(ValueError):
    """All jobs that one run of an idea may take ended without evidence."""


def check_tries(known: Known, idea: Idea, trial: Trial, index: int) -> None:
    """NothingMeasured when the run was made here as often as one may be: a recipe that made itself unranked whenever it
    had bad luck would choose its runs."""
    vain = _in_vain(known, idea, trial, index)
    if len(vain) >= most_again(idea):
        raise NothingMeasured(
            f"run {index} of {idea.id} was made {len(vain)} times and measured nothing, the last time "
            f"{_why(vain[-1])}; it is not tried more often, so choose another --time-budget"
        )


def _why(result: RunResult) -> str:
    return result.reason if result.status is Status.CANCELLED else reasons_of(result) or result.status


def tries_left(known: Known, idea: Idea, trial: Trial, index: int) -> int:
    """How often a run that has measured nothing so far may still be made."""
    return most_again(idea) - len(_in_vain(known, idea, trial, index))


def _in_vain(known: Known, idea: Idea, trial: Trial, index: int) -> list[RunResult]:
    seed, seconds = idea.seed(index), seconds_of(trial.asked)
    tries = [result for result in known.results.get(idea.id, ()) if result.seed == seed]
    return [one for one in tries if one.budget.seconds == seconds and why_not(idea, one) is not None]


def seconds_of(asked: Mapping[str, Any]) -> float:
    """The training budget that runs of a trial ask for: as their requests round it (shared/time_budget.py)."""
    return rounded(float(asked.get("time_budget") or DEFAULT_BUDGET_S))


class Fleet:
    """The hub's queue and its workers. Every call opens a connection of its own: a wait may last hours."""

    is_fleet = True

    def known(self) -> Known:
        from services.console.hub_connection import hub, store

        with hub() as connection:
            book = FleetBook(connection)
            entries = list(book.entries())
            results = results_of_jobs(store(connection), entries)
            return read_known(entries, results, book.recipe, believe_missing=False)

    def append(self, *entries: Entry) -> None:
        from services.console.hub_connection import hub

        with hub() as connection:
            for entry in entries:
                FleetBook(connection).append(entry)

    def put_recipe(self, source: bytes) -> None:
        from services.console.hub_connection import hub

        with hub() as connection:
            FleetBook(connection).put_recipe(source)

    def recipe(self, idea: Idea) -> bytes:
        from services.console.hub_connection import hub

        with hub() as connection:
            return FleetBook(connection).recipe(idea.recipe_sha)

    def enqueue(
        self, idea: Idea, trial: Trial, indices: Iterable[int], group: str = "", hardware_key: str | None = None
    ) -> list[str]:
        """Names of the jobs; one that waits, runs or has ended is not enqueued again."""
        from services.console.hub_connection import hub, queue, store
        from services.console.submit import TRAIN
        from shared.fleet.view import view

        source, jobs = self.recipe(idea).decode(), []
        with hub() as connection:
            for index in indices:
                jobs.append(self._free(store(connection), idea, trial, index, hardware_key))
                if group:
                    store(connection).add_to_group(group, jobs[-1])
                if view(store(connection), jobs[-1]).state == "unknown":
                    kwargs = arguments(idea, trial, index) | {"recipe": source}
                    meta = {"group": group} if group else {}
                    queue(trial.target, connection).enqueue_call(TRAIN, kwargs=kwargs, job_id=jobs[-1], meta=meta)
        return jobs

    @staticmethod
    def _free(fleet: "FleetStore", idea: Idea, trial: Trial, index: int, hardware_key: str | None) -> str:
        """The job that makes the run: the first that did not end without measuring anything there."""
        from shared.fleet.view import view

        vain = 0
        for again in range(most_jobs(idea)):
            seen = view(fleet, trial.job_id(index, again))
            if seen.state != "done" or _counts(idea, seen, hardware_key):
                return seen.job_id
            vain += not _counts(idea, seen)
            if vain == most_again(idea):
                raise NothingMeasured(
                    f"{seen.job_id} measured nothing ({seen.summary}), nor did {vain - 1} before it, and a run is not "
                    "tried more often: submit the idea with another --time-budget, or on another --target"
                )
        raise NothingMeasured(
            f"run {index} of {idea.id} was sent to {trial.target} {again + 1} times, and other machines than "
            f"{hardware_key} took it; runs count in their order, so decide with another --hardware, or let that "
            "machine alone take jobs of the target and submit the idea with another --time-budget"
        )

    @staticmethod
    def measured_nothing(job_id: str, is_answer: Callable[[RunResult], bool]) -> bool:
        """Whether the job has ended without a result, or with one that is no answer."""
        from services.console.hub_connection import hub, store
        from shared.fleet.view import view

        with hub() as connection:
            seen = view(store(connection), job_id)
        result = seen.outcome.result if seen.outcome else None
        return seen.state == "done" and (result is None or not is_answer(result))

    def run(
        self,
        idea: Idea,
        trial: Trial,
        indices: Iterable[int],
        timeout_s: float | None = None,
        hardware_key: str | None = None,
    ) -> None:
        from services.console.wait import look_patiently

        wanted = list(indices)
        while wanted:
            jobs = self.enqueue(idea, trial, wanted, hardware_key=hardware_key)
            tell(f"waiting for {', '.join(jobs)}")
            states = self.wait(jobs, timeout_s)
            if late := [f"{job} is {seen['state']}" for job, seen in states.items() if seen["state"] in UNDER_WAY]:
                raise ValueError(f"{', '.join(late)} after {timeout_s:g} s: it goes on, ask again later")
            ended = look_patiently(jobs)
            if refused := next(filter(_was_refused, ended), None):
                raise ValueError(f"{refused.job_id} was refused: {refused.summary}")
            by_index = dict(zip(wanted, ended, strict=True))
            spoilt = {index: seen for index, seen in by_index.items() if not _counts(idea, seen, hardware_key)}
            for seen in spoilt.values():
                where = f"another machine took it, not {hardware_key}" if _counts(idea, seen) else seen.summary
                tell(f"{seen.job_id} does not count ({where}), so the run is to be made again")
            wanted = [*spoilt]

    @staticmethod
    def wait(jobs: list[str], timeout_s: float | None = None) -> dict[str, dict[str, Any]]:
        """By job or group: its state when all have ended, or when the time is over."""
        from services.console.wait import look_patiently

        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            views = look_patiently(jobs)
            if all(seen.is_over for seen in views) or (deadline is not None and time.monotonic() > deadline):
                return {
                    seen.job_id: {"state": seen.state, "status": seen.status, "what": seen.summary} for seen in views
                }
            time.sleep(LOOK_EVERY_S)

    def default(self, key: Key) -> PlatformDefault | None:
        """From this machine's cache if it was measured, else what a worker of that machine wrote down in the queue."""
        from services.console.hub_connection import hub
        from shared.fleet.platform_defaults import published

        found = read_default(key.hardware_key, key.engine)
        if found and found.is_measured:
            return found
        with hub() as connection:
            return published(connection, key.hardware_key, key.engine) or found


def _counts(idea: Idea, seen: "JobView", hardware_key: str | None = None) -> bool:
    """Whether a job that ended is evidence for or against the idea, on these machines if they are named."""
    result = seen.outcome.result if seen.outcome else None
    if result is None or hardware_key not in (None, result.hardware_key):
        return False
    return why_not(idea, result) is None


def _was_refused(seen: "JobView") -> bool:
    """No experiment was begun, and another job like it would be refused too."""
    return seen.status is Status.INVALID and (seen.outcome is None or seen.outcome.result is None)


def arguments(idea: Idea, trial: Trial, index: int) -> dict[str, Any]:
    """What a TrainRequest says for one run of an idea."""
    own = {"preset": idea.preset, "set": idea.set, "seed": idea.seed(index), "target": trial.target}
    given = {name: value for name, value in own.items() if value}
    return {**trial.asked, **given, "idea": idea.ref.model_dump(mode="json")}


def place(local: bool = False) -> Here | Fleet:
    return Fleet() if not local and knows_a_hub() else Here()


def knows_a_hub() -> bool:
    from services.console.env_file import load_env

    load_env()
    return settings().redis_url != Settings.model_fields["redis_url"].default


def whoami() -> str:
    return f"{getpass.getuser()} at {socket.gethostname()}"


def tell(text: str) -> None:
    print("autoresearch:", text, file=sys.stderr)
